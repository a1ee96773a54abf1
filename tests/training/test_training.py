"""The loop through its public entry point: learning, resuming, stopping, refusing."""

import json
import shutil

import jax
import numpy as np
import pytest
from support.tiny_config import run_config

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from data_prep.simulated.simulate import recordings
from primus_jax.config import CheckpointConfig
from primus_jax.data.folder import DatasetFolder
from primus_jax.data.pipeline import Pipeline
from primus_jax.errors import PrimusError
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.optim import OptimConfig
from primus_jax.recordings.windows import WindowSpec
from primus_jax.training.checkpoint import Checkpoints
from primus_jax.training.digest import digest
from primus_jax.training.loop import pretrain
from primus_jax.training.metrics import read_metrics
from primus_jax.training.monitor import NotFinite
from primus_jax.training.run import load_state

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:absl")
STEPS = 8
INPUTS = PrimusConfig().inputs(130, 512)


def config_of(folder, **values):
    own = {
        "steps": STEPS,
        "optim": OptimConfig(lr=3e-3, clip_norm=5.0),
        "checkpoint": CheckpointConfig(every=4, keep=2),
    }
    return run_config(folder, **(own | values))


@pytest.fixture(scope="module")
def finished(simulated, tmp_path_factory):
    """A run of eight steps, never interrupted, and its final state."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    return workdir, pretrain(config_of(simulated), workdir, log=lambda line: None)


def test_it_learns_and_logs_every_term(finished):
    workdir, _ = finished
    rows = [row for row in read_metrics(workdir) if "loss" in row]
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    # The neighbour terms start only when the queue has rows: compare the others.
    assert rows[-1]["loss_view"] < rows[0]["loss_view"]
    for name in ("text", "video", "neighbor_text", "neighbor_video", "neighbor_imu"):
        assert f"loss_{name}" in rows[-1]
        assert 0 <= rows[-1][f"accuracy_imu_from_{name}"] <= 1
    assert sum("validation_loss" in row for row in read_metrics(workdir)) == 2


def test_a_run_writes_what_made_it(finished, simulated):
    workdir, _ = finished
    row = json.loads((workdir / "run.json").read_text())
    assert row["config"]["optim"]["lr"] == 3e-3
    (data,) = row["data"].values()
    assert data["content_hash"] == DatasetFolder(simulated).content_hash
    assert data["simulated"] is True
    assert row["provenance"]["packages"]["jax"] == jax.__version__


def test_resuming_is_bit_exact_and_drops_rows_beyond_the_checkpoint(finished, simulated, tmp_path):
    whole, state = finished
    workdir = tmp_path / "resumed"
    shutil.copytree(whole, workdir)
    shutil.rmtree(workdir / "checkpoints" / "8")
    resumed = pretrain(config_of(simulated), workdir, log=lambda line: None)
    assert digest(resumed) == digest(state)
    steps = [row["step"] for row in read_metrics(workdir) if "loss" in row]
    assert steps == list(range(1, STEPS + 1))


def test_a_finished_run_does_nothing_more(finished, simulated):
    workdir, state = finished
    again = pretrain(config_of(simulated), workdir, log=lambda line: None)
    assert digest(again) == digest(state)


def test_the_batch_of_a_step_is_the_same_for_any_number_of_hosts(simulated):
    folders = [DatasetFolder(simulated)]
    for step in (0, 3, 7):  # 7 * 8 is in the second epoch of these windows
        one = next(Pipeline(folders, "train", 8, 5, INPUTS).from_step(step))
        for hosts in (2, 4):
            parts = [
                next(Pipeline(folders, "train", 8, 5, INPUTS, host=h, hosts=hosts).from_step(step))
                for h in range(hosts)
            ]
            together = {k: np.concatenate([part[k] for part in parts]) for k in one}
            order = np.argsort(together["index"])
            for name, values in one.items():
                np.testing.assert_array_equal(together[name][order], values)


def test_an_epoch_holds_every_window_once_and_the_next_is_shuffled_anew(simulated):
    folder = DatasetFolder(simulated)
    data = Pipeline([folder], "train", 16, 0, INPUTS)
    epoch = data.size // 16
    ids = [
        [name for s in range(e * epoch, (e + 1) * epoch) for name in data.window_ids(s)]
        for e in (0, 1)
    ]
    assert data.size % 16 == 0
    assert len(set(ids[0])) == data.size
    assert set(ids[0]) == set(ids[1])
    assert ids[0] != ids[1]


def test_windows_without_text_or_video_carry_masks(simulated, tmp_path):
    import dataclasses

    kept = [
        dataclasses.replace(r, text_embedding=None if i % 2 else r.text_embedding)
        for i, r in enumerate(recordings(seed=1, people=2, bouts=1, seconds=2.6))
    ]
    kept = [dataclasses.replace(r, video_embedding=None) for r in kept]
    folder = write_dataset(
        kept,
        tmp_path / "half",
        Origin("simulated", "Apache-2.0", simulated=True),
        Recipe(WindowSpec(seconds=2.6, hop_seconds=2.6), Splits((1.0, 0.0, 0.0), seed=0)),
    )
    # Beside a dataset with videos, one without any is masked.
    pipeline = Pipeline([DatasetFolder(simulated), folder], "train", 96, 0, INPUTS)
    batch = next(pipeline.from_step(0))
    half = np.array([name.startswith(str(folder.path)) for name in pipeline.window_ids(0)])
    assert half.sum() == 32
    assert batch["text_mask"][half].sum() == 16
    assert not batch["video_mask"][half].any()
    assert batch["video_mask"][~half].all()
    assert (batch["text_id"][~batch["text_mask"]] == -1).all()
    assert (batch["text_embedding"][~batch["text_mask"]] == 0).all()
    norms = np.linalg.norm(batch["text_embedding"][batch["text_mask"]].astype(np.float32), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-2)
    # A term whose targets are all masked would be zero without a word.
    with pytest.raises(PrimusError, match=r"no video embeddings in .*half.*primus-jax embed"):
        pretrain(config_of(folder.path), tmp_path / "run", log=lambda line: None)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_loss_that_is_not_a_number_names_step_windows_and_checkpoint(simulated, tmp_path):
    # The rate of the first step is 0, of the second enormous: step 3 is the first that breaks.
    config = config_of(
        simulated,
        optim=OptimConfig(lr=1e38, warmup_steps=7),
        checkpoint=CheckpointConfig(every=1),
    )
    with pytest.raises(NotFinite, match=r"step 2: the validation loss .* checkpoint is 1"):
        pretrain(config, tmp_path / "validated", log=lambda line: None)
    config.checkpoint.every = 100
    with pytest.raises(NotFinite, match=r"step 3: loss nan.* no checkpoint is good") as error:
        pretrain(config, tmp_path / "run", log=lambda line: None)
    ids = Pipeline([DatasetFolder(simulated)], "train", 16, 0, INPUTS).window_ids(2)
    assert all(name in str(error.value) for name in ids)
    state, _, _ = load_state(tmp_path / "validated", "latest")
    assert int(state.step) == 1
    assert all(np.isfinite(np.asarray(x)).all() for x in jax.tree.leaves(state.params))


def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_used(finished, simulated, tmp_path):
    whole, state = finished
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    newest = workdir / "checkpoints" / "8" / "state"
    largest = max(newest.rglob("d/*"), key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    said = []
    resumed = pretrain(config_of(simulated), workdir, log=said.append)
    assert any("checkpoint 8" in line for line in said)
    assert any("resuming at step 4" in line for line in said)
    assert digest(resumed) == digest(state)


def test_a_last_checkpoint_that_cannot_be_read_is_no_success(
    finished, simulated, tmp_path, monkeypatch
):
    """A store accepts a save and loses its content: the run must not end as if all was well."""
    whole, _ = finished
    workdir = tmp_path / "run"
    shutil.copytree(whole, workdir)
    shutil.rmtree(workdir / "checkpoints" / "8")
    wait = Checkpoints.wait_until_saved

    def losing(self):
        failed = wait(self)
        newest = workdir / "checkpoints" / "8" / "state"
        if newest.is_dir():
            largest = max(newest.rglob("d/*"), key=lambda path: path.stat().st_size)
            content = bytearray(largest.read_bytes())
            content[len(content) // 2] ^= 1
            largest.write_bytes(content)
        return failed

    monkeypatch.setattr(Checkpoints, "wait_until_saved", losing)
    with pytest.raises(
        PrimusError, match=r"checkpoint 8 in .*checkpoints (is damaged|cannot be read)"
    ):
        pretrain(config_of(simulated), workdir, log=lambda line: None)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"seed": 5}, "seed: 0 there, 5 now"),
        ({"optim": OptimConfig(lr=1e-4, clip_norm=5.0)}, "optim.lr"),
    ],
)
def test_a_run_is_not_continued_with_another_config(finished, simulated, change, word):
    workdir, _ = finished
    with pytest.raises(PrimusError, match=word):
        pretrain(config_of(simulated, **change), workdir, log=lambda line: None)


def test_a_folder_that_is_no_run_is_left_alone(simulated, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(PrimusError, match="holds no run"):
        pretrain(config_of(simulated), tmp_path, log=lambda line: None)
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_the_state_of_a_run_is_read_by_name(finished):
    workdir, state = finished
    latest, config, row = load_state(workdir, "latest")
    assert digest(latest) == digest(state)
    assert config.encoder.channels == 8
    best, _, _ = load_state(workdir, "best")
    losses = {
        r["step"]: r["validation_loss"] for r in read_metrics(workdir) if "validation_loss" in r
    }
    assert int(best.step) == min(losses, key=losses.get)
    with pytest.raises(PrimusError, match="no checkpoint '5'"):
        load_state(workdir, "5")
    assert row["config_hash"]


def test_validation_touches_neither_weights_nor_queue(finished, simulated, tmp_path):
    _, state = finished
    config = config_of(simulated, checkpoint=CheckpointConfig(every=1, keep=1))
    often = pretrain(config, tmp_path / "run", log=lambda line: None)
    assert digest(often) == digest(state)


@pytest.mark.slow
def test_eight_devices_train_what_one_does(finished, simulated, tmp_path):
    whole, state = finished
    many = pretrain(config_of(simulated, devices=8), tmp_path / "run", log=lambda line: None)
    # The first step has the same weights: only the order of sums differs. Adam's division by the
    # root of a squared gradient then magnifies what is nearly zero, so later steps are compared
    # more loosely.
    for rows in zip(read_metrics(whole), read_metrics(tmp_path / "run"), strict=True):
        one, eight = (
            {k: v for k, v in row.items() if k.startswith(("loss", "validation"))} for row in rows
        )
        assert eight == pytest.approx(one, rel=2e-5 if rows[0]["step"] == 1 else 2e-2)
    written = (x.extra["queue"].rows["text"].id for x in (many, state))
    np.testing.assert_array_equal(*map(np.asarray, written))


def test_tensorboard_gets_the_scalars_where_it_is_installed(finished):
    pytest.importorskip("tensorboardX")
    workdir, _ = finished
    events = list((workdir / "tensorboard").glob("events.out.tfevents.*"))
    assert any(b"loss_view" in path.read_bytes() for path in events)
