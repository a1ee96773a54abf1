"""`explain` through its command: a moment of a recording, the grid, and what it refuses."""

import numpy as np
import pytest
from support.user_files import tiny_encoder, write_user_csv

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from primus_jax.classify.explain import explain_classes
from primus_jax.cli import main
from primus_jax.data.folder import DatasetFolder
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.windows import WindowSpec

UNITS = ("--acc-unit", "g", "--gyro-unit", "deg/s")


def recordings():
    """Two activities of four people, at the rate of the encoder."""
    rng = np.random.default_rng(0)
    for person in range(4):
        for k, activity in enumerate(("still", "shaking")):
            signal = (0.1 + 3 * k) * rng.normal(size=(600, 6)).astype(np.float32)
            signal[:, 2] += 9.8
            yield Recording(
                id=f"{person}-{activity}", signal=signal, rate_hz=50.0, subject=f"{person}",
                label=activity,
            )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An encoder, a classifier that was adapted with it, one recording, and a dataset."""
    folder = tmp_path_factory.mktemp("explain")
    tiny_encoder().save(folder / "encoder")
    write_user_csv(folder / "all.csv")
    write_user_csv(folder / "one.csv", people=("dora",), seed=5)
    adapted = ["adapt", str(folder / "all.csv"), "--encoder", str(folder / "encoder")]
    columns = ["--label-column", "activity", "--subject-column", "subject"]
    columns += ["--recording-column", "recording"]
    assert main([*adapted, *columns, *UNITS, "--out", str(folder / "mine")]) == 0
    write_dataset(
        recordings(), folder / "moves", Origin("a test", "none", simulated=True),
        Recipe(WindowSpec(50.0, 3.0, 3.0), Splits((0.5, 0.0, 0.5))),
    )  # fmt: skip
    return folder


def explain(place, *options, file="one.csv"):
    words = ["explain", str(place / file), "--classifier", str(place / "mine")]
    return main([*words, *options])


def test_the_window_around_a_moment_is_drawn_with_its_probabilities(place, tmp_path, capsys):
    out = tmp_path / "why.png"
    assert explain(place, "--at", "20", "--out", str(out)) == 0
    printed = capsys.readouterr().out
    assert out.read_bytes().startswith(b"\x89PNG")
    line = next(line for line in printed.splitlines() if line.startswith("window "))
    start, end = (float(word) for word in line.split()[1:4:2])
    assert end - start == pytest.approx(3.0)
    assert start <= 20 <= end
    shares = [float(line.split()[-2]) for line in printed.splitlines() if line.endswith("%")]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert explain(place, "--at", "20", "--label", "sit", "--out", str(out)) == 0
    assert "evidence for 'sit'" in capsys.readouterr().out


@pytest.mark.slow
def test_the_grid_has_a_row_for_each_class_and_a_column_for_each_encoder(place, tmp_path, capsys):
    out = tmp_path / "grid.png"
    words = ["explain", "--data", str(place / "moves"), "--encoder", f"tiny={place / 'encoder'}"]
    assert main([*words, "--random-init", "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "random initialisation: embedding" in printed
    assert "tiny: embedding" in printed
    folder = DatasetFolder(place / "moves")
    rows = explain_classes({"a": tiny_encoder(), "b": tiny_encoder()}, folder)
    assert sorted(rows) == ["shaking", "still"]
    for first, second in rows.values():
        np.testing.assert_array_equal(first.imu, second.imu)
        np.testing.assert_array_equal(first.evidence, second.evidence)
        assert 0 <= first.evidence.min() <= first.evidence.max() <= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--at", "9999"], "--at 9999: no window of 3 s holds that moment"),
        (["--at", "20", "--label", "flying"], "--label 'flying'; the classifier knows"),
        ([], "needs --classifier DIR and --at SECONDS"),
        (["--at", "20", "--random-init"], "belong to --data"),
        (["--at", "20", "--data", "moves"], "expected a RECORDING"),
    ],
)
def test_what_cannot_be_explained_is_refused(place, options, words, tmp_path, capsys):
    out = tmp_path / "why.png"
    assert explain(place, *options, "--out", str(out)) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_a_grid_without_an_encoder_and_another_file_are_refused(place, tmp_path, capsys):
    data = ["explain", "--data", str(place / "moves")]
    assert main([*data, "--out", str(tmp_path / "grid.png")]) == 2
    assert "give --encoder NAME=PATH" in capsys.readouterr().err
    assert main([*data, "--out", str(tmp_path / "grid.pdf")]) == 2
    assert "expected the name of a PNG file" in capsys.readouterr().err
