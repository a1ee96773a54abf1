"""Cutting recordings into windows, and splitting by group."""

from collections import Counter

import numpy as np
import pytest
from support.recording_files import recording, signal

from data_prep.dataset.splits import Splits, assign
from primus_jax.errors import PrimusError
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.windows import MISSING, OUTSIDE, STUCK, TOO_SHORT, WindowSpec, cut

SPEC = WindowSpec(50.0, 2.0, 1.0)


def test_windows_on_the_hop_are_the_signal_itself():
    r = recording("a", 7.5, text="walks")
    imu, starts, texts = cut(r, SPEC, drops := Counter())
    assert imu.shape == (6, 100, 6)
    assert imu.dtype == np.float32
    assert texts == ["walks"] * 6
    for window, start in zip(imu, starts, strict=True):
        np.testing.assert_array_equal(window, r.signal[start : start + 100])
    assert not +drops


def test_a_window_as_long_as_the_recording_is_kept_and_a_shorter_recording_is_counted():
    assert len(cut(recording("a", 2.0), SPEC, drops := Counter())[0]) == 1
    assert len(cut(recording("a", 1.98), SPEC, drops)[0]) == 0
    assert +drops == {TOO_SHORT: 1}


def test_another_rate_is_resampled():
    slow = recording("a", 10.0, rate_hz=25.0)
    imu, starts, _ = cut(slow, WindowSpec(50.0, 2.0, 2.0), Counter())
    assert imu.shape == (5, 100, 6)
    assert starts.tolist() == [0, 100, 200, 300, 400]
    np.testing.assert_allclose(imu[1, ::2], slow.signal[50:100], atol=0.1)


def test_narrations_centre_windows_and_are_shifted_inside_at_the_ends():
    narrations = ((0.1, "starts"), (5.0, "turns"), (9.9, "ends"), (10.0, "gone"), (-1.0, "before"))
    r = recording("a", 10.0, text="whole", narrations=narrations)
    imu, starts, texts = cut(r, SPEC, drops := Counter())
    assert starts.tolist() == [0, 200, 400]
    assert texts == ["starts", "turns", "ends"]
    np.testing.assert_array_equal(imu[1], r.signal[200:300])
    assert +drops == {OUTSIDE: 2}


def test_windows_touching_bad_spans_are_dropped_and_counted():
    r = recording("a", 10.0, bad_spans=((4.01, 4.5),))
    _, starts, _ = cut(r, SPEC, drops := Counter())
    assert (starts / 50).tolist() == [0, 1, 2, 5, 6, 7, 8]
    assert +drops == {MISSING: 2}


@pytest.mark.parametrize(("rate", "stuck"), [(50.0, {150, 200, 250}), (64.0, {200})])
def test_a_stuck_accelerometer_is_dropped_and_counted(rate, stuck):
    x = signal(round(10 * rate), rate)
    x[round(3 * rate) : round(7 * rate), :3] = (0.0, 0.0, 9.81)
    _, starts, _ = cut(Recording("a", x, rate), SPEC, drops := Counter())
    # resampling lets the living signal ring a little into the stuck stretch
    assert set(range(0, 450, 50)) - set(starts.tolist()) == stuck
    assert +drops == {STUCK: len(stuck)}


@pytest.mark.parametrize(
    "values", [(0, 5, 5), (50, -1, 5), (50, 5, 0), (50, 0.02, 1), (50, 5, 1e-9)]
)
def test_impossible_windows_are_refused(values):
    with pytest.raises(PrimusError):
        WindowSpec(*values)


@pytest.mark.parametrize(
    "fields", [{"id": ""}, {"rate_hz": 0.0}, {"text_embedding": np.array([np.nan])}]
)
def test_impossible_recordings_are_refused(fields):
    whole = {"id": "a", "signal": signal(10), "rate_hz": 50.0, **fields}
    with pytest.raises(PrimusError):
        Recording(**whole)


def test_the_group_is_the_person_or_the_recording():
    x = signal(10)
    assert Recording("a", x, 50.0).split_group == "a"
    assert Recording("a", x, 50.0, subject="p").split_group == "p"
    assert Recording("a", x, 50.0, subject="p", group="clip").split_group == "clip"


def test_split_counts_approach_the_fractions_and_depend_on_nothing_but_the_seed():
    sizes = {f"p{i}": int(n) for i, n in enumerate(np.random.default_rng(0).integers(20, 80, 60))}
    sides = assign(sizes, Splits((0.7, 0.2, 0.1), 3))
    assert sides == assign(dict(reversed(sizes.items())), Splits((0.7, 0.2, 0.1), 3))
    assert sides != assign(sizes, Splits((0.7, 0.2, 0.1), 4))
    total = sum(sizes.values())
    for name, share in (("train", 0.7), ("validation", 0.2), ("test", 0.1)):
        got = sum(n for group, n in sizes.items() if sides[group] == name) / total
        assert abs(got - share) < 80 / total


def test_every_split_gets_a_group_even_beside_a_giant():
    for seed in range(20):
        sides = assign({"giant": 1000, "a": 1, "b": 1}, Splits((0.8, 0.1, 0.1), seed))
        assert set(sides.values()) == {"train", "validation", "test"}
    assert set(assign({"a": 1, "b": 2}, Splits((0.5, 0.0, 0.5))).values()) == {"train", "test"}


def test_too_few_groups_and_wrong_fractions_are_refused():
    with pytest.raises(PrimusError, match="--splits 1 0 0"):
        assign({"a": 5, "b": 5}, Splits())
    assert assign({"a": 5}, Splits((1, 0, 0))) == {"a": "train"}
    for fractions in ((0.5, 0.5, 0.5), (1.2, -0.1, -0.1), (1.0, 0.0), (np.nan, 0.5, 0.5)):
        with pytest.raises(PrimusError, match="sum to 1"):
            Splits(fractions)
    with pytest.raises(PrimusError, match="seed -1"):
        Splits(seed=-1)
