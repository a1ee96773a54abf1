"""launch/tpu_pod.sh against stand-ins for gcloud and the metadata server of the workers."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "tpu_pod.sh"

# Keeps the state of one queued resource in files, and runs what is sent to the workers here, each
# worker with a home folder of its own.
GCLOUD = """
import json, os, subprocess, sys
from pathlib import Path

cloud = Path(os.environ["CLOUD"])
with (cloud / "calls").open("a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
assert sys.argv[1:4] == ["compute", "tpus", "queued-resources"], sys.argv
verb, state = sys.argv[4], cloud / "state"
if verb == "describe":
    states = state.read_text().split() if state.exists() else []
    if not states:
        sys.exit("ERROR: (gcloud.compute.tpus.queued-resources.describe) NOT_FOUND: no resource")
    state.write_text(" ".join(states[1:] or states))
    if states[0] == "UNREACHABLE":
        sys.exit("ERROR: there was a problem refreshing something")
    print("WARNING: gcloud has something to say", file=sys.stderr)
    print(states[0])
elif verb == "create":
    state.write_text((cloud / "after_create").read_text())
elif verb == "delete":
    state.unlink()
elif verb == "ssh":
    (cloud / "connection").write_text(str(os.getpgrp()))
    count = int((cloud / "workers").read_text())
    command = sys.argv[sys.argv.index("--command") + 1]
    running = []
    for worker in range(count):
        home = cloud / f"worker{worker}"
        variables = os.environ | {"HOME": str(home), "WORKER": str(worker), "COUNT": str(count)}
        running.append(subprocess.Popen(["bash", "-c", command], env=variables, cwd=home))
    statuses = [process.wait() for process in running]
    # As gcloud does: the first that is not 0.
    sys.exit(next((status for status in statuses if status), 0))
"""

CURL = """#!/bin/sh
case "$*" in
  *agent-worker-number) echo "$WORKER" ;;
  *worker-network-endpoints) for i in $(seq "$COUNT"); do
      [ "$i" = 1 ] || printf ','
      printf 'unknown:unknown:10.0.0.%s' "$i"
    done ;;
  *tpu-env) cat "$CLOUD/tpu-env" ;;
esac
"""

# Stands in for the project on a worker: ends with the next of the statuses that it was given.
LOCAL = """#!/bin/bash
echo "$JAX_COORDINATOR_ADDRESS $JAX_NUM_PROCESSES $JAX_PROCESS_ID $*" >>"$HOME/starts"
n=$(wc -l <"$HOME/starts")
echo "start $n here"
word=$(sed -n "${n}p" "$CLOUD/statuses")
trap 'exit 75' TERM
while [ "$word" = wait ]; do sleep 0.1; done
exit "$word"
"""


def executable(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


class Cloud:
    """The folder of the stand-ins, and how a test reads and writes it."""

    def __init__(self, folder: Path, workers: int = 2):
        self.folder, self.said = folder, folder / "said"
        (folder / "bin").mkdir(parents=True)
        (folder / "gcloud.py").write_text(GCLOUD)
        executable(
            folder / "bin" / "gcloud", f'#!/bin/sh\nexec {sys.executable} "$CLOUD/gcloud.py" "$@"\n'
        )
        executable(folder / "bin" / "curl", CURL)
        (folder / "workers").write_text(str(workers))
        (folder / "after_create").write_text("ACCEPTED WAITING_FOR_RESOURCES PROVISIONING ACTIVE")
        (folder / "tpu-env").write_text("ACCELERATOR_TYPE: 'v5litepod-8'\nWORKER_ID: '0'\n")
        for worker in range(workers):
            launch = folder / f"worker{worker}" / "primus-jax" / "launch"
            launch.mkdir(parents=True)
            executable(launch / "local.sh", LOCAL)

    def start(self, *options, statuses=("0",)):
        (self.folder / "statuses").write_text("\n".join(statuses) + "\n")
        environment = os.environ | {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "CLOUD": str(self.folder),
            "PRIMUS_POLL": "0.1",
        }
        with self.said.open("w") as said:
            return subprocess.Popen(
                [
                    *(SCRIPT, "--name", "pod", "--zone", "us-west4-a", "--type", "v5litepod-8"),
                    *("--version", "v2-alpha-tpuv5-lite", *options),
                    *("--", "pretrain", "--config", "it's one.py", "--config.steps=3"),
                ],
                stdout=said, stderr=subprocess.STDOUT, env=environment,
            )  # fmt: skip

    def end(self, process):
        return process.wait(timeout=120), self.said.read_text()

    def run(self, *options, statuses=("0",)):
        return self.end(self.start(*options, statuses=statuses))

    def verbs(self):
        rows = (self.folder / "calls").read_text().splitlines()
        return [json.loads(row)[3] for row in rows]

    def starts(self, worker=0):
        path = self.folder / f"worker{worker}" / "starts"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def cloud(tmp_path):
    return Cloud(tmp_path / "cloud")


def wait(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_asks_waits_and_runs_the_same_command_on_every_worker(cloud):
    code, said = cloud.run("--spot", "--project", "p")
    assert code == 0, said
    assert cloud.verbs() == [*["describe", "create"], *["describe"] * 4, "ssh"]
    create = json.loads((cloud.folder / "calls").read_text().splitlines()[1])
    assert create[4:] == [
        *("pod", "--zone", "us-west4-a", "--project", "p", "--accelerator-type", "v5litepod-8"),
        *("--runtime-version", "v2-alpha-tpuv5-lite", "--node-id", "pod", "--spot", "--async"),
        "--quiet",
    ]
    for worker in range(2):
        assert cloud.starts(worker) == [
            f"10.0.0.1:8482 2 {worker} pretrain --config it's one.py --config.steps=3"
        ]


def test_several_slices_are_one_job(cloud):
    (cloud.folder / "tpu-env").write_text(
        "MEGASCALE_COORDINATOR_ADDRESS: '10.9.9.9:8080'\nMEGASCALE_NUM_SLICES: '3'\n"
        "MEGASCALE_SLICE_ID: '2'\n"
    )
    code, said = cloud.run("--slices", "3")
    assert code == 0, said
    assert "--node-count" in (cloud.folder / "calls").read_text()
    assert cloud.starts(1)[0].startswith("10.9.9.9:8482 6 5 ")


def test_starts_over_until_it_is_done(cloud):
    code, said = cloud.run(statuses=["1", "75", "0"])
    assert code == 0, said
    assert len(cloud.starts()) == 3
    assert cloud.verbs().count("create") == 1


def test_a_moment_without_an_answer_is_waited_for(cloud):
    (cloud.folder / "state").write_text("PROVISIONING UNREACHABLE ACTIVE")
    code, said = cloud.run()
    assert code == 0, said
    assert "a problem refreshing" in said


def test_a_preempted_pod_is_asked_for_again(cloud):
    (cloud.folder / "state").write_text("ACTIVE SUSPENDING SUSPENDED")
    (cloud.folder / "after_create").write_text("ACTIVE")
    code, said = cloud.run(statuses=["255", "0"])
    assert code == 0, said
    assert [v for v in cloud.verbs() if v != "describe"] == ["ssh", "delete", "create", "ssh"]


def test_a_mistake_is_not_repeated(cloud):
    code, said = cloud.run("--delete", statuses=["2", "0"])
    assert code == 2, said
    assert cloud.verbs()[-2:] == ["ssh", "delete"]


def test_restarts_are_bounded(cloud):
    code, said = cloud.run("--restarts", "2", statuses=["1"] * 9)
    assert code == 1, said
    assert "no restarts left" in said
    assert len(cloud.starts()) == 3


def test_an_interruption_lets_the_workers_save(cloud):
    process = cloud.start(statuses=["wait", "0"])
    wait(lambda: all(cloud.starts(worker) for worker in range(2)))
    process.send_signal(signal.SIGINT)
    code, said = cloud.end(process)
    assert code == 75, said
    assert cloud.verbs()[-2:] == ["ssh", "ssh"]
    assert len(cloud.starts()) == 1


def test_a_lost_connection_finds_the_run_again(cloud):
    process = cloud.start(statuses=["wait"])
    wait(lambda: cloud.said.read_text().count("start 1 here") == 2)
    # With all that depends on it, as sshd does to what it started.
    os.killpg(int((cloud.folder / "connection").read_text()), signal.SIGKILL)
    wait(lambda: cloud.said.read_text().count("start 1 here") == 4)
    process.terminate()
    code, said = cloud.end(process)
    assert code == 75, said
    assert "ended with status 137" in said
    assert [len(cloud.starts(worker)) for worker in range(2)] == [1, 1]


def test_setup_runs_first_and_its_failure_is_told(cloud, tmp_path):
    setup = tmp_path / "setup.sh"
    setup.write_text('echo "it\'s ready" >"$HOME/ready"\nfalse\necho never >"$HOME/never"\n')
    code, said = cloud.run("--setup", str(setup), "--restarts", "0")
    assert code == 1, said
    assert "--setup failed with status 1" in said
    assert (cloud.folder / "worker1" / "ready").read_text() == "it's ready\n"
    assert not (cloud.folder / "worker1" / "never").exists()
    assert cloud.starts() == []


def test_dry_run_prints_and_runs_nothing(cloud):
    code, said = cloud.run("--dry-run", "--delete")
    assert code == 0
    assert not (cloud.folder / "calls").exists()
    for part in ("create pod --zone us-west4-a", "--batch-size all", "delete pod"):
        assert part in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--slices", "x"], "expected numbers"),
        (["--speed"], "unknown option --speed"),
        (["--setup", "/nothing/here"], "no such file"),
        (["--zone", ""], "--zone is missing"),
    ],
)
def test_wrong_options_are_explained(cloud, options, message):
    code, said = cloud.run(*options)
    assert code == 2
    assert message in said
    assert "--type TYPE" in said
