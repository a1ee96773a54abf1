"""Promises about processes, kept by real ones: kill -9, SIGTERM, and wrong command lines."""

import json
import random
import signal
import subprocess
from subprocess import Popen

import pytest
from support.process_runs import ends, environment, pretrain_command

from primus_jax.training.digest import digest
from primus_jax.training.run import load_state

STEPS = 40


def run(workdir, data, *more):
    return subprocess.run(
        pretrain_command(workdir, data, *more),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=300,
        check=False,
    )


def interrupt(workdir, data, step, number):
    """Start a run, send it a signal when it says that it reached `step`, return its end."""
    with subprocess.Popen(
        pretrain_command(workdir, data),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    ) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith(f"step {step}/"):
                process.send_signal(number)
        return process.wait(timeout=120), "".join(lines)


@pytest.fixture(scope="module")
def never_killed(simulated, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole") / "run"
    done = run(workdir, simulated)
    assert done.returncode == 0, done.stdout + done.stderr
    return digest(load_state(workdir, "latest")[0])


@pytest.mark.slow
def test_killed_at_a_random_step_and_resumed_ends_bit_identical(never_killed, simulated, tmp_path):
    step = random.randint(2, STEPS - 2)
    code, said = interrupt(tmp_path / "run", simulated, step, signal.SIGKILL)
    assert code == -signal.SIGKILL, said
    done = run(tmp_path / "run", simulated)
    assert done.returncode == 0, done.stderr
    assert digest(load_state(tmp_path / "run", "latest")[0]) == never_killed, f"killed at {step}"
    rows = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows if "loss" in r] == list(range(1, STEPS + 1))


@pytest.mark.slow
def test_killed_while_a_checkpoint_is_written_the_one_before_is_used(
    never_killed, simulated, tmp_path
):
    folder = tmp_path / "run" / "checkpoints"
    with Popen(pretrain_command(tmp_path / "run", simulated), env=environment()) as process:
        # The first is whole, the second has begun: Orbax writes under another name, then renames.
        while process.poll() is None:
            names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
            if "10" in names and any("tmp" in name for name in names):
                process.kill()
                break
        assert process.wait(60) == -signal.SIGKILL
    left = [path.name for path in folder.iterdir()]
    assert any("tmp" in name for name in left), left
    step = max(int(name) for name in left if name.isdecimal())
    done = run(tmp_path / "run", simulated)
    assert f"resuming at step {step} of {STEPS}" in done.stdout, done.stdout + done.stderr
    assert digest(load_state(tmp_path / "run", "latest")[0]) == never_killed
    assert not any("tmp" in path.name for path in folder.iterdir())


@pytest.mark.slow
def test_sigterm_saves_asks_to_be_run_again_and_resumes_bit_identical(
    never_killed, simulated, tmp_path
):
    code, said = interrupt(tmp_path / "run", simulated, 13, signal.SIGTERM)
    assert code == 75, said
    assert "stopped by SIGTERM: saved step" in said
    state, _, _ = load_state(tmp_path / "run", "latest")
    assert 13 <= int(state.step) < STEPS
    done = run(tmp_path / "run", simulated)
    assert f"resuming at step {int(state.step)} of {STEPS}" in done.stdout
    assert digest(load_state(tmp_path / "run", "latest")[0]) == never_killed


WRONG = [
    (["--config.optim.lrr=1"], ["lrr"]),
    (["--config.steps=many"], ["steps"]),
    (["--config.objective.alpha=2.0"], ["alpha", "2.0", "0 to 1"]),
    (["--config.data.batch_size=100000"], ["queue_size"]),
    (["--config.encoder.readout=mean"], ["readout", "pool"]),
    (["--verbose"], ["--verbose"]),
    (["--config.devices=3"], ["devices"]),
    (["--processes=2"], ["--coordinator", "--process-id"]),
    (["--join-seconds=0"], ["--join-seconds", "at least 1"]),
]
# What is missing, and a command that asks for it; DATA is a dataset.
MISSING = {
    "nowhere.py": "pretrain --config nowhere.py --workdir w",
    "run.json": "export . --to out",
    "nothing": "fewshot --encoder x=nothing --data DATA --out o",
}


@pytest.fixture(scope="module")
def refusals(simulated, tmp_path_factory):
    """Status and error output of each wrong command line, then of each of `MISSING`; no file."""
    parent = tmp_path_factory.mktemp("wrong")
    folders = [parent / str(i) for i in range(len(WRONG))]
    commands = [
        pretrain_command(folder, simulated, *more)[3:]
        for folder, (more, _) in zip(folders, WRONG, strict=True)
    ]
    commands += [line.replace("DATA", str(simulated)).split() for line in MISSING.values()]
    found = ends(commands, parent)
    assert not list(parent.iterdir())
    return found


@pytest.mark.parametrize("case", range(len(WRONG)), ids=[more[0] for more, _ in WRONG])
def test_wrong_settings_say_what_is_wrong_and_leave_nothing(refusals, case):
    code, said = refusals[case]
    assert code == 2, said
    assert "Traceback" not in said
    for word in WRONG[case][1]:
        assert word in said


def test_missing_files_are_named(refusals):
    for (code, said), name in zip(refusals[len(WRONG) :], MISSING, strict=True):
        assert code == 2, said
        assert name in said
        assert "Traceback" not in said
