"""A study killed with SIGKILL in the middle and started again ends as an uninterrupted one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.study_files import BASE

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from data_prep.simulated.simulate import recordings
from primus_jax.recordings.windows import WindowSpec

STUDY = (
    BASE
    + """
def get_study():
    return Study(
        methods={"PRIMUS": base(6, 2, "train")}, pretraining_seeds=(0, 1),
        development=("people",), shots=(1, 5), seeds=2, random_seeds=(0,),
    )
"""
)


def start(folder: Path, out: str) -> subprocess.Popen:
    words = ["study", "study.py", "--out", out]
    # the programs of one start are those of the next
    cache = {"JAX_COMPILATION_CACHE_DIR": str(folder / "cache")}
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "primus_jax.cli", *words],
        cwd=folder, env={**os.environ, "JAX_PLATFORMS": "cpu", **cache}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def kill_at(folder: Path, out: str, words: str) -> str:
    """Start, and kill -9 the whole session as soon as a line has `words`; what was said."""
    process = start(folder, out)
    said = []
    for line in process.stdout:
        said.append(line)
        if words in line:
            os.killpg(process.pid, signal.SIGKILL)
            break
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL, "".join(said)
    return "".join(said)


def finish(folder: Path, out: str) -> tuple[list[dict], str]:
    process = start(folder, out)
    said = process.communicate()[0]
    assert process.returncode == 0, said
    lines = (folder / out / "results.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], said


@pytest.mark.slow
def test_killed_three_times_it_ends_with_the_same_rows(tmp_path):
    (tmp_path / "study.py").write_text(STUDY)
    for name, seed in (("train", 3), ("people", 11)):
        write_dataset(
            recordings(seed=seed, people=6, bouts=1, seconds=2.6), tmp_path / name,
            Origin(f"simulated {seed}", "none", simulated=True),
            Recipe(
                WindowSpec(50.0, 2.6, 2.6),
                Splits((0.8, 0.2, 0.0) if name == "train" else (1.0, 0.0, 0.0)),
            ),
        )  # fmt: skip
    whole, _ = finish(tmp_path, "whole")
    # saving at step 4 waits for what was saved at step 2
    kill_at(tmp_path, "killed", "step 5/6")
    assert "resuming at step" in kill_at(tmp_path, "killed", "pretraining 2/2")
    kill_at(tmp_path, "killed", "people: random initialisation:")
    assert (tmp_path / "killed" / "evaluations" / "people" / "primus.json").exists()
    assert not (tmp_path / "killed" / "results.jsonl").exists()
    again, said = finish(tmp_path, "killed")
    assert said.count("done before") == 2
    assert "people: PRIMUS:" not in said
    for row in (*whole, *again):
        origin = row.pop("provenance")
        assert origin["packages"]["jax"]
        assert row["seeds"] == [0, 1]
        assert row["dataset_hash"]
        assert row["encoder_config"]
    assert whole == again
