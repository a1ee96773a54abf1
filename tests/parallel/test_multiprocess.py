"""Several real processes through the command line: the same training, and what clusters do to it.

Children are single CPU devices joined by Gloo on this machine. The measured times are in
docs/processes.md; the bounds here leave room for a machine that does other things.
"""

import json
import random
import re
import shutil
import signal
import time

import jax
import numpy as np
import pytest
from support.process_runs import Child, finish, free_port, job, pretrain_command, seconds_until_end

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from data_prep.simulated.simulate import recordings
from primus_jax.recordings.windows import WindowSpec
from primus_jax.training.run import load_state

SHORT = ("--config.steps=16", "--config.checkpoint.every=8")
# One loss term, which compiles faster; a fault does not care.
LIGHT = ("--config.objective.multimodal=False", "--config.objective.neighbors=False")
# Nobody waits for these to finish.
LONG = (*LIGHT, "--config.steps=5000", "--config.checkpoint.every=20")
# A schedule that does not know its end, so that a run can be continued beyond it.
OPEN = (*LIGHT, "--config.optim.schedule=constant", "--config.optim.warmup_steps=2")
BOUND = 25.0  # seconds in which the others must have ended, below the heartbeat


def losses(workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


def assert_same_training(workdir, other):
    """Equal to rounding: only the order of sums differs (measured: 1e-7 and 5e-6)."""
    one, many = losses(workdir), losses(other)
    assert many == pytest.approx(one, rel=1e-5)
    mine, theirs = (load_state(folder, "latest")[0] for folder in (workdir, other))
    assert int(mine.step) == int(theirs.step)
    for a, b in zip(jax.tree.leaves(mine.params), jax.tree.leaves(theirs.params), strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=2e-5 * np.abs(a).max())


def assert_identical(workdir, other):
    mine, theirs = (load_state(folder, "latest")[0] for folder in (workdir, other))
    jax.tree.map(np.testing.assert_array_equal, mine, theirs)


def all_said(children):
    return "\n".join(f"--- process {i}\n{child.said}" for i, child in enumerate(children))


@pytest.fixture(scope="module")
def alone(simulated, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("alone") / "run"
    finish(workdir, simulated, 1, *SHORT)
    return workdir


@pytest.fixture(scope="module")
def torchrun(simulated, tmp_path_factory):
    """Two processes that find each other by torchrun's variables: their folder and outputs."""
    folder = tmp_path_factory.mktemp("pair")
    token = folder / "token"
    token.write_text("hunter2\n")
    variables = ["WORLD_SIZE=2", "MASTER_ADDR=127.0.0.1", f"MASTER_PORT={free_port()}"]
    command = pretrain_command(folder / "run", simulated, *SHORT)
    more = ([f"--token-file={token}"], [])
    own = (["RANK=0"], ["RANK=1", "PRIMUS_JOB_TOKEN=hunter2"])
    children = [Child(["env", *variables, *own[i], *command, *more[i]]) for i in (0, 1)]
    try:
        assert [child.wait() for child in children] == [0, 0], all_said(children)
    finally:
        for child in children:
            child.end()
    return folder / "run", [child.said for child in children]


@pytest.fixture(scope="module")
def pair(torchrun):
    return torchrun[0]


@pytest.mark.slow
def test_two_processes_train_what_one_does(alone, pair):
    assert_same_training(alone, pair)


def test_a_config_that_differs_on_one_host_is_refused(simulated, tmp_path):
    own = [[], ["--config.optim.lr=0.5"]]
    with job(tmp_path / "run", simulated, 2, own=own) as children:
        assert [child.wait() for child in children] == [2, 2], all_said(children)
        said = children[0].said
        assert "config.optim.lr: 0.001 on process 0 of 2" in said
        assert "0.5 on process 1 of 2" in said
        assert children[1].said == ""
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_who_is_missing_is_named(simulated, tmp_path):
    with job(tmp_path / "run", simulated, 4, "--join-seconds=8", starts=(0, 2)) as children:
        assert [child.wait() for child in children] == [2, 2]
        for child in children:
            assert "2 of 4 processes joined" in child.said
            assert "within 8 s; missing: 1, 3." in child.said
    with job(tmp_path / "run", simulated, 2, "--join-seconds=2", starts=(1,)) as (child,):
        assert child.wait() == 2
        assert "process 0 did not answer" in child.said
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_variables_of_torchrun_and_a_token(torchrun):
    _, (first, second) = torchrun
    assert "2 device(s) in 2 processes" in first
    assert "step " not in second
    assert "hunter2" not in first + second


@pytest.mark.slow
@pytest.mark.parametrize("victim", [1, 0])
def test_when_one_is_killed_the_other_says_so_and_ends(simulated, tmp_path, victim):
    with job(tmp_path / "run", simulated, 2, *LONG) as children:
        assert children[0].wait_for("step 25/"), all_said(children)
        children[victim].signal(signal.SIGKILL)
        survivor = children[1 - victim]
        seconds_until_end([survivor], BOUND)
        said = survivor.said
        assert survivor.wait() == 1, said
        assert f"process {victim} of 2 (" in said
        assert "was lost at step" in said
        found = re.search(r"the last good checkpoint is (20|40)\. Run the same command again", said)
        assert found, said
    # What it says is true.
    with job(tmp_path / "run", simulated, 2, *LONG) as children:
        assert children[0].wait_for(f"resuming at step {found[1]} of"), all_said(children)


@pytest.mark.slow
def test_sigterm_to_one_stops_all_after_the_same_step(simulated, pair, tmp_path):
    asked = 1  # four processes below are stopped by another that does not coordinate
    with job(tmp_path / "run", simulated, 2, *SHORT) as children:
        assert children[0].wait_for("step 3/"), all_said(children)
        children[asked].signal(signal.SIGTERM)
        assert [child.wait() for child in children] == [75, 75], all_said(children)
        assert f"stopped by SIGTERM to process {asked} of 2" in children[0].said
    assert 3 <= int(load_state(tmp_path / "run", "latest")[0].step) < 16
    said = finish(tmp_path / "run", simulated, 2, *SHORT)
    assert "resuming at step" in said
    assert_identical(pair, tmp_path / "run")


@pytest.mark.slow
def test_four_processes_train_what_one_does_and_their_run_goes_on_with_fewer(
    simulated, alone, tmp_path
):
    with job(tmp_path / "started", simulated, 4, *SHORT) as children:
        assert children[0].wait_for("step 9/"), all_said(children)
        children[3].signal(signal.SIGTERM)
        assert [child.wait() for child in children] == [75] * 4, all_said(children)
    # Most steps were taken by four; two take the rest.
    assert "resuming at step" in finish(tmp_path / "started", simulated, 2, *SHORT)
    assert_same_training(alone, tmp_path / "started")


@pytest.mark.slow
def test_random_kills_of_random_members_change_nothing(simulated, tmp_path):
    soak = (*LIGHT, "--config.steps=120", "--config.checkpoint.every=4")
    finish(tmp_path / "whole", simulated, 2, *soak)
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    kills = []
    # Every run draws other kills.
    for _ in range(6):
        with job(tmp_path / "run", simulated, 2, *soak) as children:
            assert children[0].wait_for("at step"), all_said(children)
            start = int(re.search(r"at step (\d+) of", children[0].said)[1])
            # sometimes before the first step, mostly within two checkpoints
            step = min(start + draw.randrange(8), 119)
            assert step == start or children[0].wait_for(f"step {step}/"), all_said(children)
            victim = draw.randrange(2)
            kills.append((victim, step))
            children[victim].signal(signal.SIGKILL)
            seconds_until_end(children, BOUND)
    assert "resuming at step" in finish(tmp_path / "run", simulated, 2, *soak)
    assert_identical(tmp_path / "whole", tmp_path / "run")
    assert losses(tmp_path / "run") == losses(tmp_path / "whole"), (seed, kills)


@pytest.mark.slow
def test_a_slow_host_is_waited_for(simulated, pair, tmp_path):
    with job(tmp_path / "run", simulated, 2, *SHORT) as children:
        assert children[0].wait_for("step 3/"), all_said(children)
        children[1].signal(signal.SIGSTOP)
        time.sleep(5)  # how long the host is slow
        children[1].signal(signal.SIGCONT)
        assert [child.wait() for child in children] == [0, 0], all_said(children)
    assert_identical(pair, tmp_path / "run")


@pytest.mark.slow
def test_a_stopped_host_is_lost_after_the_heartbeat(simulated, tmp_path):
    with job(tmp_path / "run", simulated, 2, *LONG, "--heartbeat-seconds=15") as children:
        assert children[0].wait_for("step 3/"), all_said(children)
        children[1].signal(signal.SIGSTOP)
        seconds_until_end(children[:1], 15 + BOUND)
        assert children[0].wait() == 1
        assert "process 1 of 2 (" in children[0].said
        assert "was lost (nothing heard for 15 s) at step" in children[0].said


@pytest.fixture(scope="module")
def overflowing(tmp_path_factory):
    """Windows of which one is so large that squares of it overflow."""
    people = list(recordings(seed=3, people=4, bouts=1, seconds=2.6))
    people[5].signal[:] *= 1e25
    return write_dataset(
        people, tmp_path_factory.mktemp("data") / "overflowing",
        Origin("simulated", "Apache-2.0", simulated=True),
        Recipe(WindowSpec(seconds=2.6, hop_seconds=2.6), Splits((1.0, 0.0, 0.0), seed=0)),
    ).path  # fmt: skip


@pytest.mark.slow
def test_not_a_number_on_one_host_ends_all_with_one_message(overflowing, tmp_path):
    # The other trunk's normalisation makes zeros of what is infinite.
    motion = {"kind": "motion", "channels": 32}
    encoder = [f"--config.encoder.{name}={value}" for name, value in motion.items()]
    with job(tmp_path / "run", overflowing, 2, *LONG, *encoder) as children:
        assert [child.wait() for child in children] == [2, 2], all_said(children)
        assert children[0].said.count("gradient norm") == 1
        assert "The windows of its batch" in children[0].said
        assert "gradient norm" not in children[1].said


@pytest.mark.slow
def test_a_damaged_shard_ends_all_with_its_name_and_record(simulated, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(simulated, data)
    shard = max(data.glob("*train*array_record*"), key=lambda path: path.stat().st_size)
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with job(tmp_path / "run", data, 2, *LONG) as children:
        assert [child.wait() for child in children] == [2, 2], all_said(children)
        assert all_said(children).count(f"{shard.name}: record ") == 1
        assert "is damaged" in children[0].said
    skip = (*SHORT, "--config.data.skip_damaged=True")
    assert "1 damaged record(s) skipped: " in finish(tmp_path / "skipped", data, 2, *skip)
    finish(tmp_path / "alone", data, 1, *skip)
    assert_same_training(tmp_path / "alone", tmp_path / "skipped")


@pytest.mark.slow
def test_a_last_save_that_fails_ends_all_and_keeps_the_one_before(simulated, tmp_path):
    always = (*OPEN, "--config.checkpoint.every=8")
    finish(tmp_path / "run", simulated, 2, "--config.steps=8", *always)
    more = ("--config.steps=16", *always)
    with job(tmp_path / "run", simulated, 2, *more, full=True) as children:
        assert [child.wait() for child in children] == [2, 2], all_said(children)
        assert "checkpoint 16 could not be saved on process 0 of 2" in children[0].said
        assert "the last good checkpoint is 8" in children[0].said
    assert int(load_state(tmp_path / "run", "latest")[0].step) == 8
    finish(tmp_path / "run", simulated, 2, *more)


@pytest.mark.slow
def test_a_full_disk_costs_a_checkpoint_and_not_the_run(simulated, tmp_path):
    always = (*OPEN, "--config.checkpoint.every=4")
    finish(tmp_path / "run", simulated, 1, "--config.steps=4", *always)
    more = ("--config.steps=12", *always)
    child = Child(pretrain_command(tmp_path / "run", simulated, *more), full=True)
    try:
        assert child.wait() == 2, child.said
    finally:
        child.end()
    assert "warning: checkpoint 8 could not be saved" in child.said
    assert "the last good checkpoint is 4. Training goes on." in child.said
    assert "step 12/12" in child.said
    assert "checkpoint 12 could not be saved" in child.said
    assert int(load_state(tmp_path / "run", "latest")[0].step) == 4
    assert "resuming at step 4" in finish(tmp_path / "run", simulated, 1, *more)
