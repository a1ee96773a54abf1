"""launch/slurm.sbatch on a real SLURM of this machine: two nodes, one task on each.

`tests/launch/slurm/setup.sh install` (root, Debian or Ubuntu) makes these
tests run instead of skip.
"""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from primus_jax.training.digest import digest
from primus_jax.training.run import load_state

ROOT = Path(__file__).parents[3]
SETUP = ROOT / "tests" / "launch" / "slurm" / "setup.sh"
CONFIG = ROOT / "tests" / "support" / "tiny_config.py"
STEPS = 200
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}

pytestmark = pytest.mark.slow


class Cluster:
    """The commands of SLURM, against the one that `setup.sh start` started."""

    def __init__(self, folder: Path):
        self.folder = folder
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
        self.environment = plain | {
            "JAX_PLATFORMS": "cpu",
            "SLURM_CONF": str(folder / "slurm.conf"),
            # Every start of every test compiles the same programs.
            "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }

    def run(self, *command, **more):
        done = subprocess.run(
            [str(word) for word in command],
            capture_output=True, text=True, cwd=ROOT, timeout=120, check=False,
            env=self.environment | more,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def pretrain(self, workdir, data, *options, overrides=(), **more):
        """Submit launch/slurm.sbatch as it is; the job's number."""
        return self.run(
            *("sbatch", "--parsable", "--nodes=2", "--ntasks-per-node=1"),
            *(f"--output={workdir}.log", *options, "launch/slurm.sbatch"),
            *("pretrain", "--config", CONFIG, "--workdir", workdir),
            *(f"--config.data.train=('{data}',)", f"--config.steps={STEPS}"),
            *("--config.checkpoint.every=1000", *overrides),
            **more,
        )

    def job(self, number):
        """What SLURM says of a job, by name."""
        words = self.run("scontrol", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def end(self, number):
        """Wait for the end of a job; what SLURM says of it then."""
        wait(lambda: self.job(number)["JobState"] in ENDED, f"job {number} ended")
        return self.job(number)


def wait(condition, what, seconds=900):
    """Until SLURM got so far: it has no way to tell."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds} s: {what}"
        time.sleep(0.2)


def reach(workdir, step):
    """Wait until a run has logged a step."""
    path = workdir / "metrics.jsonl"

    def there():
        rows = path.read_text().splitlines() if path.exists() else []
        return any(json.loads(row)["step"] >= step for row in rows)

    wait(there, f"step {step} in {path}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Starts SLURM, and ends it with all that runs in it."""
    missing = [n for n in ("slurmctld", "slurmd", "munged", "sbatch") if not shutil.which(n)]
    if missing or os.geteuid() != 0:
        pytest.skip(
            f"SLURM cannot be run: {', '.join(missing) or 'root'} is missing. As root, on Debian "
            f"or Ubuntu: tests/launch/slurm/setup.sh install"
        )
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run([SETUP, "start", folder], check=True, timeout=120)
    try:
        yield Cluster(folder)
    finally:
        subprocess.run([SETUP, "stop", folder], check=True, timeout=120)


@pytest.fixture(scope="module")
def undisturbed(cluster, simulated, tmp_path_factory):
    """The parameters at the end of a run that nobody interrupted."""
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    job = cluster.end(cluster.pretrain(workdir, simulated))
    log = Path(f"{workdir}.log").read_text()
    assert (job["JobState"], job["ExitCode"], job["Restarts"]) == ("COMPLETED", "0:0", "0"), log
    assert "in 2 processes" in log
    return digest(load_state(workdir, "latest")[0])


@pytest.mark.parametrize("partition", ["low", "polite"])
def test_a_preempted_job_saves_is_requeued_and_ends_with_the_same_parameters(
    cluster, undisturbed, simulated, tmp_path, partition
):
    """`low` kills after SIGTERM and KillWait; `polite` first gives its jobs a GraceTime."""
    workdir = tmp_path / "run"
    job = cluster.pretrain(workdir, simulated, f"--partition={partition}")
    reach(workdir, 5)
    urgent = cluster.run(
        *("sbatch", "--parsable", "--partition=high", "--nodes=2", "--output=/dev/null"),
        *("--wrap", "srun true"),
    )
    assert cluster.end(urgent)["JobState"] == "COMPLETED"
    end = cluster.end(job)
    log = Path(f"{workdir}.log").read_text()
    assert (end["JobState"], end["Restarts"]) == ("COMPLETED", "1"), log
    assert re.search(r"stopped by SIGTERM.*: saved step \d+", log), log
    assert "start 2, on" in log
    assert "resuming at step" in log
    assert digest(load_state(workdir, "latest")[0]) == undisturbed


def test_a_warned_job_requeues_itself(cluster, undisturbed, simulated, tmp_path):
    """SIGTERM to the tasks alone is what --signal sends before the time limit."""
    workdir = tmp_path / "run"
    job = cluster.pretrain(workdir, simulated)
    reach(workdir, 5)
    cluster.run("scancel", "--signal=TERM", job)
    end = cluster.end(job)
    log = Path(f"{workdir}.log").read_text()
    assert (end["JobState"], end["Restarts"]) == ("COMPLETED", "1"), log
    assert "the tasks ended with status 75" in log
    assert "slurm.sbatch: requeued" in log
    assert digest(load_state(workdir, "latest")[0]) == undisturbed


def test_restarts_are_bounded(cluster, simulated, tmp_path):
    workdir = tmp_path / "run"
    job = cluster.pretrain(workdir, simulated, PRIMUS_RESTARTS="0")
    reach(workdir, 1)
    cluster.run("scancel", "--signal=TERM", job)
    end = cluster.end(job)
    log = Path(f"{workdir}.log").read_text()
    assert (end["JobState"], end["ExitCode"], end["Restarts"]) == ("FAILED", "75:0", "0"), log
    assert "restarted 0 times, giving up" in log


def test_a_cancelled_job_saves_and_stays_cancelled(cluster, simulated, tmp_path):
    workdir = tmp_path / "run"
    job = cluster.pretrain(workdir, simulated)
    reach(workdir, 1)
    cluster.run("scancel", job)
    # It shows as cancelled while the tasks still save.
    wait(lambda: not cluster.run("squeue", "--noheader", "--states=CG"), "ended")
    log = Path(f"{workdir}.log").read_text()
    assert "nothing is requeued from here" in log
    assert "saved step" in log
    assert cluster.job(job)["JobState"] == "CANCELLED"
    assert cluster.job(job)["Restarts"] == "0"


def test_a_mistake_is_not_repeated(cluster, simulated, tmp_path):
    workdir = tmp_path / "run"
    job = cluster.pretrain(workdir, simulated, overrides=["--config.optim.lr=-1.0"])
    end = cluster.end(job)
    log = Path(f"{workdir}.log").read_text()
    assert (end["JobState"], end["ExitCode"], end["Restarts"]) == ("FAILED", "2:0", "0"), log
    assert "lr -1.0" in log
