"""launch/gke_jobset.yaml: what Kubernetes and the JobSet controller refuse, and what must agree."""

import re
from pathlib import Path

import pytest

from primus_jax.parallel.cluster import TOKEN, find_process, split_address
from primus_jax.training.stop import EXIT_INTERRUPTED

yaml = pytest.importorskip("yaml")

PATH = Path(__file__).parents[2] / "launch" / "gke_jobset.yaml"
JOBSETS = {d["metadata"]["name"]: d for d in yaml.safe_load_all(PATH.read_text())}
LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
REASONS = {
    *("BackoffLimitExceeded", "DeadlineExceeded", "FailedIndexes", "MaxFailedIndexesExceeded"),
    "PodFailurePolicy",
}

pytestmark = pytest.mark.parametrize("name", ["primus-gpu", "primus-tpu"])


def parts(name):
    """The set, its only replicated job, that one's job, and the container."""
    spec = JOBSETS[name]["spec"]
    (replicated,) = spec["replicatedJobs"]
    job = replicated["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    return spec, replicated, job, container


def test_the_fields_are_those_of_a_jobset(name):
    jobset = JOBSETS[name]
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert set(jobset) == {"apiVersion", "kind", "metadata", "spec"}
    assert set(jobset["spec"]) == {"network", "failurePolicy", "replicatedJobs"}
    assert jobset["spec"]["network"] == {
        "enableDNSHostnames": True,
        "publishNotReadyAddresses": True,
    }
    assert jobset["metadata"]["labels"] == {"pool": name.removeprefix("primus-")}


def test_names_are_short_enough_for_pods(name):
    _, replicated, job, _ = parts(name)
    last = f"{replicated['replicas'] - 1}-{job['completions'] - 1}"
    assert LABEL.fullmatch(f"{name}-{replicated['name']}-{last}-abcde")


def test_a_mistake_ends_all_and_an_interruption_costs_nothing(name):
    spec, _, job, container = parts(name)
    policy = spec["failurePolicy"]
    assert policy["maxRestarts"] > 0
    (rule,) = policy["rules"]
    assert re.fullmatch(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", rule["name"])
    assert (rule["action"], rule["onJobFailureReasons"]) == ("FailJobSet", ["PodFailurePolicy"])
    assert set(rule["onJobFailureReasons"]) <= REASONS
    # The only action that gives that reason is FailJob.
    rules = job["podFailurePolicy"]["rules"]
    assert [(r["action"], r["onExitCodes"]["values"]) for r in rules] == [
        ("FailJob", [2]),
        ("Ignore", [EXIT_INTERRUPTED]),
    ]
    for rule in rules:
        assert rule["onExitCodes"]["operator"] == "In"
        assert rule["onExitCodes"]["containerName"] == container["name"]
    # Kubernetes refuses a podFailurePolicy with any other.
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert job["backoffLimit"] == 0


def test_every_process_finds_the_others(name):
    _, replicated, job, container = parts(name)
    assert job["completionMode"] == "Indexed"
    assert job["completions"] == job["parallelism"]
    given = {e["name"]: e["value"] for e in container["env"] if "value" in e}
    (secret,) = (e["valueFrom"]["secretKeyRef"] for e in container["env"] if "valueFrom" in e)
    assert secret == {"name": "primus", "key": "token", "optional": True}
    assert TOKEN in {e["name"] for e in container["env"]}
    if name == "primus-gpu":
        assert replicated["replicas"] == 1
        count = job["completions"]
        host, _ = split_address(given["JAX_COORDINATOR_ADDRESS"])
        assert host == f"{name}-{replicated['name']}-0-0.{name}"
    else:
        # GKE says this to the pods of a slice.
        count = job["completions"] * replicated["replicas"]
        hosts = [f"{name}-{replicated['name']}-0-{i}.{name}" for i in range(job["completions"])]
        given = {"TPU_WORKER_HOSTNAMES": ",".join(hosts), "TPU_WORKER_ID": str(count - 1)}
    info = find_process(given | {"JOB_COMPLETION_INDEX": str(count - 1)})
    assert (info.index, info.count) == (count - 1, count)
    assert info.coordinator.startswith(f"{name}-{replicated['name']}-0-0.{name}:")


def test_chips_nodes_and_volumes_agree(name):
    _, _, job, container = parts(name)
    pod = job["template"]["spec"]
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    limits = container["resources"]["limits"]
    selector = pod["nodeSelector"]
    if name == "primus-tpu":
        x, y = selector["cloud.google.com/gke-tpu-topology"].split("x")
        assert int(x) * int(y) == job["completions"] * int(limits["google.com/tpu"])
    else:
        assert int(limits["nvidia.com/gpu"]) * job["completions"] == 64
        assert "cloud.google.com/gke-accelerator" in selector


def test_the_command_is_ours(name):
    *_, container = parts(name)
    root = PATH.parents[1]
    assert (root / container["command"][0]).is_file()
    options = dict(argument.split("=", 1) for argument in container["args"][1:])
    assert container["args"][0] == "pretrain"
    assert (root / options["--config"]).is_file()
    assert options["--workdir"].startswith(container["volumeMounts"][0]["mountPath"])
