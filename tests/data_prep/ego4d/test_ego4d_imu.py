"""Inertial CSV files of Ego4D: times, orders, gaps, missing sensors, damage."""

from collections import Counter

import numpy as np
import pytest
from support import miniature_ego4d as mini

from data_prep import quality
from data_prep.ego4d import signals
from data_prep.ego4d.signals import Signal, read_signal
from data_prep.streams import LATE, MISSING_ROWS, NEVER_BOTH, SAME_TIME
from primus_jax.errors import PrimusError
from primus_jax.recordings.grid import REPEATED
from primus_jax.recordings.plausible import NOT_GRAVITY

NOISE = 0.06


def read(path, rows: mini.Imu, seconds: float = 60.0) -> tuple[Signal | None, Counter]:
    drops: Counter[str] = Counter()
    signal = read_signal(rows.write(path / "imu.csv"), seconds, drops)
    return signal, +drops


def assert_lies_right(signal: Signal) -> None:
    """acc x is where the motion was at that second of the video."""
    t = signal.start + np.arange(len(signal.samples)) / signal.rate_hz
    good = np.ones(len(t), bool)
    for a, b, _ in signal.spans:
        good &= (t - signal.start <= a) | (t - signal.start >= b)
    assert good.mean() > 0.5
    assert np.abs(signal.samples[:, 0] - mini.sway(t))[good].max() < NOISE
    assert np.isfinite(signal.samples).all()


def test_a_clean_file(tmp_path):
    rows = mini.imu(20)
    signal, drops = read(tmp_path, rows)
    assert not drops
    assert (signal.rate_hz, signal.start, signal.has_gyro, signal.spans) == (200, 0, True, ())
    np.testing.assert_allclose(signal.samples, rows.values, atol=1e-9)


def test_canonical_time_is_the_clock(tmp_path):
    rows = mini.imu(20, start=3.0)
    rows.component_time += 11.0
    rows.canonical[:200] = np.nan
    signal, drops = read(tmp_path, rows)
    assert drops == {signals.NO_TIME: 200}
    assert signal.start == pytest.approx(4.0)
    assert_lies_right(signal)


@pytest.mark.parametrize("word", ["", "NULL", "nan", "NaN"])
def test_ways_to_write_a_missing_time(tmp_path, word):
    rows = mini.imu(10)
    rows.cells = {(k, 2): word for k in range(7)}
    signal, drops = read(tmp_path, rows)
    assert drops == {signals.NO_TIME: 7}
    assert signal.start == pytest.approx(0.035)


@pytest.mark.parametrize("rate", [198.4, 201.005, 99.0, 400.0])
def test_other_rates_and_jitter_land_where_they_should(tmp_path, rate):
    rows = mini.imu(30, rate=rate)
    rng = np.random.default_rng(0)
    rows.canonical += rng.uniform(-0.3, 0.3, len(rows.canonical)) / rate
    rows.values = mini.motion(rows.canonical)
    signal, drops = read(tmp_path, rows)
    assert not drops
    assert signal.rate_hz == round(rate)
    assert signal.seconds == pytest.approx(30, abs=0.02)
    assert_lies_right(signal)


def test_repeated_late_and_stray_rows(tmp_path):
    rows = mini.imu(20)
    order = np.arange(4000)
    order[1000:1400] = np.concatenate([order[1200:1400], order[1000:1200]])
    order = np.concatenate([order[:2000], order[1900:2000], order[2000:]])
    rows = rows.take(order)
    rows.canonical[[500, 3000]] = 1e12, -1e12
    rows.canonical[3500] += 6.0
    signal, drops = read(tmp_path, rows)
    assert drops == {LATE: 2, REPEATED: 100, signals.STRAY: 3}
    assert signal.spans == ()
    assert_lies_right(signal)


def test_rows_swapped_with_their_neighbours_are_sorted(tmp_path):
    order = np.arange(4000).reshape(-1, 2)[:, ::-1].ravel()
    signal, drops = read(tmp_path, mini.imu(20).take(order))
    assert drops == {LATE: 2000}
    assert signal.spans == ()
    assert_lies_right(signal)


def test_two_packets_for_the_same_time_cannot_be_trusted(tmp_path):
    rows = mini.imu(20)
    late = rows.take(np.arange(2000, 2400))
    late.canonical -= 3.0
    both = mini.Imu(
        *(
            np.concatenate([getattr(rows, name)[:2000], getattr(late, name)])
            for name in ("canonical", "values", "component", "component_time")
        )
    )
    both.canonical[2000:] += 0.0017
    signal, _ = read(tmp_path, both)
    assert {why for _, _, why in signal.spans} == {signals.OVERLAP}
    assert min(a for a, _, _ in signal.spans) == pytest.approx(7.0, abs=0.03)
    assert max(b for _, b, _ in signal.spans) == pytest.approx(9.0, abs=0.03)
    assert_lies_right(signal)


def test_the_same_time_with_other_values_is_counted(tmp_path):
    rows = mini.imu(10)
    rows.canonical[301] = rows.canonical[300]
    signal, drops = read(tmp_path, rows)
    assert drops == {SAME_TIME: 2}, "once for each sensor"
    assert_lies_right(signal)


def test_pauses_and_missing_values_are_spans(tmp_path):
    rows = mini.imu(40)
    rows.values[1000:1200, 0] = np.nan
    rows.values[2000:2400, 4] = np.nan
    rows.values[3000:3003, :3] = np.nan
    keep = np.r_[0:5000, 5600 : len(rows.canonical)]
    signal, drops = read(tmp_path, rows.take(keep))
    assert drops == {MISSING_ROWS: 603}
    spans = [(round(a, 3), round(b, 3), why) for a, b, why in signal.spans]
    assert spans == [
        (4.995, 6.0, signals.GAP),
        (9.995, 12.0, signals.GAP),
        (24.995, 28.0, signals.GAP),
    ]
    assert_lies_right(signal)


def test_an_impossible_value_is_bridged_and_counted(tmp_path):
    rows = mini.imu(20)
    rows.values[1000, 1], rows.values[2000, 5] = 1e30, -1e5
    rows.values[3000, 2] = np.inf
    signal, drops = read(tmp_path, rows)
    assert drops == {quality.IMPOSSIBLE: 3, MISSING_ROWS: 3}
    assert signal.spans == ()
    assert_lies_right(signal)


def test_sensors_in_rows_of_their_own(tmp_path):
    rows = mini.imu(20, rate=400.0)
    rows.values[::2, :3] = np.nan
    rows.values[1::2, 3:] = np.nan
    signal, drops = read(tmp_path, rows)
    assert drops == {MISSING_ROWS: 8000}
    assert signal.rate_hz == 200
    assert signal.spans == ()
    assert_lies_right(signal)


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_no_gyroscope(tmp_path, value):
    rows = mini.imu(20)
    rows.values[:, 3:] = value
    signal, drops = read(tmp_path, rows)
    assert drops == {signals.NO_GYRO: 1}
    assert not signal.has_gyro
    assert not signal.samples[:, 3:].any()
    assert_lies_right(signal)


def test_what_gives_no_signal_is_counted(tmp_path):
    rows = mini.imu(20)
    rows.values[:, 1] = np.nan
    assert read(tmp_path, rows) == (None, {signals.NO_ACC: 1})
    rows = mini.imu(20)
    rows.values[:, :3] /= mini.GRAVITY
    assert read(tmp_path, rows) == (None, {NOT_GRAVITY: 1})
    rows = mini.imu(20)
    rows.values[:, 3:] *= 57.3 * 6
    assert read(tmp_path, rows) == (None, {signals.TOO_FAST: 1})
    rows = mini.imu(20)
    rows.canonical += 1000
    signal, drops = read(tmp_path, rows)
    assert signal is None
    assert drops == {signals.BEYOND: 4000, signals.NO_ACC: 1}
    rows = mini.imu(20)
    rows.canonical *= 1000
    assert read(tmp_path, rows, 1e6) == (None, {signals.ODD_CLOCK: 1})
    rows = mini.imu(20)
    rows.values[2000:, :3], rows.values[:2000, 3:] = np.nan, np.nan
    signal, drops = read(tmp_path, rows)
    assert signal is None
    assert drops == {MISSING_ROWS: 4000, NEVER_BOTH: 1}
    signal, drops = read(tmp_path, mini.imu(20).take(np.zeros(5, int)))
    assert signal is None
    assert drops == {REPEATED: 4, signals.NO_GYRO: 1, NEVER_BOTH: 1}


def test_rows_beyond_the_video_are_left_out(tmp_path):
    signal, drops = read(tmp_path, mini.imu(60, start=-20.0025), seconds=30.0)
    assert signal.start == pytest.approx(-signals.MARGIN, abs=0.005)
    assert signal.seconds == pytest.approx(40, abs=0.01)
    assert drops == {signals.BEYOND: 8000}
    assert_lies_right(signal)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text[:-20], r"line 4001: \d fields; expected 9"),
        (lambda text: text.replace("\n0,", "\n0,x", 1), None),
        (lambda text: text.replace("accl_z", "acc_z"), "no column 'accl_z'"),
        (lambda text: text.split("\n")[0] + "\n", "no rows"),
        (lambda text: "", "is empty"),
        (lambda text: text.replace(".", "o", 30), "line 2: .* expected a number"),
    ],
)
def test_damage_names_the_file_and_the_line(tmp_path, spoil, message):
    path = mini.imu(20).write(tmp_path / "imu.csv")
    path.write_text(spoil(path.read_text()))
    if message is None:
        assert read_signal(path, 60, Counter()), "columns that are not used may hold anything"
        return
    with pytest.raises(PrimusError, match=f"imu.csv.*{message}"):
        read_signal(path, 60, Counter())
