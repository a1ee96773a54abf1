"""Which process this is of those that train together, from flags or the cluster's variables.

Pure functions of the environment: nothing is connected here (`processes.join` does that). The
names are those that the schedulers document; in a shell of `salloc` or `sbatch`, which has the
job's variables but was not started by `srun`, a process is alone.
"""

import dataclasses
import ipaddress
import itertools
import re
import zlib
from collections.abc import Mapping

from primus_jax.errors import PrimusError

# Above the ports that Linux gives to outgoing connections, so that a derived one is mostly free.
FIRST_PORT, PORTS = 61440, 4096
TPU_PORT = 8482
# SLURM numbers a job's own steps from 0; batch, interactive and extern steps are beyond this.
SLURM_SPECIAL_STEP = 0xFFFFFFF0
# What only the processes of one job know; it is proved to the others, never sent or printed.
TOKEN = "PRIMUS_JOB_TOKEN"
# Of the MPIs that say nothing else: size, rank, and both among the processes of one host.
MPI_NAMES = (
    (
        "MV2_COMM_WORLD_SIZE",
        "MV2_COMM_WORLD_RANK",
        "MV2_COMM_WORLD_LOCAL_SIZE",
        "MV2_COMM_WORLD_LOCAL_RANK",
    ),
    ("PMI_SIZE", "PMI_RANK", "MPI_LOCALNRANKS", "MPI_LOCALRANKID"),
)
# What tells a process which GPUs are its own; one device named there needs no choice of ours.
VISIBLE = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


@dataclasses.dataclass(frozen=True)
class ProcessInfo:
    """One process of several.

    Attributes:
        coordinator: `HOST:PORT` of process 0, where the others find it.
        count: processes of the job, at least 2.
        index: of this one, 0 to count - 1.
        source: what said so, for messages.
        hosts: of each process in order; () where unknown.
        local_device: which GPU of the host is this process's; None: all that it sees.
        token: of the job, from `PRIMUS_JOB_TOKEN` or the scheduler's id of the job; "" where
            nobody gave one.
    """

    coordinator: str
    count: int
    index: int
    source: str
    hosts: tuple[str, ...] = ()
    local_device: int | None = None
    token: str = dataclasses.field(default="", repr=False, compare=False)


def find_process(
    environ: Mapping[str, str],
    coordinator: str | None = None,
    processes: int | None = None,
    process_id: int | None = None,
) -> ProcessInfo | None:
    """Return which process this is; None where it trains alone.

    Flags come first, then `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and `JAX_PROCESS_ID`,
    then the variables of a TPU pod, Open MPI, other MPIs, SLURM and torchrun. A coordinator alone
    replaces the one that would be derived from the cluster; `processes=1` means alone, whatever
    the cluster says.

    Raises:
        PrimusError: half of what is needed, values that contradict each other, or no numbers.
    """
    if processes == 1 and process_id in (None, 0):
        return None
    flags = "--coordinator, --processes and --process-id"
    if processes is not None and process_id is not None:
        if coordinator is None:
            raise PrimusError(
                f"--processes {processes} and --process-id {process_id} without --coordinator "
                f"HOST:PORT: the address of process 0, the same for every process."
            )
        return _checked(environ, ProcessInfo(coordinator, processes, process_id, flags))
    address = coordinator or environ.get("JAX_COORDINATOR_ADDRESS")
    for find in (_jax, _tpu, _open_mpi, _mpi, _slurm, _torch):
        info = find(environ, address)
        if info is None:
            continue
        for name, asked, found in (
            ("--processes", processes, info.count),
            ("--process-id", process_id, info.index),
        ):
            if asked not in (None, found):
                raise PrimusError(
                    f"{name} is {asked}, but {info.source} says {found}. Leave it out, or give "
                    f"all of {flags}."
                )
        return _checked(environ, info) if info.count > 1 else None
    if (processes, process_id) != (None, None) or address is not None:
        given = coordinator or processes or process_id
        raise PrimusError(
            f"{'the flags' if given is not None else 'JAX_COORDINATOR_ADDRESS'} name a part of a "
            f"job only, and no cluster was found that says the rest. Give all of {flags}."
        )
    return None


def expand_hosts(text: str) -> tuple[str, ...]:
    """SLURM's `n[001-003,7],x1` as `("n001", "n002", "n003", "n7", "x1")`.

    Raises:
        PrimusError: brackets or ranges that do not close.
    """
    hosts: list[str] = []
    for word in re.findall(r"(?:[^,\[\]]|\[[^\[\]]*\])+", text):
        parts = re.split(r"\[([^\]]*)\]", word)
        choices = [_numbers(p, text) if i % 2 else [p] for i, p in enumerate(parts)]
        hosts += ["".join(combination) for combination in itertools.product(*choices)]
    if not hosts or text.count("[") != text.count("]"):
        raise PrimusError(f"node list {text!r} is not one of SLURM.")
    return tuple(hosts)


def _numbers(ranges: str, text: str) -> list[str]:
    numbers: list[str] = []
    for part in ranges.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if match is None:
            raise PrimusError(f"node list {text!r} holds {part!r}, which is no range.")
        first, last = match[1], match[2] or match[1]
        numbers += [f"{n:0{len(first)}}" for n in range(int(first), int(last) + 1)]
    return numbers


def _jax(environ: Mapping[str, str], address: str | None) -> ProcessInfo | None:
    count, index = "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
    if count not in environ and index not in environ:
        return None
    # An indexed Kubernetes job numbers its pods itself.
    number = index if index in environ else "JOB_COMPLETION_INDEX"
    missing = [count] if count not in environ else []
    missing += [index] if number not in environ else []
    missing += [] if address or environ.get(count) == "1" else ["JAX_COORDINATOR_ADDRESS"]
    if missing:
        raise PrimusError(
            f"{' and '.join(missing)} not set, but {count if count in environ else index} is. Set "
            f"all of JAX_COORDINATOR_ADDRESS, {count} and {index}, or none."
        )
    return ProcessInfo(
        address or "", _number(environ, count), _number(environ, number), f"{count} and {number}"
    )


def _tpu(environ: Mapping[str, str], address: str | None) -> ProcessInfo | None:
    named = environ.get("TPU_WORKER_HOSTNAMES", "")
    workers = tuple(host.strip() for host in named.split(",") if host.strip())
    slices = _number(environ, "MEGASCALE_NUM_SLICES", 1)
    if not workers or len(workers) * slices < 2:
        return None
    worker, part = _number(environ, "TPU_WORKER_ID"), _number(environ, "MEGASCALE_SLICE_ID", 0)
    head = environ.get("MEGASCALE_COORDINATOR_ADDRESS", "").rsplit(":", 1)[0] or workers[0]
    if slices > 1 and head == workers[0] and part > 0 and not address:
        raise PrimusError(
            f"MEGASCALE_NUM_SLICES is {slices}, but MEGASCALE_COORDINATOR_ADDRESS is not set: "
            f"where is the first slice? Set it, or give --coordinator."
        )
    return ProcessInfo(
        address or f"{head}:{_number(environ, 'JAX_COORDINATOR_PORT', TPU_PORT)}",
        len(workers) * slices,
        part * len(workers) + worker,
        "TPU_WORKER_HOSTNAMES and TPU_WORKER_ID",
        workers if slices == 1 else (),
    )


def _open_mpi(environ: Mapping[str, str], address: str | None) -> ProcessInfo | None:
    if "OMPI_COMM_WORLD_SIZE" not in environ:
        return None
    count = _number(environ, "OMPI_COMM_WORLD_SIZE")
    job = environ.get("PMIX_NAMESPACE") or environ.get("OMPI_MCA_orte_hnp_uri", "").split(";")[0]
    local = _number(environ, "OMPI_COMM_WORLD_LOCAL_SIZE", 0)
    if address is None and count > 1:
        launcher = re.search(
            r"//\[?([0-9a-fA-F.:]*[0-9a-fA-F])[,:\]]", environ.get("OMPI_MCA_orte_hnp_uri", "")
        )
        if local == count:
            host = "127.0.0.1"
        elif launcher is not None:
            host = launcher[1]
        else:
            raise PrimusError(
                "Open MPI says nothing of the address of process 0 on several hosts. Give it as "
                "--coordinator HOST:PORT, the same for every process."
            )
        port = FIRST_PORT + zlib.crc32(job.encode()) % PORTS
        host = f"[{host}]" if ":" in host else host
        address = f"{host}:{_number(environ, 'JAX_COORDINATOR_PORT', port)}"
    return ProcessInfo(
        address or "",
        count,
        _number(environ, "OMPI_COMM_WORLD_RANK"),
        "OMPI_COMM_WORLD_SIZE and OMPI_COMM_WORLD_RANK",
        local_device=_own_device(environ, local, "OMPI_COMM_WORLD_LOCAL_RANK"),
        token=job,
    )


def _mpi(environ: Mapping[str, str], address: str | None) -> ProcessInfo | None:
    """MPICH, Intel MPI and MVAPICH; none of them tells where process 0 is."""
    found = [names for names in MPI_NAMES if names[0] in environ]
    if not found:
        return None
    size, rank, local_size, local_rank = found[0]
    count, index = _number(environ, size), _number(environ, rank)
    slurm = (environ.get("SLURM_STEP_NUM_TASKS"), environ.get("SLURM_PROCID"))
    if count < 2 or slurm == (environ[size], environ[rank]):
        return None  # srun --mpi=pmi2 sets both; otherwise srun has started daemons of the MPI
    if address is None:
        raise PrimusError(
            f"{size} is {count}, but no variable of this MPI tells the address of process 0. Give "
            f"it as --coordinator HOST:PORT, the same for every process, or --processes 1 to "
            f"train alone."
        )
    local = _number(environ, local_size, 1)
    return ProcessInfo(
        address,
        count,
        index,
        f"{size} and {rank}",
        local_device=_own_device(environ, local, local_rank),
    )


def _slurm(environ: Mapping[str, str], address: str | None) -> ProcessInfo | None:
    # Only srun sets these two together; the shells of salloc and sbatch have the job's alone.
    if "SLURM_STEP_NUM_TASKS" not in environ or "SLURM_PROCID" not in environ:
        return None
    step = _number(environ, "SLURM_STEP_ID", 0)
    count = _number(environ, "SLURM_STEP_NUM_TASKS")
    if step >= SLURM_SPECIAL_STEP or count < 2:
        return None
    nodes = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST", "")
    hosts = expand_hosts(nodes) if nodes else ()
    if address is None:
        if not hosts:
            raise PrimusError(
                "SLURM_STEP_NODELIST is not set: where is process 0? Give --coordinator HOST:PORT."
            )
        job = _number(environ, "SLURM_JOB_ID")
        port = FIRST_PORT + (job + 1009 * step) % PORTS
        address = f"{hosts[0]}:{_number(environ, 'JAX_COORDINATOR_PORT', port)}"
    token = f"SLURM {environ.get('SLURM_JOB_ID', '')}.{step}"
    tasks = _tasks(environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
    node = _number(environ, "SLURM_NODEID", 0)
    here = tasks[node] if node < len(tasks) else 1
    blocks = environ.get("SLURM_DISTRIBUTION", "block").startswith("block")
    known = len(tasks) == len(hosts) and sum(tasks) == count and (blocks or max(tasks) == 1)
    return ProcessInfo(
        address,
        count,
        _number(environ, "SLURM_PROCID"),
        "SLURM_STEP_NUM_TASKS and SLURM_PROCID",
        tuple(h for h, n in zip(hosts, tasks, strict=True) for _ in range(n)) if known else (),
        _own_device(environ, here, "SLURM_LOCALID"),
        token,
    )


def _torch(environ: Mapping[str, str], address: str | None) -> ProcessInfo | None:
    """torchrun, accelerate, and what sets the same variables (Kubeflow, Azure ML, SageMaker)."""
    if "WORLD_SIZE" not in environ or _number(environ, "WORLD_SIZE") < 2:
        return None
    needed = ["RANK"] if address else ["RANK", "MASTER_ADDR", "MASTER_PORT"]
    missing = [name for name in needed if not environ.get(name)]
    if missing:
        raise PrimusError(
            f"WORLD_SIZE is {environ['WORLD_SIZE']}, but {' and '.join(missing)} not set. Set "
            f"WORLD_SIZE, RANK, MASTER_ADDR and MASTER_PORT as torchrun does, or give "
            f"--coordinator, --processes and --process-id; --processes 1 trains alone."
        )
    run = environ.get("TORCHELASTIC_RUN_ID", "")
    if address is None:
        host, port = environ["MASTER_ADDR"], _number(environ, "MASTER_PORT")
        if environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            # torchrun itself listens at the port that it names.
            port = FIRST_PORT + zlib.crc32(f"{run} {port}".encode()) % PORTS
        host = f"[{host}]" if ":" in host else host
        address = f"{host}:{_number(environ, 'JAX_COORDINATOR_PORT', port)}"
    local = _number(environ, "LOCAL_WORLD_SIZE", 1)
    return ProcessInfo(
        address,
        _number(environ, "WORLD_SIZE"),
        _number(environ, "RANK"),
        "WORLD_SIZE and RANK",
        local_device=_own_device(environ, local, "LOCAL_RANK"),
        token=f"torchrun {run}" if run else "",
    )


def _tasks(text: str) -> list[int]:
    """SLURM's `2(x3),1` as `[2, 2, 2, 1]`; [] where it is not understood."""
    found = [re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part) for part in text.split(",")]
    parts = [part for part in found if part is not None]
    if len(parts) < len(found):
        return []
    return [int(part[1]) for part in parts for _ in range(int(part[2] or 1))]


def _own_device(environ: Mapping[str, str], tasks: int, name: str) -> int | None:
    """Several processes of a host take one GPU each, unless each sees one only."""
    bound = any(len(environ[v].split(",")) == 1 for v in VISIBLE if environ.get(v))
    return _number(environ, name) if tasks > 1 and not bound and name in environ else None


def _number(environ: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = environ.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isdecimal():
        raise PrimusError(
            f"{name} is {'not set' if text is None else repr(text)}; expected a number of 0 or "
            f"more. The cluster that set the variables beside it should have set it too."
        )
    return int(text)


def _checked(environ: Mapping[str, str], info: ProcessInfo) -> ProcessInfo:
    if info.count < 1 or not 0 <= info.index < info.count:
        raise PrimusError(
            f"process {info.index} of {info.count} (from {info.source}); expected 0 to "
            f"{max(info.count - 1, 0)}."
        )
    split_address(info.coordinator)
    return dataclasses.replace(info, token=environ.get(TOKEN) or info.token)


def split_address(address: str) -> tuple[str, int]:
    """`HOST:PORT`, with an IPv6 host in brackets, as host and port.

    Raises:
        PrimusError: it is not.
    """
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.%\w]+)\]|([^\[\]:\s]+)):(\d{1,5})", address)
    if match is None or not 0 < int(match[3]) < 65536:
        raise PrimusError(
            f"coordinator {address!r}; expected HOST:PORT, the address of process 0 and a free "
            f"port there, as in 10.0.0.1:1234."
        )
    return match[1] or match[2], int(match[3])


def is_loopback(host: str) -> bool:
    """Whether only processes of the same machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
