"""Raw corpora -> shards -> embeddings -> three steps of pretraining, by the commands."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.clip_folder import write_clip_folder
from support.clip_vocabulary import write_vocabulary
from support.miniature_ego4d import uid, write_ego4d
from support.miniature_egoexo4d import FPS, FakeTake, write_download
from support.videos import frame_number

from data_prep.video import frame_times
from primus_jax.cli import main
from primus_jax.data.folder import DatasetFolder

CONFIG = Path(__file__).parents[1] / "support" / "tiny_config.py"
FRAMES, SIZE = 2, 32


def prepare(root: Path, corpus: str, raw: Path) -> int:
    write_vocabulary(root / "bpe.txt.gz")
    options = ["--frames", FRAMES, "--frame-size", SIZE, "--tokenizer", root / "bpe.txt.gz"]
    words = ["prepare", corpus, "--raw", raw, "--out", root / "data", "--workers", 1, *options]
    return main(list(map(str, words)))


def embed(root: Path) -> int:
    write_clip_folder(root / "towers")
    words = ["embed", root / "data", "--towers", root / "towers", "--out", root / "embedded"]
    return main([*map(str, words), "--batch", "16"])


def pretrain(root: Path, data: str, *more: str) -> list[dict]:
    """Losses of three steps."""
    words = ["pretrain", "--config", str(CONFIG), "--workdir", str(root / f"run_{data}")]
    values = {
        "data.train": (str(root / data),),
        "data.embedding_dim": 16,
        "data.batch_size": 8,
        "encoder.embed_dim": 16,
        "steps": 3,
        "optim.warmup_steps": 1,
        "devices": 1,
    }
    assert main([*words, *(f"--config.{k}={v}" for k, v in values.items()), *more]) == 0
    lines = (root / f"run_{data}" / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if "loss" in row]


def check_frames(folder: DatasetFolder, fps: float, offset: dict[str, float]) -> int:
    """Frames are those of their moments; returns how many windows have some.

    `offset`: where in its video file time 0 of a recording lies, by a word in the recording's id.
    """
    checked = 0
    times = frame_times(folder.window_samples / folder.rate_hz, FRAMES)
    for split in folder.splits:
        for window in folder.source(split):
            if window["has_frames"]:
                begin = next(at for word, at in offset.items() if word in window["recording"])
                moments = (window["start_seconds"] + begin + times) * fps
                numbers = [frame_number(pixels) for pixels in window["frames"]]
                # The container rounds its times, float32 the window's start.
                assert np.all(numbers <= moments + 0.05)
                assert np.all(numbers > moments - 1.05)
                checked += 1
    return checked


def check_embedded(root: Path) -> None:
    before, after = DatasetFolder(root / "data"), DatasetFolder(root / "embedded")
    assert after.splits == before.splits
    assert after.metadata.corpus == before.metadata.corpus
    assert after.embedding_dim == 16
    for split in before.splits:
        for old, new in zip(before.source(split), after.source(split), strict=True):
            assert new["has_video_embedding"] == old["has_frames"]
            assert new["has_text_embedding"]
            assert (new["recording"], new["text"]) == (old["recording"], old["text"])
            norm = np.linalg.norm(new["video_embedding"].astype(np.float32))
            assert norm == pytest.approx(float(old["has_frames"]), abs=2e-3)


@pytest.mark.slow
def test_ego4d(tmp_path):
    raw = write_ego4d(tmp_path / "raw", with_video=True)
    # Two files of the miniature are broken on purpose.
    assert prepare(tmp_path, "ego4d", raw) == 3
    folder = DatasetFolder(tmp_path / "data")
    assert len(folder.metadata.failed) == 2
    # The clip of video 1 begins two seconds into it.
    assert check_frames(folder, 10.0, {uid(0): 0.0, uid(1): -2.0}) > 8
    assert embed(tmp_path) == 0
    check_embedded(tmp_path)
    stored = pretrain(tmp_path, "embedded")
    assert [row["step"] for row in stored] == [1, 2, 3]
    assert all(np.isfinite(row["loss"]) for row in stored)
    # The towers inside the step see the same rows as the towers before it did.
    live = pretrain(tmp_path, "data", f"--config.data.towers={tmp_path / 'towers'}")
    for a, b in zip(stored, live, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=2e-3)


@pytest.mark.slow
def test_egoexo4d(tmp_path):
    takes = [
        FakeTake(
            f"cmu_bike{number:02d}_2",
            seconds=16.0,
            sentences=[(4.0 + k, f"C turns the wheel {k} with tool {number}.") for k in range(6)],
            participant=number,
            offset=0.02 * number,
            video=number != 3,
        )
        for number in range(4)
    ]
    raw = write_download(tmp_path / "raw", takes)
    assert prepare(tmp_path, "egoexo4d", raw) == 0
    folder = DatasetFolder(tmp_path / "data")
    assert check_frames(folder, FPS, {"": 0.0}) == 18
    assert sum(folder.splits.values()) == 24
    assert embed(tmp_path) == 0
    check_embedded(tmp_path)
    rows = pretrain(tmp_path, "embedded")
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert all(np.isfinite(row["loss"]) for row in rows)
