"""Frozen towers inside the step: the same training as on embeddings stored before."""

import dataclasses
import json
import re
import shutil
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.clip_folder import TEXT, VISION, write_clip_folder
from support.recording_files import recording
from support.tiny_config import POOLED

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from data_prep.embed.dataset import embed_dataset
from primus_jax.config import CheckpointConfig, Config, DataConfig
from primus_jax.data.folder import DatasetFolder
from primus_jax.data.inputs import example_batch
from primus_jax.data.pipeline import Pipeline
from primus_jax.errors import PrimusError
from primus_jax.models.clip.tokenizer import Tokenizer
from primus_jax.models.clip.towers import load_towers
from primus_jax.objectives.distill import DistillConfig
from primus_jax.objectives.multitask import MultitaskConfig
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.optim import make_optimizer
from primus_jax.parallel import sharding
from primus_jax.recordings.recording import Video
from primus_jax.recordings.windows import WindowSpec
from primus_jax.training.in_step_towers import open_in_step_towers
from primus_jax.training.loop import pretrain
from primus_jax.training.metrics import read_metrics
from primus_jax.training.run import load_state, read_run
from primus_jax.training.state import abstract_state, init_state, state_maker
from primus_jax.training.step import make_train_step, sharded_loss

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:absl")
DIM = 16
MEGABYTE = 1 << 20


def words(texts, **_):
    """Ids of a vocabulary by hashing: start, words, end up to 77."""
    rows = np.full((len(texts), 77), 49407)
    for row, text in zip(rows, texts, strict=True):
        ids = [49406, *(zlib.crc32(word.encode()) % 49000 for word in text.split())]
        row[: len(ids)] = ids
    return {"input_ids": rows}


TOKENIZER = Tokenizer("words", "0" * 32, words)


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    return write_clip_folder(tmp_path_factory.mktemp("towers") / "tiny", dim=DIM)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """32 windows with tokens and frames; a quarter has no sentence, an eighth no video."""
    pytest.importorskip("av")
    from support.videos import write_video

    folder = tmp_path_factory.mktemp("data")
    film = write_video(folder / "film.mp4", 45.0, 10.0)
    people = [
        recording(
            f"p{i}",
            seconds=5.4,
            subject=f"p{i}",
            text="" if i % 4 == 3 else f"a person does {i // 2}",
            video=None if i == 5 or i == 9 else Video(str(film), 2.5 * i),
        )
        for i in range(16)
    ]
    return write(people, folder / "live")


def write(people, path, tokenizer=TOKENIZER):
    spec = WindowSpec(seconds=2.6, hop_seconds=2.6, frames=3, frame_size=32)
    recipe = Recipe(spec, Splits((1.0, 0.0, 0.0), seed=0), tokenizer)
    return write_dataset(people, path, Origin("made by a test", "CC0"), recipe).path


@pytest.fixture(scope="module")
def stored(data, towers):
    out = data.parent / "stored"
    return embed_dataset(data, load_towers(towers), out).path


def config_of(*folders, towers="", **values):
    values = {
        "steps": 2,
        "log_every": 1,
        "devices": 1,
        "encoder": dataclasses.replace(POOLED, embed_dim=DIM),
        "objective": PrimusConfig(queue_size=32, self_supervised=False),
        "checkpoint": CheckpointConfig(every=2, keep=1),
    } | values
    paths = tuple(str(folder) for folder in folders)
    read = DataConfig(train=paths, batch_size=16, embedding_dim=DIM, towers=str(towers))
    return Config(data=read, **values)


STORED = PrimusConfig().inputs(130, DIM)


def batch_of(folder, inputs):
    pipeline = Pipeline([DatasetFolder(folder)], "train", 16, 0, inputs)
    return next(pipeline.from_step(0))


@pytest.fixture(scope="module")
def loss_of(case):
    """All metrics of a batch with the loss, by number of devices; live if it holds tokens."""
    config, live, _, _, params = case
    objective = config.objective.build(config.encoder)
    compiled = {}

    def loss(batch, devices=1):
        mesh = sharding.make_mesh(devices)
        key = devices, "tokens" in batch
        if key not in compiled:
            compiled[key] = jax.jit(sharded_loss(objective, mesh, *[live.embed] * key[1]))
        rows = sharding.global_batch(mesh, batch)
        towers = sharding.replicate(mesh, live.params)
        value, (_, metrics) = compiled[key](*params, towers, rows, jax.random.key(3))
        return {name: float(x) for name, x in ({"loss": value} | metrics).items()}

    return loss


@pytest.fixture(scope="module")
def case(data, stored, towers):
    """Config, live towers, the same batch for both ways, and parameters with a full queue."""
    config = config_of(data, towers=towers)
    live = open_in_step_towers(config, [DatasetFolder(data)])
    objective = config.objective.build(config.encoder)
    params, extra = objective.init(jax.random.key(0), example_batch(STORED))
    rng = np.random.default_rng(0)
    rows = extra["queue"].rows
    for name in ("imu", "text", "video"):
        embedding = jnp.asarray(rng.normal(size=(32, DIM)), jnp.float32)
        rows[name] = rows[name]._replace(embedding=embedding, mask=jnp.ones(32, bool))
    return config, live, batch_of(data, live.inputs), batch_of(stored, STORED), (params, extra)


def test_the_batch_holds_tokens_and_frames_instead_of_embeddings(case):
    _, _, batch, saved, _ = case
    assert batch.keys() - saved.keys() == {"tokens", "frames"}
    assert saved.keys() - batch.keys() == {"text_embedding", "video_embedding"}
    assert (batch["tokens"].shape, batch["tokens"].dtype) == ((16, 77), np.int32)
    assert (batch["frames"].shape, batch["frames"].dtype) == ((16, 3, 32, 32, 3), np.uint8)
    for name in ("imu", "index", "text_mask", "video_mask", "text_id"):
        np.testing.assert_array_equal(batch[name], saved[name])
    assert 0 < batch["text_mask"].sum() < 16
    assert 0 < batch["video_mask"].sum() < 16
    # Equal sentences and equal videos carry equal numbers, others do not.
    assert len(set(batch["text_id"][batch["text_mask"]])) < batch["text_mask"].sum()
    same = [tuple(row) for row in batch["tokens"][batch["text_mask"]]]
    ids = batch["text_id"][batch["text_mask"]]
    assert len(set(zip(same, ids, strict=True))) == len(set(same)) == len(set(ids))
    for name in ("text", "video"):
        assert (batch[f"{name}_id"][~batch[f"{name}_mask"]] == -1).all()


@pytest.mark.slow
def test_live_towers_and_stored_embeddings_give_the_same_loss(case, loss_of):
    _, live, batch, saved, _ = case
    ours = loss_of(batch)
    embedded = jax.jit(live.embed)(live.params, batch)
    exact, rounded = dict(saved), dict(saved)
    for name in ("text", "video"):
        key = f"{name}_embedding"
        exact[key], rounded[key] = np.asarray(embedded[key]), saved[key].astype(np.float32)
        assert (exact[key][~saved[f"{name}_mask"]] == 0).all()
        np.testing.assert_allclose(rounded[key], exact[key], rtol=1e-3, atol=1e-3)
    # float16 keeps 11 bits of a stored embedding.
    for batch, tolerance in ((exact, 1e-5), (rounded, 2e-3)):
        theirs = loss_of(batch)
        for name in ("loss", "loss_text", "loss_video", "loss_neighbor_text"):
            assert ours[name] == pytest.approx(theirs[name], rel=tolerance)


@pytest.mark.slow
def test_a_live_teacher_teaches_what_the_stored_one_does(data, stored, towers):
    objective = DistillConfig(teachers=("video",), weights={"at": 5.0, "cc": 1.0, "hints": 0.1})
    config = config_of(data, towers=towers, objective=objective)
    live = open_in_step_towers(config, [DatasetFolder(data)])
    assert live.params.keys() == {"text", "vision"}
    made, kept = objective.build(config.encoder), objective.inputs(130, DIM)
    params, extra = jax.jit(made.init)(jax.random.key(0), example_batch(kept))
    mesh = sharding.make_mesh(1)
    values = []
    for folder, inputs, embed in ((data, live.inputs, [live.embed]), (stored, kept, [])):
        rows = sharding.global_batch(mesh, batch_of(folder, inputs))
        held = live.params if embed else {}
        loss = jax.jit(sharded_loss(made, mesh, *embed))
        values.append(loss(params, extra, held, rows, jax.random.key(3))[1][1])
    for name in ("loss_text", "loss_at_video", "loss_cc_video", "loss_hints_video"):
        # float16 keeps 11 bits of a stored embedding.
        assert float(values[0][name]) == pytest.approx(float(values[1][name]), rel=5e-3), name
        assert float(values[0][name]) > 0


@pytest.mark.slow
def test_two_devices_give_the_loss_of_one(case, loss_of):
    assert loss_of(case[2], devices=2) == pytest.approx(loss_of(case[2]), rel=1e-5)


def test_windows_of_equal_text_are_not_each_others_negatives(case, loss_of):
    batch = case[2]
    rows = np.arange(len(batch["text_id"]), dtype=np.int32)
    apart = batch | {"text_id": np.where(batch["text_mask"], rows, -1)}
    assert loss_of(apart)["loss_text"] > loss_of(batch)["loss_text"] + 0.01


def constant_bytes(compiled):
    """Sizes of the constants of a compiled function."""
    bits = {"pred": 8, "bf16": 16, "f16": 16} | {
        f"{kind}{size}": size for kind in "suf" for size in (8, 16, 32, 64)
    }
    found = re.findall(r"= (\w+)\[([\d,]*)\]\S* constant\(", compiled.as_text())
    return [
        bits[kind] // 8 * int(np.prod([int(n) for n in shape.split(",") if n]))
        for kind, shape in found
    ]


def test_the_compiled_step_holds_no_tower(case):
    config, live, batch, _, _ = case
    assert sum(x.nbytes for x in jax.tree.leaves(live.params)) > 3 * MEGABYTE
    mesh = sharding.make_mesh(1)
    objective, optimizer = config.objective.build(config.encoder), make_optimizer(config.optim, 2)
    make = state_maker(objective, optimizer, 0, example_batch(STORED))
    state = init_state(make, abstract_state(make, objective, mesh))
    step = make_train_step(objective, optimizer, mesh, 0, live.embed)
    rows = sharding.global_batch(mesh, batch)
    stop = sharding.stop_flags(mesh, False)
    sizes = constant_bytes(step.lower(state, live.params, rows, stop).compile())
    assert sizes
    assert max(sizes) < MEGABYTE
    closed = jax.jit(lambda rows: live.embed(live.params, rows)).lower(rows).compile()
    assert max(constant_bytes(closed)) > MEGABYTE


def quiet(line):
    pass


@pytest.mark.slow
def test_a_run_keeps_the_digest_of_its_towers_and_nothing_else(data, towers, tmp_path):
    copy = shutil.copytree(towers, tmp_path / "towers")
    config, run = config_of(data, towers=copy), tmp_path / "run"
    state = pretrain(config, run, log=quiet)
    held = {x.shape for x in jax.tree.leaves(load_towers(copy).params)}
    assert (TEXT["vocab_size"], TEXT["hidden_size"]) in held
    weights = sum(x.nbytes for x in jax.tree.leaves(load_towers(copy).params))
    assert sum(x.nbytes for x in jax.tree.leaves(state)) < weights / 4
    checkpoint = sum(file.stat().st_size for file in (run / "checkpoints").rglob("*"))
    assert checkpoint < weights / 4
    assert read_run(run)["towers"] == load_towers(copy).digests
    assert load_state(run, "latest")[0].params.keys() == state.params.keys()
    write_clip_folder(copy, dim=DIM, seed=1)
    with pytest.raises(PrimusError, match="started with frozen networks of other weights"):
        pretrain(config, run, log=quiet)


@pytest.mark.slow
def test_a_run_with_live_towers_logs_what_one_on_stored_embeddings_does(
    data, stored, towers, tmp_path
):
    pretrain(config_of(data, towers=towers), tmp_path / "live", log=quiet)
    pretrain(config_of(stored), tmp_path / "stored", log=quiet)
    assert read_run(tmp_path / "stored")["towers"] == {}
    rows = zip(read_metrics(tmp_path / "live"), read_metrics(tmp_path / "stored"), strict=True)
    for live_row, stored_row in rows:
        assert live_row["loss"] == pytest.approx(stored_row["loss"], rel=2e-3)


@pytest.mark.parametrize(
    ("made", "values", "message"),
    [
        ({"vision": None}, {}, "holds no vision tower, which the target 'video' needs"),
        ({"dim": 24}, {}, "gives 24 values, but config.data.embedding_dim is 16"),
        (
            {"vision": VISION | {"image_size": 48}},
            {},
            r"does not fit .*uint8 \(48, 48, 3\)",
        ),
        (
            {"text": TEXT | {"max_position_embeddings": 50}},
            {},
            "does not fit the data.*time at most 50",
        ),
        ({}, {"objective": MultitaskConfig()}, "the objective reads nothing that a tower embeds"),
    ],
)
def test_towers_that_do_not_fit_are_refused_at_the_start(data, tmp_path, made, values, message):
    folder = write_clip_folder(tmp_path / "towers", **{"dim": DIM} | made)
    with pytest.raises(PrimusError, match=message):
        pretrain(config_of(data, towers=folder, **values), tmp_path / "run", log=print)
    assert not (tmp_path / "run").exists()


def test_only_the_towers_of_the_targets_are_kept(data, tmp_path):
    folder = write_clip_folder(tmp_path / "towers", dim=DIM, vision=None)
    config = config_of(data, towers=folder, objective=PrimusConfig(targets=("text",)))
    live = open_in_step_towers(config, [DatasetFolder(data)])
    assert list(live.params) == list(live.digests) == ["text"]
    assert "frames" not in batch_of(data, live.inputs)


def test_data_without_tokens_or_frames_is_refused(data, towers, tmp_path):
    people = [recording(f"q{i}", text="someone walks") for i in range(2)]
    plain = write(people, tmp_path / "plain", tokenizer=None)
    text = PrimusConfig(targets=("text",))
    with pytest.raises(PrimusError, match=r"plain holds sentences but no tokens.*--tokenizer"):
        open_in_step_towers(config_of(plain, towers=towers, objective=text), [DatasetFolder(plain)])
    silent = [dataclasses.replace(one, text="") for one in people]
    silent = write(silent, tmp_path / "silent", tokenizer=None)
    with pytest.raises(PrimusError, match=r"no tokens in .*silent"):
        open_in_step_towers(
            config_of(silent, towers=towers, objective=text), [DatasetFolder(silent)]
        )
    # Beside a dataset with tokens, one without any sentence is masked.
    folders = [DatasetFolder(data), DatasetFolder(silent)]
    live = open_in_step_towers(config_of(data, silent, towers=towers, objective=text), folders)
    pipeline = Pipeline(folders[1:], "train", 8, 0, live.inputs)
    assert not next(pipeline.from_step(0))["text_mask"].any()


def test_tokens_and_frames_of_two_kinds_are_not_mixed(data, towers, tmp_path):
    def folders(name, **changes):
        other = shutil.copytree(data, tmp_path / name)
        metadata = json.loads((other / "metadata.json").read_text())
        for key, values in changes.items():
            metadata[key] |= values
        (other / "metadata.json").write_text(json.dumps(metadata))
        return [DatasetFolder(data), DatasetFolder(other)]

    config = config_of(data, towers=towers)
    with pytest.raises(PrimusError, match=r"different shapes: \[3, 32, 32, 3\] in .*live"):
        open_in_step_towers(config, folders("few", tensors={"frames": [2, 32, 32, 3]}))
    with pytest.raises(PrimusError, match=r"different tokenizers: words \(0{32}\) in .*live"):
        open_in_step_towers(config, folders("foreign", tokenizer={"hash": "1" * 32}))


def test_words_outside_the_vocabulary_are_named(data, tmp_path):
    small = TEXT | {"vocab_size": 1000, "eos_token_id": 999}
    folder = write_clip_folder(tmp_path / "towers", dim=DIM, text=small)
    live = open_in_step_towers(config_of(data, towers=folder), [DatasetFolder(data)])
    with pytest.raises(PrimusError, match=r"tokens up to 49\d{3}.*below 1000"):
        batch_of(data, live.inputs)


def test_stored_embeddings_of_different_towers_are_not_mixed(stored, towers, tmp_path):
    other = shutil.copytree(stored, tmp_path / "other")
    metadata = json.loads((other / "metadata.json").read_text())
    metadata["towers"]["video"] |= {"name": "another", "digest": "f" * 32}
    (other / "metadata.json").write_text(json.dumps(metadata))
    folders = [DatasetFolder(stored), DatasetFolder(other)]
    with pytest.raises(PrimusError, match=r"video embeddings of the tower tiny .*primus-jax embed"):
        Pipeline(folders, "train", 16, 0, STORED)
    assert Pipeline([folders[0]] * 2, "train", 16, 0, STORED).size == 64
