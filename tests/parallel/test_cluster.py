"""The place of a process, from the variables that schedulers document, and from flags."""

import pytest

from primus_jax.errors import PrimusError
from primus_jax.parallel.cluster import ProcessInfo, expand_hosts, find_process

SLURM = {
    "SLURM_JOB_ID": "4097",
    "SLURM_NTASKS": "4",
    "SLURM_JOB_NODELIST": "n[01-02],login",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "n[01-02]",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
}
SRUN = "SLURM_STEP_NUM_TASKS and SLURM_PROCID"
MPIRUN = "OMPI_COMM_WORLD_SIZE and OMPI_COMM_WORLD_RANK"
TPU = "TPU_WORKER_HOSTNAMES and TPU_WORKER_ID"
BLOCKS = ("n01", "n01", "n02", "n02")
MPI = {
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
}
POD = {"TPU_WORKER_HOSTNAMES": "t0,t1", "TPU_WORKER_ID": "1"}
SLICES = {
    "MEGASCALE_NUM_SLICES": "2",
    "MEGASCALE_SLICE_ID": "1",
    "MEGASCALE_COORDINATOR_ADDRESS": "s0t0:8081",
}
NAMED = {
    "JAX_COORDINATOR_ADDRESS": "10.0.0.1:1234",
    "JAX_NUM_PROCESSES": "3",
    "JAX_PROCESS_ID": "2",
}
TORCH = {
    "WORLD_SIZE": "2",
    "RANK": "1",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "10.0.0.3",
    "MASTER_PORT": "29500",
}
TORCHRUN = "WORLD_SIZE and RANK"
MPICH = {"PMI_SIZE": "2", "PMI_RANK": "1", "MPI_LOCALNRANKS": "2", "MPI_LOCALRANKID": "1"}
MVAPICH = {"MV2_COMM_WORLD_SIZE": "2", "MV2_COMM_WORLD_RANK": "1"}
FLAGS = {"coordinator": "10.0.0.9:99", "processes": 2, "process_id": 1}


def without(environ, *names):
    return {k: v for k, v in environ.items() if k not in names}


@pytest.mark.parametrize(
    ("environ", "info"),
    [
        (SLURM, ProcessInfo("n01:61441", 4, 3, SRUN, BLOCKS, 1)),
        # Two steps of a job do not meet at one port.
        (SLURM | {"SLURM_STEP_ID": "1"}, ProcessInfo("n01:62450", 4, 3, SRUN, BLOCKS, 1)),
        # The GPU was already chosen by --gpus-per-task.
        (SLURM | {"CUDA_VISIBLE_DEVICES": "1"}, ProcessInfo("n01:61441", 4, 3, SRUN, BLOCKS)),
        (SLURM | {"CUDA_VISIBLE_DEVICES": "0,1"}, ProcessInfo("n01:61441", 4, 3, SRUN, BLOCKS, 1)),
        # Which host has process 3 is not known where tasks are dealt out in turn.
        (SLURM | {"SLURM_DISTRIBUTION": "cyclic"}, ProcessInfo("n01:61441", 4, 3, SRUN, (), 1)),
        (
            SLURM
            | {"SLURM_STEP_NODELIST": "n[1-4]", "SLURM_STEP_TASKS_PER_NODE": "1(x4)"}
            | {"SLURM_DISTRIBUTION": "cyclic"},
            ProcessInfo("n1:61441", 4, 3, SRUN, ("n1", "n2", "n3", "n4")),
        ),
        (without(SLURM, "SLURM_STEP_NODELIST"), ProcessInfo("n01:61441", 4, 3, SRUN, (), 1)),
        # srun of one task; the shells of sbatch and salloc; an interactive step.
        (SLURM | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, None),
        (without(SLURM, "SLURM_STEP_NUM_TASKS", "SLURM_STEP_ID"), None),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_JOB_NODELIST": "n[1-2]"}, None),
        (SLURM | {"SLURM_STEP_ID": "4294967290", "SLURM_PROCID": "0"}, None),
        # mpirun on one host, on several, and inside a SLURM allocation.
        (MPI | {"PMIX_NAMESPACE": "run-77@1"}, ProcessInfo("127.0.0.1:65445", 2, 1, MPIRUN, (), 1)),
        (POD, ProcessInfo("t0:8482", 2, 1, TPU, ("t0", "t1"))),
        (POD | SLICES, ProcessInfo("s0t0:8482", 4, 3, TPU)),
        (POD | {"JAX_COORDINATOR_PORT": "9"}, ProcessInfo("t0:9", 2, 1, TPU, ("t0", "t1"))),
        ({"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}, None),
        (NAMED, ProcessInfo("10.0.0.1:1234", 3, 2, "JAX_NUM_PROCESSES and JAX_PROCESS_ID")),
        (
            without(NAMED, "JAX_PROCESS_ID") | {"JOB_COMPLETION_INDEX": "1"},
            ProcessInfo("10.0.0.1:1234", 3, 1, "JAX_NUM_PROCESSES and JOB_COMPLETION_INDEX"),
        ),
        ({"JAX_NUM_PROCESSES": "1", "JAX_PROCESS_ID": "0"}, None),
        ({"JOB_COMPLETION_INDEX": "1"}, None),
        # Kubeflow, Azure ML; torchrun itself listens at the port that it names.
        (TORCH, ProcessInfo("10.0.0.3:29500", 2, 1, TORCHRUN, (), 1)),
        (TORCH | {"CUDA_VISIBLE_DEVICES": "1"}, ProcessInfo("10.0.0.3:29500", 2, 1, TORCHRUN)),
        (
            TORCH | {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RUN_ID": "none"},
            ProcessInfo("10.0.0.3:64468", 2, 1, TORCHRUN, (), 1),
        ),
        (TORCH | {"MASTER_ADDR": "fe80::1"}, ProcessInfo("[fe80::1]:29500", 2, 1, TORCHRUN, (), 1)),
        ({"WORLD_SIZE": "1", "RANK": "0"}, None),
        ({"RANK": "3"}, None),
        # srun counts; scripts often set the variables of torch beside it.
        (SLURM | {"WORLD_SIZE": "4"}, ProcessInfo("n01:61441", 4, 3, SRUN, BLOCKS, 1)),
        # srun --mpi=pmi2.
        (
            SLURM | {"PMI_SIZE": "4", "PMI_RANK": "3"},
            ProcessInfo("n01:61441", 4, 3, SRUN, BLOCKS, 1),
        ),
        ({"PMI_SIZE": "1", "PMI_RANK": "0"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_every_cluster_says_it_in_its_own_way(environ, info):
    assert find_process(environ) == info


def test_an_address_of_several_hosts_under_open_mpi():
    elsewhere = MPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "1"}
    with pytest.raises(PrimusError, match="--coordinator"):
        find_process(elsewhere)
    assert find_process(elsewhere, coordinator="n1:5").coordinator == "n1:5"
    for uri, host in (
        ("1531576320.0;tcp://10.96.0.1,10.148.0.1:34911", "10.96.0.1"),
        ("1314521088.0;tcp6://[fe80::b9b:ac5d,2620:10d::2]:43370", "[fe80::b9b:ac5d]"),
    ):
        found = find_process(elsewhere | {"OMPI_MCA_orte_hnp_uri": uri})
        assert found.coordinator.rpartition(":")[0] == host
        # mpirun starts its daemons by srun, whose variables number the daemons.
        assert find_process(SLURM | elsewhere | {"OMPI_MCA_orte_hnp_uri": uri}) == found


@pytest.mark.parametrize(
    ("environ", "source", "device"),
    [
        (MPICH, "PMI_SIZE and PMI_RANK", 1),
        (MVAPICH, "MV2_COMM_WORLD_SIZE and MV2_COMM_WORLD_RANK", None),
        # mpirun of MPICH starts its daemons by srun, whose variables number the daemons.
        (SLURM | MPICH, "PMI_SIZE and PMI_RANK", 1),
    ],
)
def test_an_mpi_that_does_not_tell_where_process_0_is(environ, source, device):
    with pytest.raises(PrimusError, match="--coordinator HOST:PORT"):
        find_process(environ)
    assert find_process(environ, "n1:5") == ProcessInfo("n1:5", 2, 1, source, (), device)
    assert find_process(environ, processes=1) is None


@pytest.mark.parametrize(
    ("environ", "token"),
    [
        (SLURM, "SLURM 4097.0"),
        (MPI | {"PMIX_NAMESPACE": "run-77@1"}, "run-77@1"),
        (TORCH | {"TORCHELASTIC_RUN_ID": "abc"}, "torchrun abc"),
        (NAMED, ""),
        (NAMED | {"PRIMUS_JOB_TOKEN": "hunter2"}, "hunter2"),
        (SLURM | {"PRIMUS_JOB_TOKEN": "hunter2"}, "hunter2"),
    ],
)
def test_the_token_of_a_job(environ, token):
    found = find_process(environ)
    assert found.token == token
    assert not token or token not in repr(found)


@pytest.mark.parametrize("environ", [{}, SLURM, MPI, POD, NAMED, TORCH, MPICH, MVAPICH])
def test_flags_win(environ):
    assert find_process(environ, **FLAGS) == ProcessInfo(
        "10.0.0.9:99", 2, 1, "--coordinator, --processes and --process-id"
    )
    assert find_process(environ, processes=1) is None


@pytest.mark.parametrize(
    ("environ", "flags", "words"),
    [
        ({}, {"processes": 2}, "part of a job"),
        ({}, {"coordinator": "a:1"}, "part of a job"),
        ({}, {"processes": 2, "process_id": 0}, "without --coordinator"),
        ({}, FLAGS | {"process_id": 2}, "process 2 of 2"),
        ({}, FLAGS | {"processes": 0}, "process 1 of 0"),
        ({}, FLAGS | {"coordinator": "10.0.0.9"}, "expected HOST:PORT"),
        ({}, FLAGS | {"coordinator": "10.0.0.9:70000"}, "expected HOST:PORT"),
        ({}, FLAGS | {"coordinator": "fe80::1:5"}, "expected HOST:PORT"),
        (SLURM, {"processes": 8}, "--processes is 8, but SLURM_STEP_NUM_TASKS .* says 4"),
        (SLURM, {"process_id": 0}, "--process-id is 0, but .* says 3"),
        (SLURM | {"SLURM_PROCID": "x"}, {}, "SLURM_PROCID is 'x'"),
        (SLURM | {"SLURM_STEP_NODELIST": "n[1-"}, {}, "node list"),
        (without(NAMED, "JAX_PROCESS_ID"), {}, "JAX_PROCESS_ID not set"),
        (without(NAMED, "JAX_NUM_PROCESSES"), {}, "JAX_NUM_PROCESSES not set"),
        (without(NAMED, "JAX_COORDINATOR_ADDRESS"), {}, "JAX_COORDINATOR_ADDRESS not set"),
        ({"JAX_COORDINATOR_ADDRESS": "a:1"}, {}, "JAX_COORDINATOR_ADDRESS name"),
        (without(POD, "TPU_WORKER_ID"), {}, "TPU_WORKER_ID is not set"),
        (POD | without(SLICES, "MEGASCALE_COORDINATOR_ADDRESS"), {}, "first slice"),
        (without(TORCH, "RANK"), {}, "WORLD_SIZE is 2, but RANK not set"),
        (without(TORCH, "MASTER_ADDR"), {}, "MASTER_ADDR not set"),
        (TORCH | {"RANK": "2"}, {}, "process 2 of 2"),
        (TORCH, {"processes": 3}, "--processes is 3, but WORLD_SIZE and RANK says 2"),
        (without(MPICH, "PMI_RANK"), {}, "PMI_RANK is not set"),
    ],
)  # fmt: skip
def test_half_of_it_and_contradictions_are_refused(environ, flags, words):
    with pytest.raises(PrimusError, match=words):
        find_process(environ, **flags)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("node7", ("node7",)),
        ("n[001-003,7],x1", ("n001", "n002", "n003", "n7", "x1")),
        ("n[08-11]", ("n08", "n09", "n10", "n11")),
        ("r[1-2]n[1-2].site", ("r1n1.site", "r1n2.site", "r2n1.site", "r2n2.site")),
        ("127.0.0.[2-3]", ("127.0.0.2", "127.0.0.3")),
    ],
)
def test_node_lists_are_expanded(text, hosts):
    assert expand_hosts(text) == hosts


@pytest.mark.parametrize("text", ["n[1-", "n1]", "n[a-b]", "", "n[]"])
def test_broken_node_lists_are_refused(text):
    with pytest.raises(PrimusError, match="node list"):
        expand_hosts(text)
