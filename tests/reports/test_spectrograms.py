"""`primus-jax info --spectrograms`: activities by rows, and words for what cannot be drawn."""

import dataclasses

import matplotlib.image
import pytest
from support.recording_files import people, recording

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from primus_jax.cli import main
from primus_jax.data.folder import DatasetFolder
from primus_jax.recordings.windows import WindowSpec
from primus_jax.reports.spectrograms import draw_spectrograms, fitting


@pytest.mark.slow
def test_rows_are_activities(simulated, tmp_path, capsys):
    file = tmp_path / "new" / "spectrograms.png"
    assert main(["info", str(simulated), "--spectrograms", str(file), "--seed", "1"]) == 0
    assert str(file) in capsys.readouterr().out
    folder = DatasetFolder(simulated)
    drawn = draw_spectrograms(folder, tmp_path / "again.png", seed=1)
    assert file.read_bytes() == (tmp_path / "again.png").read_bytes()
    assert list(drawn) == list(folder.label_names[:8])
    assert set(drawn.values()) == {3}
    image = matplotlib.image.imread(file)[..., :3]
    assert (image.max(-1) - image.min(-1) > 0.2).mean() > 0.02
    draw_spectrograms(folder, tmp_path / "other.png", seed=2)
    assert file.read_bytes() != (tmp_path / "other.png").read_bytes()


def test_unlabelled_windows_come_last(tmp_path):
    items = [
        dataclasses.replace(item, label=label, subject=f"$p{number}")
        for number, (item, label) in enumerate(zip(people(3, 1), ("walk", "", ""), strict=True))
    ]
    spec = WindowSpec(50.0, 15.0, 15.0)
    folder = write_dataset(items, tmp_path / "few", Origin("a", "b"), Recipe(spec))
    drawn = draw_spectrograms(folder, tmp_path / "few.png")
    assert drawn == {"walk": 1, "no label": 2}


def test_frames_fit_the_window():
    assert [fitting(n).nfft for n in (32, 96, 130, 250, 500, 5000)] == [32, 32, 32, 64, 128, 256]
    for samples in (32, 96, 5000):
        fitting(samples).validate()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--spectrograms", "a.jpg"], "expected the name of a PNG file"),
        (["--spectrograms", "a.png", "--seed", "-1"], "seed -1"),
        (["again", "--spectrograms", "a.png"], "--spectrograms shows one dataset; 2 are given"),
    ],
)
def test_wrong_words(simulated, words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [str(simulated) if word == "again" else word for word in words]
    assert main(["info", str(simulated), *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_short_windows_are_refused(tmp_path, capsys):
    item = recording("r", 4.0, label="walk")
    spec = WindowSpec(20.0, 1.0, 1.0)
    recipe = Recipe(spec, Splits((1, 0, 0)))
    folder = write_dataset([item], tmp_path / "short", Origin("a", "b"), recipe)
    assert folder.window_samples == 20
    file = tmp_path / "a.png"
    assert main(["info", str(folder.path), "--spectrograms", str(file)]) == 2
    assert "20 samples are shorter than a frame" in capsys.readouterr().err
    assert not file.exists()
