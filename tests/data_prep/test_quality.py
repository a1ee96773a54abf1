"""Stretches that cannot be trusted are found, and living signals are left alone."""

from collections import Counter

import numpy as np
import pytest
from support.recording_files import GRAVITY, signal

from data_prep import quality
from data_prep.quality import bad_spans, read_bad_windows, reason_of, without_impossible
from primus_jax.errors import PrimusError

RATES = (50.0, 200.0, 1000.0)


def reasons(x: np.ndarray, rate: float, **options) -> dict[str, tuple[float, float]]:
    """First start and last end by reason."""
    found: dict[str, tuple[float, float]] = {}
    for start, end, why in bad_spans(x, rate, **options):
        first = found.get(why, (start, end))[0]
        found[why] = (min(first, start), max(end, found.get(why, (0.0, end))[1]))
    return found


@pytest.mark.parametrize("rate", RATES)
def test_a_living_signal_is_left_alone(rate):
    x = signal(round(60 * rate), rate)
    x[:, :3] += 20 * np.sin(2 * np.pi * 1.7 * np.arange(len(x)) / rate)[:, None] ** 9
    assert bad_spans(x, rate) == []
    counts = np.round(x / 0.0048) * 0.0048
    assert bad_spans(counts, rate) == []


def test_the_real_recordings_are_left_alone_and_stuck_sensors_found(shared_data):
    seconds: dict[str, float] = {}
    for name in ("usc_had", "sisfall", "classyglass2", "dsads"):
        pack = dict(np.load(shared_data / f"{name}.npz", allow_pickle=False))
        counts, rate = np.ascontiguousarray(pack["signal"]), float(pack["rate_hz"])
        scale = np.repeat([pack["acc_scale"], pack["gyro_scale"]], 3)
        bounds = list(zip(pack["offsets"], pack["offsets"][1:], strict=False))[::7]
        seconds[name] = sum(
            end - start for a, b in bounds for start, end, _ in bad_spans(counts[a:b] * scale, rate)
        )
    # people who sit, walk, run, jump and fall; dsads has trials whose sensor stood still
    assert seconds.pop("dsads") > 30
    assert seconds == {"usc_had": 0, "sisfall": 0, "classyglass2": 0}


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (slice(0, 3), quality.CONSTANT_ACC),
        (slice(1, 2), quality.CONSTANT_ACC),
        (slice(3, 6), quality.CONSTANT_GYRO),
    ],
)
def test_a_stuck_sensor_is_found_where_it_is(rate, columns, reason):
    x = signal(round(30 * rate), rate)
    first, last = round(10 * rate), round(14 * rate)
    x[first : last + 1, columns] = x[first, columns]
    assert reasons(x, rate) == {reason: pytest.approx((10, 14), abs=0.6 / rate)}


def test_a_short_repetition_and_one_quiet_gyroscope_axis_are_no_fault():
    x = signal(6000, 200)
    x[1000:1190, :3] = x[1000, :3]
    x[:, 4] = 0.01
    assert bad_spans(x, 200) == []


@pytest.mark.parametrize("rate", RATES)
def test_flat_tops_are_found_on_either_side_and_either_sensor(rate):
    t = np.arange(round(20 * rate)) / rate
    for axis, limit, size in ((0, 2 * GRAVITY, 30.0), (4, np.radians(500), 15.0)):
        x = signal(len(t), rate)
        burst = (t > 8) & (t < 11)
        wave = size * np.sin(2 * np.pi * 1.0 * t[burst])
        x[burst, axis] = wave.clip(-limit, limit)
        starts = [span for span in bad_spans(x, rate) if span[2] == quality.SATURATED]
        assert len(starts) == 6, rate
        assert all(8 < start < end < 11 for start, end, _ in starts)
        x[burst, axis] = wave
        assert quality.SATURATED not in reasons(x, rate), "a round peak is no fault"


def test_magnitudes_that_no_person_reaches():
    x = signal(12000, 200)
    x[4000:8000, :3] *= 0.4
    start, end = reasons(x, 200)[quality.NOT_GRAVITY]
    assert 15 < start < 20 < 40 < end < 45
    x = signal(12000, 200)
    x[4000:8000, 5] += 40.0
    assert set(reasons(x, 200)) == {quality.SPINNING}
    assert reasons(x, 200, has_gyro=False) == {}


def test_a_signal_without_gyroscope_or_shorter_than_the_mean():
    x = signal(400, 200)
    x[:, 3:] = 0
    assert bad_spans(x, 200, has_gyro=False) == []
    assert bad_spans(x[:1], 200, has_gyro=False) == []
    assert set(reasons(x, 200)) == {quality.CONSTANT_GYRO}
    x[:, :3] *= 0.1
    assert reasons(x, 200, has_gyro=False) == {
        quality.NOT_GRAVITY: pytest.approx((-0.0025, 1.9975))
    }


def test_impossible_samples_become_missing_sensor_by_sensor():
    drops = Counter()
    x = signal(100)
    x[3, 0], x[5, 4], x[7, 2] = 1e9, -500.0, np.nan
    y = without_impossible(x, drops)
    assert drops == {quality.IMPOSSIBLE: 2}
    assert np.isnan(y[3, :3]).all()
    assert np.isnan(y[5, 3:]).all()
    rest = np.delete(np.arange(100), [3, 5, 7])
    np.testing.assert_array_equal(y[rest], x[rest])
    np.testing.assert_array_equal(y[3, 3:], x[3, 3:])
    assert np.isnan(y).sum() == 7


def test_a_window_takes_the_first_reason_that_it_touches():
    spans = [(0.0, 2.0, "a"), (1.0, 3.0, "b")]
    assert reason_of(1.5, 6.5, spans) == "a"
    assert reason_of(2.0, 7.0, spans) == "b"
    assert reason_of(3.0, 8.0, spans) is None
    assert reason_of(-5.0, 0.0, spans) is None


def test_both_published_forms_of_lists(tmp_path):
    lines = tmp_path / "bad_imu.txt"
    lines.write_text("a_b-1_30_35\n\nx_7_12.5\na_b-1_10_15\na_b-1_30_35\n")
    expected = {"a_b-1": [(10.0, 15.0), (30.0, 35.0)], "x": [(7.0, 12.5)]}
    assert read_bad_windows(lines) == expected
    lines.write_text('[["a_b-1", 30, 35],\n ["x", 7, 12.5], ["a_b-1", 10, 15], ["x", 7, 12.5]]')
    assert read_bad_windows(lines) == expected


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a_1_2\nb_3\n", "line 2: 'b_3'"),
        ("a_5_5\n", "line 1"),
        ("a_9_5\n", "line 1"),
        ("a_x_5\n", "line 1"),
        ('[["a", 1]]', "entry 1"),
        ('[["a", 1, 6], [3, 1, 6]]', "entry 2"),
        ('[["a", 1, 6], ["a", "x", 6]]', "entry 2"),
        ('[["a", 1, 6]', "not a readable list"),
        ("[7]", "entry 1"),
    ],
)
def test_a_damaged_list_names_the_place(tmp_path, text, where):
    path = tmp_path / "bad.txt"
    path.write_text(text)
    with pytest.raises(PrimusError, match=where):
        read_bad_windows(path)


def test_a_missing_list(tmp_path):
    with pytest.raises(PrimusError, match="not a readable list"):
        read_bad_windows(tmp_path / "none.txt")


def test_the_published_list(shared_data):
    found = read_bad_windows(shared_data / "egoexo4d" / "bad_imu.txt")
    assert sum(map(len, found.values())) == 53
    assert (1342.0, 1347.0) in found["e769336a-ac30-4eb4-9a47-607aff166242"]
