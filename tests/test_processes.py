"""Promises about processes, kept by real ones: kill -9, SIGTERM, and wrong command lines."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from primus_jax.training.checkpoint import digest
from primus_jax.training.run import load_state

CONFIG = str(Path(__file__).parent / "tiny_config.py")
STEPS = 40


def command(workdir, data, *more):
    return [
        *(sys.executable, "-m", "primus_jax", "pretrain"),
        *("--config", CONFIG, "--workdir", str(workdir), f"--config.data.train=('{data}',)"),
        *more,
    ]


def environment():
    # Children run as a user's process would: one device, no test settings.
    return {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))} | {
        "JAX_PLATFORMS": "cpu"
    }


def run(workdir, data, *more):
    return subprocess.run(
        command(workdir, data, *more),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=300,
        check=False,
    )


def interrupt(workdir, data, step, number):
    """Start a run, send it a signal when it says that it reached `step`, return its end."""
    with subprocess.Popen(
        command(workdir, data),
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


def test_killed_at_a_random_step_and_resumed_ends_bit_identical(never_killed, simulated, tmp_path):
    step = random.randint(2, STEPS - 2)
    code, said = interrupt(tmp_path / "run", simulated, step, signal.SIGKILL)
    assert code == -signal.SIGKILL, said
    done = run(tmp_path / "run", simulated)
    assert done.returncode == 0, done.stderr
    assert digest(load_state(tmp_path / "run", "latest")[0]) == never_killed, f"killed at {step}"
    rows = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows if "loss" in r] == list(range(1, STEPS + 1))


def test_sigterm_saves_exits_with_zero_and_resumes_bit_identical(never_killed, simulated, tmp_path):
    code, said = interrupt(tmp_path / "run", simulated, 13, signal.SIGTERM)
    assert code == 0, said
    assert "stopped by SIGTERM: saved step" in said
    state, _, _ = load_state(tmp_path / "run", "latest")
    assert 13 <= int(state.step) < STEPS
    done = run(tmp_path / "run", simulated)
    assert f"resuming at step {int(state.step)} of {STEPS}" in done.stdout
    assert digest(load_state(tmp_path / "run", "latest")[0]) == never_killed


@pytest.mark.slow
def test_five_random_kills_in_one_run_change_nothing(never_killed, simulated, tmp_path):
    for _ in range(5):
        code, _ = interrupt(
            tmp_path / "run", simulated, random.randint(1, STEPS - 1), signal.SIGKILL
        )
        if code == 0:
            break
    assert run(tmp_path / "run", simulated).returncode == 0
    assert digest(load_state(tmp_path / "run", "latest")[0]) == never_killed


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--config.optim.lrr=1"], ["lrr"]),
        (["--config.steps=many"], ["steps"]),
        (["--config.objective.alpha=2.0"], ["alpha", "2.0", "0 to 1"]),
        (["--config.data.batch_size=100000"], ["queue_size"]),
        (["--config.encoder.readout=mean"], ["readout", "pool"]),
        (["--verbose"], ["--verbose"]),
        (["--config.devices=3"], ["devices"]),
    ],
)
def test_wrong_settings_say_what_is_wrong_and_leave_nothing(simulated, tmp_path, more, words):
    done = run(tmp_path / "run", simulated, *more)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert not (tmp_path / "run").exists()


def test_missing_files_are_named(simulated, tmp_path):
    for arguments, word in (
        (["pretrain", "--config", "nowhere.py", "--workdir", "w"], "nowhere.py"),
        (["export", str(tmp_path), "--to", str(tmp_path / "out")], "run.json"),
        (["fewshot", "--encoder", "x=nothing", "--data", str(simulated), "--out", "o"], "nothing"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "primus_jax", *arguments],
            capture_output=True, text=True, env=environment(), cwd=tmp_path, timeout=120,
            check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert word in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "out").exists()
