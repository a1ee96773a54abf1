"""`primus-jax embed`: the frozen towers over a dataset folder."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
from support.clip_folder import TEXT, VISION, write_clip_folder
from support.clip_vocabulary import write_vocabulary
from support.recording_files import people, recording
from support.videos import write_video

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from data_prep.embed.dataset import embed_dataset
from data_prep.embed.plan import EmbedOptions
from primus_jax.cli import main
from primus_jax.data.folder import DatasetFolder
from primus_jax.data.metadata import StoredTower
from primus_jax.errors import PrimusError
from primus_jax.models.clip.tokenizer import load_tokenizer
from primus_jax.models.clip.towers import embed_text, embed_video, load_towers
from primus_jax.recordings.recording import Video
from primus_jax.recordings.windows import WindowSpec

SPEC = WindowSpec(seconds=2.0, hop_seconds=1.0, frames=3, frame_size=32)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Towers, a vocabulary, and a dataset with frames and token ids."""
    root = tmp_path_factory.mktemp("embed")
    write_clip_folder(root / "towers")
    write_vocabulary(root / "bpe.txt.gz")
    write_video(root / "v.mp4", 10.0)
    shown = Video(root / "v.mp4")
    write(root / "data", [dataclasses.replace(r, video=shown) for r in some()], root / "bpe.txt.gz")
    return root


def some():
    """Four people, one of whom says nothing; a video is too short for the last windows."""
    wordless = recording("silent", 8.0, subject="p9", label="sitting")
    return [*people(3, 2, seconds=12.0), wordless]


def write(path, recordings, vocabulary=None, spec=SPEC):
    return write_dataset(
        recordings,
        path,
        Origin("made by a test", "CC0"),
        Recipe(
            spec,
            Splits((0.6, 0.4, 0.0), seed=1),
            vocabulary and load_tokenizer(vocabulary),
            shard_bytes=100_000,
        ),
    )


def windows(path):
    folder = DatasetFolder(path)
    return [window for split in folder.splits for window in folder.source(split)]


def command(root, *options):
    words = ["embed", str(root / "data"), "--towers", str(root / "towers"), *map(str, options)]
    return main(words)


@pytest.fixture(scope="module")
def embedded(root):
    assert command(root, "--out", root / "embedded", "--batch", 7, "--devices", 1) == 0
    return root / "embedded"


def test_embeddings_are_those_of_the_towers(root, embedded):
    towers = load_towers(root / "towers")
    before, after = windows(root / "data"), windows(embedded)
    text = jax.jit(lambda params, rows: embed_text(params, towers.config, rows))
    video = jax.jit(lambda params, rows: embed_video(params, towers.config, rows))
    texts = np.asarray(text(towers.params, np.stack([w["tokens"] for w in before])))
    videos = np.asarray(video(towers.params, np.stack([w["frames"] for w in before])))
    assert sum(not w["text"] for w in before) == 7
    assert sum(not w["has_frames"] for w in before) == 12
    for old, new, t, v in zip(before, after, texts, videos, strict=True):
        assert new["has_text_embedding"] == bool(old["text"])
        assert new["has_video_embedding"] == old["has_frames"]
        # Half a unit in the last place of float16, and what float32 leaves open.
        np.testing.assert_allclose(new["text_embedding"], t * bool(old["text"]), 1e-3, 1e-6)
        np.testing.assert_allclose(new["video_embedding"], v * old["has_frames"], 1e-3, 1e-6)
        for name in ("imu", "tokens"):
            np.testing.assert_array_equal(old[name], new[name])
        for name in ("text", "subject", "group", "recording", "label", "start_seconds", "has_gyro"):
            assert old[name] == new[name]
        assert "frames" not in new
        assert new["text_embedding"].dtype == np.float16
    assert len({w["video_embedding"].tobytes() for w in after}) > 8


def test_the_folder_says_what_was_done(root, embedded, capsys):
    before, after = DatasetFolder(root / "data"), DatasetFolder(embedded)
    towers = load_towers(root / "towers")
    assert after.metadata.towers == {
        "text": StoredTower("towers", towers.digests["text"]),
        "video": StoredTower("towers", towers.digests["vision"], frames=3),
    }
    written = json.loads((embedded / "metadata.json").read_text())
    assert written["towers"] == {
        "text": {"name": "towers", "digest": towers.digests["text"]},
        "video": {"name": "towers", "digest": towers.digests["vision"], "frames": 3},
    }
    old = json.loads((root / "data" / "metadata.json").read_text())
    assert list(written) == [*old, "towers", "embedded"]
    assert after.embedding_dim == 16
    assert after.splits == before.splits
    assert after.content_hash != before.content_hash
    assert after.metadata.embedded.content_hash == before.content_hash
    assert after.metadata.tokenizer == before.metadata.tokenizer
    for split in before.splits:
        counts = after.metadata.counts[split]
        there = list(after.source(split))
        assert counts.with_text_embedding == sum(w["has_text_embedding"] for w in there)
        assert counts.with_video_embedding == sum(w["has_video_embedding"] for w in there)
        assert counts.with_frames == 0
        sizes = [shard.examples for shard in before.metadata.shards[split]]
        assert [shard.examples for shard in after.metadata.shards[split]] == sizes
    assert len(before.metadata.shards["train"]) > 1
    assert not (root / "embedded.partial").exists()
    assert main(["info", str(embedded)]) == 0
    assert "with video embedding" in capsys.readouterr().out


def test_plain_tfds_reads_it(embedded):
    import tensorflow_datasets as tfds

    mine = list(DatasetFolder(embedded).source("train"))
    theirs = tfds.builder_from_directory(embedded).as_data_source("train")
    assert len(theirs) == len(mine)
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_array_equal(a["text_embedding"], b["text_embedding"])
        np.testing.assert_array_equal(a["video_embedding"], b["video_embedding"])
        assert a["has_video_embedding"] == b["has_video_embedding"]
        assert a["text"] == b["text"].decode()


@pytest.mark.parametrize(("devices", "batch"), [(2, 7), (8, 40)])
def test_devices_and_batches_change_nothing(root, embedded, tmp_path, devices, batch):
    options = ("--out", tmp_path / "out", "--batch", batch, "--devices", devices, "--keep-frames")
    assert command(root, *options) == 0
    frames = [window["frames"] for window in windows(root / "data")]
    for a, b, shown in zip(windows(embedded), windows(tmp_path / "out"), frames, strict=True):
        np.testing.assert_allclose(a["text_embedding"], b["text_embedding"], 1e-3, 1e-6)
        np.testing.assert_allclose(a["video_embedding"], b["video_embedding"], 1e-3, 1e-6)
        np.testing.assert_array_equal(b["frames"], shown)


def test_bfloat16_stays_close(root, embedded, tmp_path):
    options = ("--out", tmp_path / "out", "--dtype", "bfloat16", "--devices", 1, "--batch", 12)
    assert command(root, *options) == 0
    assert DatasetFolder(tmp_path / "out").metadata.embedded.dtype == "bfloat16"
    for kind in ("text", "video"):
        a, b = (
            np.stack([w[f"{kind}_embedding"] for w in windows(path)]).astype(np.float32)
            for path in (embedded, tmp_path / "out")
        )
        there = np.linalg.norm(a, axis=1) > 0
        a, b = a[there], b[there]
        assert (a != b).any()
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        # bfloat16 keeps 8 bits; two blocks of 16 values average little of its rounding away.
        assert cosine.min() > 0.999


def test_one_kind_at_a_time_is_both_at_once(root, embedded, tmp_path):
    assert (
        command(root, "--out", tmp_path / "text", "--only", "text", "--devices", 1, "--batch", 9)
        == 0
    )
    first = DatasetFolder(tmp_path / "text")
    assert first.metadata.towers["video"] is None
    assert "frames" in first.metadata.tensors
    towers = root / "towers"
    words = ["embed", str(first.path), "--towers", str(towers), "--out", str(tmp_path / "both")]
    assert main(words) == 2
    assert main([*words, "--only", "video", "--devices", "1", "--batch", "9"]) == 0
    assert (
        DatasetFolder(tmp_path / "both").metadata.towers == DatasetFolder(embedded).metadata.towers
    )
    for a, b in zip(windows(embedded), windows(tmp_path / "both"), strict=True):
        np.testing.assert_allclose(a["text_embedding"], b["text_embedding"], 1e-3, 1e-6)
        np.testing.assert_allclose(a["video_embedding"], b["video_embedding"], 1e-3, 1e-6)


def test_a_tokenizer_stands_in_for_token_ids(root, tmp_path):
    plain = dataclasses.replace(SPEC, frames=0)
    write(tmp_path / "plain", some(), None, plain)
    with_ids = write(tmp_path / "ids", some(), root / "bpe.txt.gz", plain)
    towers = load_towers(root / "towers")
    with pytest.raises(PrimusError, match="sentences but no token ids"):
        embed_dataset(tmp_path / "plain", towers, tmp_path / "a")
    tokenizer = load_tokenizer(root / "bpe.txt.gz")
    a = embed_dataset(
        tmp_path / "plain",
        towers,
        tmp_path / "a",
        EmbedOptions(tokenizer=tokenizer, batch=8, devices=1),
    )
    b = embed_dataset(tmp_path / "ids", towers, tmp_path / "b", EmbedOptions(batch=8, devices=1))
    assert a.metadata.tokenizer == with_ids.metadata.tokenizer
    for x, y in zip(windows(a.path), windows(b.path), strict=True):
        np.testing.assert_array_equal(x["tokens"], y["tokens"])
        np.testing.assert_array_equal(x["text_embedding"], y["text_embedding"])
    assert a.metadata.towers["video"] is None
    with pytest.raises(PrimusError, match=r"token ids of bpe\.txt\.gz already"):
        embed_dataset(tmp_path / "ids", towers, tmp_path / "c", EmbedOptions(tokenizer=tokenizer))


@pytest.mark.slow
def test_killed_and_started_again(root, tmp_path):
    said = tuple((0.1 + i * 0.02, f"sentence {i // 2}") for i in range(3000))
    long = recording("long", 62.0, narrations=said, subject="p1")
    spec = WindowSpec(seconds=0.2, hop_seconds=0.2)
    write_dataset(
        [long],
        tmp_path / "data",
        Origin("made by a test", "CC0"),
        Recipe(spec, Splits((1.0, 0.0, 0.0)), load_tokenizer(root / "bpe.txt.gz")),
    )
    out = tmp_path / "out"
    words = ["embed", "data", "--towers", str(root / "towers"), "--out", str(out), "--batch", "64"]
    process = subprocess.Popen(
        [sys.executable, "-m", "primus_jax", *words],
        cwd=tmp_path,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        stdout=subprocess.DEVNULL,
    )
    first = tmp_path / "out.partial" / "part-000000.npz"
    while not first.exists() and process.poll() is None:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not out.exists()
    made = first.stat().st_mtime_ns
    done = len(list(first.parent.glob("part-*.npz")))
    assert 1 <= done < 3
    torn = first.parent / "part-000001.npz"
    torn.write_bytes(first.read_bytes()[:5000])

    told = []
    towers = load_towers(root / "towers")
    resumed = embed_dataset(
        tmp_path / "data",
        towers,
        out,
        EmbedOptions(batch=64, devices=1),
        log=lambda line: told.append((line, first.stat().st_mtime_ns)),
    )
    whole = embed_dataset(
        tmp_path / "data", towers, tmp_path / "whole", EmbedOptions(batch=64, devices=1)
    )
    assert told[-1] == ("  writing 3,000 windows", made)
    assert resumed.content_hash == whole.content_hash
    assert resumed.metadata.shards == whole.metadata.shards
    for shard in whole.metadata.shards["train"]:
        assert (out / shard.file).read_bytes() == (whole.path / shard.file).read_bytes()
    assert not first.parent.exists()


def test_unfinished_work_of_other_settings_is_not_used(root, tmp_path):
    work = tmp_path / "out.partial"
    work.mkdir()
    (work / "notes.txt").write_text("mine")
    towers = load_towers(root / "towers")
    with pytest.raises(PrimusError, match="not a work folder"):
        embed_dataset(root / "data", towers, tmp_path / "out")
    (work / "notes.txt").unlink()
    identity = {"dtype": "bfloat16"}
    (work / "identity.json").write_text(json.dumps(identity))
    with pytest.raises(PrimusError, match="unfinished work with another"):
        embed_dataset(root / "data", towers, tmp_path / "out")


def test_equal_sentences_go_through_the_tower_once(root, tmp_path, monkeypatch):
    from data_prep.embed import towers as embed_towers

    seen = []

    def counted(params, config, rows, *, dtype):
        jax.debug.callback(lambda x: seen.append(int((x != 0).any(1).sum())), rows)
        return embed_text(params, config, rows, dtype=dtype)

    monkeypatch.setitem(embed_towers._EMBED, "text", ("text", counted))
    towers = load_towers(root / "towers")
    folder = embed_dataset(
        root / "data", towers, tmp_path / "out", EmbedOptions(("text",), devices=1, batch=4)
    )
    jax.effects_barrier()
    assert sum(seen) == 3
    assert sum(folder.splits.values()) > 60


def test_errors_say_what_to_do(root, embedded, tmp_path, capsys):
    def fails(*options, data=root / "data", towers=root / "towers"):
        words = ["embed", str(data), "--towers", str(towers), "--out", str(tmp_path / "out")]
        assert main([*words, *map(str, options)]) == 2
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    text_only = write_clip_folder(tmp_path / "text_only", vision=None)
    vision_only = write_clip_folder(tmp_path / "vision_only", text=None)
    assert "holds no vision tower" in fails(towers=text_only)
    assert "or pass --only text" in fails(towers=text_only)
    assert "holds no text tower" in fails(towers=vision_only)
    large = write_clip_folder(tmp_path / "large", vision=VISION | {"image_size": 48})
    said = fails(towers=large)
    assert "frames of 32 x 32 pixels" in said
    assert "--frame-size 48" in said
    small = write_clip_folder(
        tmp_path / "small", text=TEXT | {"vocab_size": 200, "eos_token_id": 9}
    )
    assert "token id 49407 of 'a person number" in fails(towers=small)
    assert "a batch of 0" in fails("--batch", 0)
    assert "this job has 8 devices" in fails("--devices", 99)
    assert "no such folder" in fails(data=tmp_path / "nothing")
    assert "text embeddings already" in fails("--only", "text", data=embedded)
    assert "there is no video to embed" in fails("--only", "video", data=embedded)
    other = write_clip_folder(tmp_path / "other", dim=8)
    half = tmp_path / "half"
    assert command(root, "--out", half, "--only", "text", "--batch", 8) == 0
    capsys.readouterr()
    assert "would have [8, 16] values" in fails("--only", "video", data=half, towers=other)
    assert command(root, "--out", half) == 2
    assert "already exists" in capsys.readouterr().err
    assert command(root, "--out", root / "data", "--overwrite") == 2
    assert "is the dataset itself" in capsys.readouterr().err
    nothing = tmp_path / "wordless"
    wordless = [recording(f"r{i}", 8.0, subject=f"p{i}") for i in range(3)]
    write(nothing, wordless, None, dataclasses.replace(SPEC, frames=0))
    assert "neither sentences nor frames" in fails(data=nothing)


def test_weights_that_overflow_are_refused(root, tmp_path):
    towers = load_towers(root / "towers")
    params = jax.tree.map(lambda x: x * 1e4, towers.params)
    with pytest.raises(PrimusError, match="values that float16 cannot hold"):
        embed_dataset(root / "data", dataclasses.replace(towers, params=params), tmp_path / "out")


def test_embeddings_are_replaced_on_demand(embedded, tmp_path):
    other = write_clip_folder(tmp_path / "other", seed=1)
    words = ["embed", str(embedded), "--towers", str(other), "--out", str(tmp_path / "out")]
    assert main([*words, "--overwrite-embeddings", "--devices", "1"]) == 0
    folder = DatasetFolder(tmp_path / "out")
    assert folder.metadata.towers["text"].digest == load_towers(other).digests["text"]
    assert folder.metadata.towers["video"] == DatasetFolder(embedded).metadata.towers["video"]
    for a, b in zip(windows(embedded), windows(folder.path), strict=True):
        np.testing.assert_array_equal(a["video_embedding"], b["video_embedding"])
        assert (a["text_embedding"] != b["text_embedding"]).any() == a["has_text_embedding"]
