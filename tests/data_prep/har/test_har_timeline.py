"""Two sensors with separate clocks on one grid."""

from collections import Counter

import numpy as np
import pytest

from data_prep.har.hhar import _clock
from data_prep.streams import Stream, increasing, join, ordered, runs


def stream(first, last, rate, slope):
    time = first + np.arange(round((last - first) * rate)) / rate
    return Stream(time, slope * time[:, None] + [0.0, 1.0, 2.0])


def test_lines_stay_lines():
    rng = np.random.default_rng(0)
    acc, gyro = stream(100, 110, 50, 2.0), stream(100.013, 109, 97, -3.0)
    jittered = acc.time + rng.uniform(-0.004, 0.004, len(acc.time))
    acc = Stream(jittered, 2 * jittered[:, None] + [0, 1, 2])
    rate, (piece,) = join(acc, gyro, "here", Counter())
    assert rate == 97
    time = acc.time[0] + piece.start_seconds + np.arange(len(piece.signal)) / rate
    assert time[0] >= 100.013
    assert 109 - 3 / 50 < time[-1] < 109
    np.testing.assert_allclose(piece.signal[:, 1], 2 * time + 1)
    np.testing.assert_allclose(piece.signal[:, 3], -3 * time)


def test_a_gap_of_either_sensor_cuts():
    acc, gyro = stream(0, 20, 50, 1.0), stream(0, 20, 50, 1.0)
    hole = (gyro.time > 5) & (gyro.time < 5.2)
    gyro = Stream(gyro.time[~hole], gyro.values[~hole])
    blink = (acc.time > 12) & (acc.time < 12.07)
    acc = Stream(acc.time[~blink], acc.values[~blink])
    drops = Counter()
    _, pieces = join(acc, gyro, "here", drops)
    assert [(p.start_seconds, len(p.signal)) for p in pieces] == [(0, 251), (5.2, 740)]
    assert drops["gaps in time that cut a recording"] == 1


def test_sensors_that_never_meet_are_counted():
    drops = Counter()
    assert join(stream(0, 5, 50, 1.0), stream(6, 9, 50, 1.0), "here", drops) == (50, [])
    empty = Stream(np.empty(0), np.empty((0, 3)))
    assert join(stream(0, 5, 50, 1.0), empty, "here", drops)[1] == []
    assert drops["recordings without both sensors at the same time"] == 2
    slow = stream(0, 50, 1, 1.0)
    assert join(slow, slow, "here", drops)[1] == []
    assert drops["recordings with a rate outside 5 to 500 Hz"] == 1


def test_order_and_repetition_are_counted():
    time = np.array([0.0, 0.2, 0.1, 0.3, 0.3, 0.4, 0.4, np.nan])
    values = np.array([0, 2, 1, 3, 3, 4, 5, 6.0])[:, None].repeat(3, 1)
    values[0, 1] = np.inf
    drops = Counter()
    kept = ordered(time, values, drops)
    np.testing.assert_array_equal(kept.time, [0.1, 0.2, 0.3, 0.4])
    np.testing.assert_array_equal(kept.values[:, 0], [1, 2, 3, 4])
    assert drops == {
        "rows with a missing value": 2,
        "rows out of order, sorted": 1,
        "repeated rows": 1,
        "rows with the time of another row": 1,
    }


def test_runs_and_increasing_times():
    assert list(runs(np.array([1, 1, 2, 1]))) == [slice(0, 2), slice(2, 3), slice(3, 4)]
    drops = Counter()
    kept = increasing(np.array([0.0, 1.0, 0.5, np.nan, 1.0, 2.0]), drops)
    np.testing.assert_array_equal(kept, [True, True, False, False, False, True])
    assert drops["rows whose time is missing or does not increase"] == 3


def test_a_restarted_and_a_broken_clock():
    arrival = np.arange(0, 40, 0.05)
    creation = arrival + np.where(arrival < 20, 1000.0, -15.0)
    np.testing.assert_allclose(_clock(arrival, creation, Counter()), arrival)
    drops = Counter()
    assert np.isnan(_clock(arrival, 1.2 * arrival, drops)).all()
    assert drops["rows of a clock that runs 5 % too fast or slow"] == len(arrival)


@pytest.mark.parametrize("name", ["uci_har", "capture24", "utd_mhad"])
def test_official_splits_divide_all_people(name):
    from data_prep.har import SOURCES

    split = SOURCES[name].official_split
    people = {"uci_har": (21, 9), "capture24": (100, 51), "utd_mhad": (4, 4)}[name]
    assert tuple(list(split.values()).count(s) for s in ("train", "test")) == people
