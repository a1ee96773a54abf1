"""launch/local.sh starts what it says, ends all of it, and hands back the status that matters."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch" / "local.sh"
SHELL = [
    *ROOT.glob("launch/*.sh"),
    ROOT / "launch/slurm.sbatch",
    ROOT / "tests/launch/slurm/setup.sh",
]

# Stands in for primus-jax: says who it is, then does what its process number is told to do.
MEMBER = """
import json, os, signal, sys
from pathlib import Path

caught = []
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda n, frame: caught.append(n))
me = int(os.environ["JAX_PROCESS_ID"])
words = sys.argv[1].split(",")[me]
names = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "CUDA_VISIBLE_DEVICES", "MALLOC_ARENA_MAX")
said = {"pid": os.getpid()} | {n: os.environ.get(n) for n in names}
path = Path(f"member{me}.json")
path.with_suffix(".new").write_text(json.dumps(said))
path.with_suffix(".new").rename(path)
if words == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
while words == "stuck" or (words == "wait" and not caught):
    signal.pause()
path.with_suffix(".signals").write_text(str([int(n) for n in caught]))
sys.exit(75 if words == "wait" else int(words))
"""


@pytest.fixture
def project(tmp_path):
    """A project of this launcher and the stand-in."""
    (tmp_path / "member.py").write_text(MEMBER)
    for folder in ("launch", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(SCRIPT, tmp_path / "launch")
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$1" != -c ] || exec {sys.executable} "$@"\nshift 2\n'
        f'exec {sys.executable} {tmp_path}/member.py "$@"\n'
    )
    python.chmod(0o755)
    return tmp_path


def launch(project, *arguments, **more):
    environment = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"} | more
    return subprocess.Popen(
        [project / "launch" / "local.sh", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=project, env=environment,
    )  # fmt: skip


def end(process):
    said, _ = process.communicate(timeout=60)
    return process.returncode, said


def members(project, count):
    """What each stand-in said of itself, once all did."""
    paths = [project / f"member{i}.json" for i in range(count)]
    wait(lambda: all(path.exists() for path in paths))
    return [json.loads(path.read_text()) for path in paths]


def wait(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def alive(pid):
    # Nobody may be left to reap an orphan: a zombie is dead.
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def test_local_runs_the_command_and_hands_back_its_status(simulated, tmp_path):
    assert os.access(SCRIPT, os.X_OK)
    done = subprocess.run(
        [str(SCRIPT), "info", str(simulated)],
        capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "SIMULATED" in done.stdout
    done = subprocess.run(
        [str(SCRIPT), "info", str(tmp_path / "nothing")],
        capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "no such folder" in done.stderr


def test_every_process_is_told_its_place(project):
    assert end(launch(project, "--processes", "3", "0,0,0"))[0] == 0
    said = members(project, 3)
    assert len({m["pid"] for m in said}) == 3
    assert len({m["JAX_COORDINATOR_ADDRESS"] for m in said}) == 1
    assert {m["JAX_NUM_PROCESSES"] for m in said} == {"3"}
    assert {m["MALLOC_ARENA_MAX"] for m in said} == {"1"}
    assert {m["CUDA_VISIBLE_DEVICES"] for m in said} == {None}


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("0,75", 75),
        ("75,1", 1),
        ("1,2", 2),
        ("wait,2", 2),
        ("wait,wait,1", 1),
        ("kill,wait", 128 + signal.SIGKILL),
        ("stuck,1", 1),
    ],
)
def test_one_failure_ends_all_and_the_status_says_why(project, words, status):
    count = words.count(",") + 1
    process = launch(project, "--processes", str(count), words, PRIMUS_GRACE="2")
    code, said = end(process)
    assert code == status, said
    assert not any(alive(m["pid"]) for m in members(project, count))
    assert ("ended with status" in said) == (status != 75)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_every_process_once(project, number):
    process = launch(project, "--processes", "2", "wait,wait")
    members(project, 2)
    process.send_signal(number)
    assert end(process)[0] == 75
    for i in range(2):
        assert (project / f"member{i}.signals").read_text() == f"[{int(number)}]"


def test_a_killed_launcher_leaves_no_orphan(project):
    if not shutil.which("setpriv"):
        pytest.skip("no setpriv (util-linux)")
    process = launch(project, "--processes", "2", "wait,wait")
    said = members(project, 2)
    process.kill()
    wait(lambda: not any(alive(m["pid"]) for m in said))
    process.communicate(timeout=60)


def test_gpus_are_shared(project):
    process = launch(project, "--processes", "2", "0,0", CUDA_VISIBLE_DEVICES="4,5,6,7")
    assert end(process)[0] == 0
    assert [m["CUDA_VISIBLE_DEVICES"] for m in members(project, 2)] == ["4,5", "6,7"]
    smi = project / "nvidia-smi"
    smi.write_text("#!/bin/sh\nprintf '0\\n1\\n2\\n'\n")
    smi.chmod(0o755)
    path = f"{project}:{os.environ['PATH']}"
    assert end(launch(project, "--processes", "3", "0,0,0", PATH=path))[0] == 0
    assert [m["CUDA_VISIBLE_DEVICES"] for m in members(project, 3)] == ["0", "1", "2"]
    code, said = end(launch(project, "--processes", "2", "0,0", PATH=path))
    assert code == 2
    assert "3 GPUs cannot be shared evenly by 2 processes" in said


@pytest.mark.parametrize("number", ["0", "x", ""])
def test_a_wrong_number_of_processes_is_refused(project, number):
    code, said = end(launch(project, "--processes", number, "0"))
    assert code == 2
    assert "expected a number" in said


@pytest.mark.slow
def test_two_real_processes_train_are_stopped_and_go_on(simulated, tmp_path):
    command = [
        *(
            SCRIPT,
            "--processes",
            "2",
            "pretrain",
            "--config",
            ROOT / "tests/support/tiny_config.py",
        ),
        *("--workdir", tmp_path / "run", f"--config.data.train=('{simulated}',)"),
    ]
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=plain | {"JAX_PLATFORMS": "cpu"},
    ) as process:  # fmt: skip
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("step 5/"):
                process.terminate()
        assert process.wait(timeout=120) == 75, "".join(said)
    assert any("in 2 processes" in line for line in said)
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False,
        env=plain | {"JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resuming at step" in done.stdout


def test_slurm_says_where_to_submit_from(tmp_path):
    done = subprocess.run(
        ["bash", ROOT / "launch" / "slurm.sbatch", "pretrain"],
        capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"SLURM_SUBMIT_DIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "Submit from the project's folder" in done.stderr


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck on this machine")
@pytest.mark.parametrize("path", SHELL, ids=lambda p: p.name)
def test_shellcheck_finds_nothing(path):
    done = subprocess.run(
        ["shellcheck", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
