"""`primus-jax info`: everything that a folder states, and a picture of some windows."""

import dataclasses
import json
import shutil

import matplotlib.image
import numpy as np
import pytest
from support.recording_files import people, recording
from support.videos import frame_number, write_video

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from data_prep.video import NO_VIDEO, NOT_SHOWN
from primus_jax.cli import main
from primus_jax.data.folder import DatasetFolder
from primus_jax.recordings.recording import Video
from primus_jax.recordings.windows import WindowSpec
from primus_jax.reports.windows import draw_windows

SPEC = WindowSpec(50.0, 2.0, 2.0, frames=2, frame_size=32)


@pytest.fixture(scope="module")
def filmed(tmp_path_factory) -> DatasetFolder:
    """Recordings of 8 s: with a video of 10 s, of 5 s, a broken one, and none."""
    folder = tmp_path_factory.mktemp("filmed")
    whole = write_video(folder / "whole.mp4", 10, fps=20)
    short = write_video(folder / "short.mp4", 5, fps=20)
    (folder / "broken.mp4").write_bytes(b"no video")
    videos = [
        Video(whole, 1.0), Video(short), Video(folder / "broken.mp4"), Video(folder / "gone"), None,
    ]  # fmt: skip
    narrations = ((1.0, "C prend l'œuf à 5 $"), (5.2, "C が歩く"), (5.3, "C turns"))
    items = [
        recording(f"r{i}", 8.0, video=video, label="cooking", subject=f"p{i}", placement="head")
        for i, video in enumerate(videos)
    ]
    items[0] = dataclasses.replace(items[0], narrations=narrations)
    return write_dataset(
        items,
        folder / "out",
        Origin("a test", "CC0"),
        Recipe(SPEC, Splits((1, 0, 0))),
    )


def test_the_frames_of_every_window_are_the_right_ones(filmed):
    assert filmed.metadata.tensors["frames"] == (2, 32, 32, 3)
    shown = {}
    for window in filmed.source("train"):
        assert window["frames"].dtype == np.uint8
        if window["has_frames"]:
            numbers = [frame_number(frame) for frame in window["frames"]]
            shown[window["recording"], round(float(window["start_seconds"]), 2)] = numbers
        else:
            assert not window["frames"].any()
    at = {
        ("r0", 0.0): (1.5, 2.5), ("r0", 4.2): (5.7, 6.7), ("r0", 4.3): (5.8, 6.8),
        ("r1", 0.0): (0.5, 1.5), ("r1", 2.0): (2.5, 3.5),
    }  # fmt: skip
    assert shown == {key: [round(20 * t) for t in times] for key, times in at.items()}


def test_windows_without_frames_are_kept_and_counted(filmed):
    assert filmed.splits == {"train": 3 + 4 * 4}
    assert filmed.metadata.counts["train"].with_frames == 5
    assert filmed.metadata.drops == {NOT_SHOWN: 2 + 4 + 4, NO_VIDEO: 4}


def test_plain_tfds_reads_the_frames(filmed):
    import tensorflow_datasets as tfds

    theirs = tfds.builder_from_directory(str(filmed.path)).as_data_source("train")
    for mine, other in zip(filmed.source("train"), theirs, strict=True):
        np.testing.assert_array_equal(mine["frames"], other["frames"])
        assert mine["has_frames"] == other["has_frames"]


def test_everything_is_shown(filmed, tmp_path, capsys):
    copy = shutil.copytree(filmed.path, tmp_path / "copy")
    metadata = json.loads((copy / "metadata.json").read_text())
    metadata |= {
        "corpus": {"name": "films", "version": "v2.1"},
        "towers": {"text": {"name": "openai/clip", "digest": "abc123"}, "video": None},
        "tokenizer": {"name": "bpe", "hash": "def456", "length": 77},
        "embedding_dim": 512,
        "failed": {f"take {i}": f"take{i}.csv: the file is empty" for i in range(25)},
    }
    (copy / "metadata.json").write_text(json.dumps(metadata))
    assert main(["info", str(copy)]) == 0
    printed = capsys.readouterr().out
    for line in (
        "  corpus     films v2.1",
        "  licence    CC0",
        "  placement  head 19",
        "  frames     2 of 32 x 32 pixels a window",
        "  tokens     77 ids of bpe (def456)",
        "  embeddings 512 values; text by openai/clip (abc123)",
        f"  left out   10 {NOT_SHOWN}",
        "  FAILED     take 0: take0.csv: the file is empty",
        "             and 5 more",
    ):
        assert f"{line}\n" in printed
    assert printed.count("the file is empty") == 20
    rows = {line.split("  ")[1]: line.split()[-1] for line in printed.splitlines() if "  " in line}
    assert rows["with frames"] == "5"
    assert rows["· cooking"] == "19"


def test_a_folder_of_an_earlier_version(filmed, tmp_path, capsys):
    copy = shutil.copytree(filmed.path, tmp_path / "copy")
    metadata = json.loads((copy / "metadata.json").read_text())
    for key in ("corpus", "failed", "placement"):
        del metadata[key]
    del metadata["counts"]["train"]["with_frames"]
    (copy / "metadata.json").write_text(json.dumps(metadata))
    folder = DatasetFolder(copy)
    stated = folder.metadata
    assert (stated.corpus, stated.failed, stated.placement, stated.towers) == (None, {}, {}, {})
    assert stated.counts["train"].with_frames == 0
    assert main(["info", str(copy)]) == 0
    assert "corpus" not in capsys.readouterr().out


@pytest.mark.slow
def test_the_picture_shows_five_windows_of_the_seed(filmed, tmp_path, capsys):
    file = tmp_path / "new" / "windows.png"
    assert main(["info", str(filmed.path), "--picture", str(file), "--seed", "1"]) == 0
    assert str(file) in capsys.readouterr().out
    image = matplotlib.image.imread(file)[..., :3]
    colored = (image.max(-1) - image.min(-1) > 0.2).mean(0)
    # the right third of the picture has frames, the rest has lines only
    assert colored[-image.shape[1] // 4 :].max() > 3 * colored[: image.shape[1] // 2].max()
    chosen = draw_windows(filmed, file, seed=1)
    assert len({(w["recording"], w["start_seconds"]) for w in chosen}) == 5
    again, other = (
        draw_windows(DatasetFolder(filmed.path), tmp_path / f"{seed}.png", seed) for seed in (1, 2)
    )
    assert file.read_bytes() == (tmp_path / "1.png").read_bytes()
    assert [w["start_seconds"] for w in chosen] == [w["start_seconds"] for w in again]
    assert [w["start_seconds"] for w in chosen] != [w["start_seconds"] for w in other]


def test_a_picture_of_few_windows_without_gyroscope(tmp_path):
    items = [dataclasses.replace(p, has_gyro=False, signal=p.signal * [1, 1, 1, 0, 0, 0])
             for p in people(3, 1)]  # fmt: skip
    spec = WindowSpec(50.0, 15.0, 15.0)
    folder = write_dataset(items, tmp_path / "few", Origin("a", "b"), Recipe(spec))
    drawn = draw_windows(folder, tmp_path / "few.png")
    assert len(drawn) == 3
    assert {w["split"] for w in drawn} == set(folder.splits)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--picture", "a.jpg"], "expected the name of a PNG file"),
        (["--picture", "a.png", "--seed", "-1"], "seed -1"),
        (["again", "--picture", "a.png"], "--picture shows one dataset; 2 are given"),
    ],
)
def test_wrong_words(filmed, words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [str(filmed.path) if word == "again" else word for word in words]
    assert main(["info", str(filmed.path), *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
