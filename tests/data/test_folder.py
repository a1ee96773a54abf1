"""The dataset folder: what is written is what is read, by this project and by plain TFDS."""

import dataclasses
import json
import pickle
import shutil

import numpy as np
import pytest
from support.recording_files import people, recording, signal

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.windows import WindowSpec

SPEC = WindowSpec(50.0, 2.0, 2.0)
ORIGIN = Origin("made by a test", "CC0")
RECIPE = Recipe(SPEC)


def with_embeddings() -> list[Recording]:
    rng = np.random.default_rng(0)
    items = people(4, 2)
    items = [
        Recording(
            **{
                **vars(r),
                "text_embedding": rng.normal(size=8) if i % 2 else None,
                "video_embedding": rng.normal(size=8) if i % 3 else None,
                "placement": "wrist",
            }
        )
        for i, r in enumerate(items)
    ]
    return [*items, Recording("none", signal(300), 50.0, has_gyro=False, start_seconds=7.0)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> DatasetFolder:
    out = tmp_path_factory.mktemp("folder") / "My-data 1"
    return write_dataset(
        with_embeddings(), out, ORIGIN, dataclasses.replace(RECIPE, shard_bytes=20_000)
    )


def test_the_folder_states_what_it_holds(folder):
    assert folder.name == "my_data_1"
    assert (folder.rate_hz, folder.window_samples) == (50.0, 100)
    assert folder.label_names == ("sitting", "walking")
    assert folder.embedding_dim == 8
    assert not folder.simulated
    assert sum(folder.splits.values()) == 8 * 10 + 3
    counts = folder.metadata.counts
    assert sum(c.with_text_embedding for c in counts.values()) == 40
    assert sum(c.with_video_embedding for c in counts.values()) == 50
    assert sum(c.without_gyro for c in counts.values()) == 3
    assert len(folder.metadata.shards["train"]) > 5
    assert not [file for file in folder.path.parent.iterdir() if file != folder.path]
    assert not [file for file in folder.path.iterdir() if file.name.startswith(".")]


def test_every_window_comes_back(folder):
    originals = {r.id: r for r in with_embeddings()}
    seen = 0
    for split in folder.splits:
        source = folder.source(split)
        for window in source:
            r = originals[window["recording"]]
            start = round((window["start_seconds"] - r.start_seconds) * 50)
            np.testing.assert_array_equal(window["imu"], r.signal[start : start + 100])
            assert window["imu"].dtype == np.float32
            assert window["label"] == (folder.label_names.index(r.label) if r.label else -1)
            assert window["text"] == r.text
            assert window["subject"] == r.subject
            assert window["group"] in folder.metadata.groups[split]
            assert window["placement"] == r.placement
            assert window["has_gyro"] is r.has_gyro
            for name in ("text_embedding", "video_embedding"):
                vector = getattr(r, name)
                assert window[f"has_{name}"] is (vector is not None)
                expected = np.zeros(8) if vector is None else vector
                np.testing.assert_array_equal(window[name], expected.astype(np.float16))
            assert "tokens" not in window
            seen += 1
    assert seen == sum(folder.splits.values())


def test_no_group_is_on_two_sides(folder):
    groups = [g for members in folder.metadata.groups.values() for g in members]
    assert len(groups) == len(set(groups)) == 5


def test_random_access_pickling_and_grain(folder):
    import grain

    source = pickle.loads(pickle.dumps(folder.source("train")))
    some = [3, 0, len(source) - 1, 3]
    for window, index in zip(source.__getitems__(some), some, strict=True):
        np.testing.assert_array_equal(window["imu"], source[index]["imu"])
    np.testing.assert_array_equal(source[-1]["imu"], source[len(source) - 1]["imu"])
    for index in (len(source), -len(source) - 1):
        with pytest.raises(IndexError):
            source[index]
    batch = grain.MapDataset.source(source).map(lambda w: {"imu": w["imu"]}).batch(4)[1]
    np.testing.assert_array_equal(batch["imu"][2], source[6]["imu"])


def test_plain_tfds_reads_the_same(folder):
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(folder.path))
    assert builder.info.features["label"].names == list(folder.label_names)
    for split, size in folder.splits.items():
        theirs, ours = builder.as_data_source(split), folder.source(split)
        assert len(theirs) == size
        for mine, other in zip(ours, theirs, strict=True):
            assert set(mine) == set(other)
            for key, value in mine.items():
                if isinstance(value, str):
                    assert other[key].decode() == value
                else:
                    np.testing.assert_array_equal(other[key], value)


def test_the_same_recordings_give_the_same_content_and_others_do_not(tmp_path, folder):
    again = write_dataset(with_embeddings(), tmp_path / "again", ORIGIN, RECIPE)
    assert again.content_hash == folder.content_hash
    other = with_embeddings()
    other[0].signal[5, 2] += 1e-3
    other = write_dataset(other, tmp_path / "other", ORIGIN, RECIPE)
    assert other.content_hash != folder.content_hash
    split = write_dataset(
        with_embeddings(), tmp_path / "split", ORIGIN, Recipe(SPEC, Splits(seed=5))
    )
    assert split.content_hash != folder.content_hash


def test_without_any_label(tmp_path):
    items = [recording(f"r{i}") for i in range(3)]
    plain = write_dataset(items, tmp_path / "plain", ORIGIN, RECIPE)
    assert plain.label_names == ()
    assert plain.embedding_dim is None
    assert {w["label"] for w in plain.source("train")} == {-1}
    assert "text_embedding" not in plain.source("train")[0]


def test_embeddings_by_sentence_reach_narrations(tmp_path):
    items = [recording("a", narrations=((3.0, "waves"), (6.0, "turns")), group="g")]
    made = write_dataset(
        items,
        tmp_path / "d",
        ORIGIN,
        Recipe(SPEC, Splits((1, 0, 0)), text_embeddings={"waves": np.arange(4.0)}),
    )
    waves, turns = made.source("train")
    assert waves["has_text_embedding"] is True
    assert waves["text_embedding"].tolist() == [0, 1, 2, 3]
    assert turns["has_text_embedding"] is False


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "no window is left"),
        ([recording("a", 1.0)], "shorter than a window"),
        ([recording("a"), recording("a")], "two recordings are called 'a'"),
        ([recording("a"), recording("b")], "--splits 1 0 0"),
        (
            people(1, video_embedding=np.zeros(3)) + people(3, text_embedding=np.zeros(4))[2:],
            r"\[3, 4\]",
        ),
    ],
)
def test_a_failure_leaves_nothing(tmp_path, items, message):
    with pytest.raises(PrimusError, match=message):
        write_dataset(items, tmp_path / "out", ORIGIN, RECIPE)
    assert not list(tmp_path.iterdir())


def test_an_exception_of_the_source_leaves_nothing(tmp_path):
    def broken():
        yield recording("a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(broken(), tmp_path / "out", ORIGIN, RECIPE)
    assert not list(tmp_path.iterdir())


def test_an_existing_folder_is_kept_unless_it_is_a_data_set_and_overwrite_is_said(tmp_path):
    out = tmp_path / "out"
    first = write_dataset(people(4), out, ORIGIN, RECIPE)
    with pytest.raises(PrimusError, match="already exists"):
        write_dataset(people(5), out, ORIGIN, RECIPE)
    assert DatasetFolder(out).content_hash == first.content_hash
    with pytest.raises(PrimusError):
        write_dataset([], out, ORIGIN, RECIPE, overwrite=True)
    assert DatasetFolder(out).content_hash == first.content_hash
    second = write_dataset(people(5), out, ORIGIN, RECIPE, overwrite=True)
    assert DatasetFolder(out).content_hash == second.content_hash != first.content_hash
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years")
    with pytest.raises(PrimusError, match="not a dataset folder"):
        write_dataset(people(4), precious, ORIGIN, RECIPE, overwrite=True)
    assert (precious / "thesis.tex").read_text() == "years"


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PrimusError, match=r"cannot write .*out: .*file is no folder"):
        write_dataset(people(4), tmp_path / "file" / "out", ORIGIN, RECIPE)


def copied(folder: DatasetFolder, tmp_path):
    return shutil.copytree(folder.path, tmp_path / "copy")


def test_a_missing_folder_or_one_of_another_kind(tmp_path, folder):
    with pytest.raises(PrimusError, match="no such folder"):
        DatasetFolder(tmp_path / "nothing")
    with pytest.raises(PrimusError, match="prepare"):
        DatasetFolder(tmp_path)
    copy = copied(folder, tmp_path)
    for text, message in (
        ("{", "is not JSON"),
        ("[]", "format None"),
        ('{"format": 99}', "format 99"),
        ('{"format": 1, "name": "a", "simulated": false}', "'rate_hz' is missing"),
    ):
        (copy / "metadata.json").write_text(text)
        with pytest.raises(PrimusError, match=message):
            DatasetFolder(copy)
    with pytest.raises(PrimusError, match="no split 'dev'"):
        folder.source("dev")


def test_a_missing_or_cut_shard_is_noticed_on_opening(folder, tmp_path):
    copy = copied(folder, tmp_path)
    shard = copy / folder.metadata.shards["train"][1].file
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(PrimusError, match=f"{shard.name} has"):
        DatasetFolder(copy)
    shard.unlink()
    with pytest.raises(PrimusError, match=f"{shard.name} is missing"):
        DatasetFolder(copy)


def test_a_flipped_bit_is_an_error_that_names_the_shard(folder, tmp_path):
    copy = copied(folder, tmp_path)
    before = folder.metadata.shards["train"][0].examples
    shard = copy / folder.metadata.shards["train"][1].file
    data = bytearray(shard.read_bytes())
    # inside the first record: its chunk begins at byte 64
    data[700] ^= 1
    shard.write_bytes(data)
    source = DatasetFolder(copy).source("train")
    source[0]
    with pytest.raises(PrimusError, match=f"{shard.name}: record 0 is damaged"):
        source[before]
    with pytest.raises(PrimusError, match=f"{shard.name}: record 0 is damaged"):
        source.__getitems__([0, 1, before])
    skipping = DatasetFolder(copy).source("train", skip_damaged=True)
    windows, whole = skipping.__getitems__([0, before]), folder.source("train")
    for window, place in zip(windows, (0, before + 1), strict=True):
        np.testing.assert_array_equal(window["imu"], whole[place]["imu"])
    assert skipping.damaged == {f"{shard}: record 0"}


def test_the_metadata_is_complete(folder):
    metadata = json.loads((folder.path / "metadata.json").read_text())
    assert metadata["source"] == "made by a test"
    assert metadata["licence"] == "CC0"
    assert metadata["units"]["accelerometer"].startswith("m/s^2")
    assert metadata["channels"][3] == "gyro_x"
    assert metadata["split_seed"] == 0
    assert metadata["tokenizer"] is None
    assert metadata["drops"] == {}
    assert metadata["made_with"]["packages"]["numpy"] == np.__version__


def test_windows_come_in_their_order_a_few_at_a_time(folder):
    size = folder.splits["train"]
    parts = list(folder.windows("train", rows=7))
    assert [len(rows) for rows in parts] == [7] * (size // 7) + [size % 7] * bool(size % 7)
    rows = [row for part in parts for row in part]
    for mine, other in zip(rows, folder.source("train"), strict=True):
        assert (mine["recording"], mine["start_seconds"]) == (
            other["recording"],
            other["start_seconds"],
        )
        np.testing.assert_array_equal(mine["imu"], other["imu"])
    with pytest.raises(PrimusError, match="no split 'dev'"):
        next(folder.windows("dev"))


def test_a_dataset_of_another_rate_than_the_encoder(folder):
    folder.check_rate(50.0 * (1 + 1e-7))
    with pytest.raises(PrimusError, match=r"windows at 50 Hz, but .* at 100 Hz.*--target-rate 100"):
        folder.check_rate(100.0)
