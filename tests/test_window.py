"""Law 1: what a window is, what is refused; resampling changes the rate and nothing else."""

import math

import numpy as np
import pytest

from primus_jax.errors import PrimusError
from primus_jax.window import GRAVITY, check_imu, resample, resampling, same_rate, to_si


def sine(hz: float, rate: float, seconds: float, phase: float = 0.3) -> np.ndarray:
    """`[time, 1]`, time 0 at the first sample."""
    time = np.arange(round(seconds * rate)) / rate
    return np.sin(2 * np.pi * hz * time + phase)[:, None]


RATES = [
    (100, 50),
    (200, 50),
    (25, 50),
    (30, 50),
    (64, 50),
    (50, 49.5),
    (104.17, 50),
    (1000, 50),
    (49.98, 50),
    (99.97, 50),
    (50, 49.98),
]


@pytest.mark.parametrize(("start", "end"), RATES)
def test_a_sine_at_eight_tenths_of_the_lower_nyquist_keeps_amplitude_and_phase(start, end):
    hz = 0.8 * min(start, end) / 2
    new = resample(sine(hz, start, 20), start, end)
    # the nearest ratio of integers up to 2,000 is the rate that comes out
    up, down, _ = resampling(start, end)
    expected = sine(hz, start * up / down, 20)[: len(new)]
    inner = slice(round(2 * end), round(18 * end))
    assert new.dtype == np.float32
    np.testing.assert_allclose(new[inner], expected[inner], atol=2e-3)


@pytest.mark.parametrize(("start", "end"), [(100, 50), (200, 50), (64, 50), (1000, 50)])
def test_what_the_new_rate_cannot_hold_is_gone_and_not_folded(start, end):
    for hz in (1.02 * end / 2, 0.98 * end if start > 2 * end else 0.48 * start):
        new = resample(sine(hz, start, 20), start, end)
        assert np.abs(new[round(2 * end) : round(18 * end)]).max() < 2e-3


@pytest.mark.parametrize(("start", "end"), RATES)
def test_gravity_keeps_its_value_up_to_the_edges(start, end):
    new = resample(np.full((round(start * 3), 6), GRAVITY), start, end)
    np.testing.assert_allclose(new, GRAVITY, rtol=2e-4)


def test_any_rate_has_a_ratio_close_enough():
    rng = np.random.default_rng(0)
    rates = np.concatenate([[49.98, 24.98, 25.01, 99.97, 50.01], rng.uniform(10, 400, 20).round(2)])
    for rate in rates:
        up, down, _ = resampling(rate, 50)
        assert max(up, down) <= 2000
        assert abs(rate * up / down / 50 - 1) < 3e-4, rate
    # as ever where the ratio is one of small integers
    assert [resampling(rate, 50)[:2] for rate in (100, 25, 33.3, 128, 104)] == [
        (1, 2), (2, 1), (500, 333), (25, 64), (25, 52),
    ]  # fmt: skip


def test_duration_is_kept():
    assert resample(np.zeros((125, 6)), 25, 50).shape == (250, 6)
    assert resample(np.zeros((7500, 6)), 25, 50).shape == (15000, 6)
    assert resample(np.zeros((500, 6)), 100, 50).shape == (250, 6)
    assert resample(np.zeros((501, 6)), 100, 50).shape == (251, 6)
    assert resample(np.zeros((150, 6)), 30, 50).shape == (250, 6)
    assert resample(np.zeros((1, 6)), 50, 100).shape == (2, 6)


def test_leading_axes_are_windows():
    windows = np.random.default_rng(0).normal(size=(3, 200, 6))
    together = resample(windows, 100, 50)
    np.testing.assert_array_equal(together[1], resample(windows[1], 100, 50))


def test_the_same_rate_changes_nothing():
    x = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    np.testing.assert_array_equal(resample(x, 50, 50), x)


def test_a_line_stays_a_line_at_the_edges():
    x = np.linspace(0, 1, 300)[:, None]
    new = resample(x, 100, 50)
    np.testing.assert_allclose(new, x[::2], atol=2e-4)


@pytest.mark.parametrize(
    ("rate", "target"),
    [
        (0, 50),
        (-1, 50),
        (math.nan, 50),
        (50, math.inf),
        (1e6, 1),
        (1, 2002),
        (None, 50),
        ("50", 50),
    ],
)
def test_impossible_rates_are_refused(rate, target):
    with pytest.raises(PrimusError, match="Hz"):
        resample(np.zeros((10, 6)), rate, target)


def test_no_samples_are_refused():
    with pytest.raises(PrimusError, match=r"\(0, 6\)"):
        resample(np.zeros((0, 6)), 100, 50)


def test_check_returns_float32():
    assert check_imu(np.zeros((5, 6), np.int16)).dtype == np.float32


@pytest.mark.parametrize(
    ("imu", "message"),
    [
        (np.zeros((5, 3)), r"\(5, 3\)"),
        (np.zeros(6), r"\(6,\)"),
        (np.zeros((0, 6)), "expected numbers"),
        (np.full((2, 6), "1"), "expected numbers"),
        (np.full((2, 6), True), "expected numbers"),
        (np.full((2, 6), 1j), "expected numbers"),
    ],
)
def test_shapes_and_types_are_refused(imu, message):
    with pytest.raises(PrimusError, match=message):
        check_imu(imu, "here")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_a_value_that_is_not_finite_is_named_by_place(value):
    imu = np.zeros((2, 4, 6))
    imu[1, 2, 4] = value
    with pytest.raises(PrimusError, match=r"index \(1, 2\), channel gyro_y"):
        check_imu(imu)


def test_magnitudes_that_no_sensor_reads_are_refused():
    imu = np.zeros((4, 6))
    imu[0, 0] = 981 * GRAVITY
    with pytest.raises(PrimusError, match="accelerometer magnitude"):
        check_imu(imu)
    imu[0, 0] = 1e30
    with pytest.raises(PrimusError, match="accelerometer magnitude"):
        check_imu(imu)
    imu = np.zeros((4, 6))
    imu[0, 3] = 600
    with pytest.raises(PrimusError, match="gyroscope magnitude"):
        check_imu(imu)


def test_units():
    x = np.array([[1.0, 0, 0, 180, 0, 0]])
    np.testing.assert_allclose(to_si(x, "g", "deg/s"), [[GRAVITY, 0, 0, math.pi, 0, 0]])
    np.testing.assert_array_equal(to_si(x, "m/s2", "rad/s"), x)
    for wrong in (x[:, :3], [["a"] * 6]):
        with pytest.raises(PrimusError, match="expected numbers"):
            to_si(wrong, "g", "deg/s")
    for units in (("m/s", "rad/s"), ("g", "rpm")):
        with pytest.raises(PrimusError, match="expected one of"):
            to_si(x, *units)


def test_two_rates_are_one_where_only_rounding_parts_them():
    assert same_rate(50.0, float(np.float32(50.000002)))
    assert same_rate(100 / 3, 33.33333)
    assert not same_rate(50.0, 50.001)
