"""Scores on changed test windows: the changes themselves, and the command."""

import json

import jax
import numpy as np
import pytest

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from primus_jax.cli import main
from primus_jax.errors import PrimusError
from primus_jax.evals.perturbations import Strengths, changed_windows, changes, mask_time
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.windows import WindowSpec

CHANGES = changes(Strengths())
GRAVITY = {"up": (0.0, 0.0, 9.8), "side": (0.0, 9.8, 0.0), "forward": (9.8, 0.0, 0.0)}


def recordings():
    """Three activities that only the direction of gravity tells apart."""
    rng = np.random.default_rng(0)
    for person in range(6):
        for activity, gravity in GRAVITY.items():
            signal = rng.normal(0, 0.3, (150 * 8, 6)).astype(np.float32)
            signal[:, :3] += np.float32(gravity)
            yield Recording(
                id=f"{person}-{activity}", signal=signal, rate_hz=50.0,
                subject=f"person {person}", label=activity,
            )  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("robustness") / "directions"
    spec = WindowSpec(50.0, 3.0, 3.0)
    write_dataset(
        recordings(), path, Origin("a test", "none", simulated=True),
        Recipe(spec, Splits((0.5, 0.0, 0.5))),
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def windows():
    return np.random.default_rng(1).normal(size=(5, 40, 6)).astype(np.float32)


def test_a_shift_keeps_the_order_of_samples_around_the_window(windows):
    moved = changed_windows(windows, CHANGES["time-shifted"], 0)
    steps = [
        next(k for k in range(40) if np.array_equal(np.roll(before, k, 0), after))
        for before, after in zip(windows, moved, strict=True)
    ]
    assert len(set(steps)) > 1
    assert all(min(k, 40 - k) <= 18 for k in steps)


def test_a_gap_is_one_stretch_of_the_stated_length(windows):
    masked = changed_windows(windows, CHANGES["masked"], 0)
    zero = (masked == 0).all(-1)
    assert zero.sum(1).tolist() == [10] * 5
    assert (np.diff(np.flatnonzero(zero[0])) == 1).all()
    np.testing.assert_array_equal(masked[~zero], windows[~zero])
    assert (mask_time(jax.random.key(0), windows[0], 0.001) == 0).all(1).sum() == 1


def test_noise_and_turns_have_their_strength(windows):
    many = np.repeat(windows, 40, 0)
    added = changed_windows(many, CHANGES["noised"], 0) - many
    assert added.std() == pytest.approx(1.0, rel=0.02)
    turned = changed_windows(many, CHANGES["rotated"], 0)
    length = lambda imu: np.linalg.norm(imu[..., :3], axis=-1)  # noqa: E731
    np.testing.assert_allclose(length(turned), length(many), rtol=1e-5)
    assert np.abs(turned - many).max() > 1


def test_every_window_has_its_own_key_whatever_the_number_of_windows(windows):
    many = np.repeat(windows, 300, 0)  # more than one batch
    moved = changed_windows(many, CHANGES["noised"], 3)
    np.testing.assert_array_equal(moved, changed_windows(many, CHANGES["noised"], 3))
    added = moved - many
    assert len(np.unique(added[:, 0, 0].round(5))) > 1450
    assert not np.array_equal(added, changed_windows(many, CHANGES["noised"], 4) - many)


def test_the_command_finds_what_a_classifier_depends_on(data, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["robustness", "--hand-features", "--data", str(data), "--shots", "20"]
    assert main([*command, "--seeds", "2", "--noise", "0.01", "--out", str(out)]) == 0
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    score = {row["condition"]: row["macro_f1"] for row in rows}
    assert list(score) == ["original", "time-shifted", "masked", "noised", "rotated"]
    # Shifted or hardly noised windows of a constant direction are what they were; turned are not.
    assert min(score[name] for name in ("original", "time-shifted", "noised")) > 0.85
    assert score["rotated"] < 0.7
    assert rows[0]["strengths"]["noise"] == 0.01
    assert {row["change_seed"] for row in rows} == {0}
    table = (out / "table.md").read_text()
    assert "## directions, 20 labelled windows per class" in table
    assert table in capsys.readouterr().out
    loss = 100 * (score["original"] - np.mean([score[name] for name in list(score)[1:]]))
    assert float(table.splitlines()[-1].split("|")[-2]) == pytest.approx(loss, abs=0.051)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--hand-features", "--mask", "0"], "--mask 0; expected a number above 0, up to 0.9"),
        (["--hand-features", "--degrees", "270"], "--degrees 270"),
        (["--hand-features", "--seed", "-1"], "--seed -1; expected a whole number"),
        (["--random-init"], "give --encoder NAME=PATH"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(options, words, data, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["robustness", *options, "--data", str(data), "--out", str(out)]) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_strengths_that_are_not_numbers_are_refused():
    with pytest.raises(PrimusError, match="--noise nan"):
        Strengths(noise=float("nan")).validate()
