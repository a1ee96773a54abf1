"""Times of arrival in bursts: refused with the rate, evened out by it, in both readers."""

import numpy as np
import pytest

from data_prep.user.tables import EVENED, Tables
from primus_jax.errors import PrimusError
from primus_jax.recordings.bursts import Evener, find_bursts
from primus_jax.recordings.report import Report
from primus_jax.recordings.rows import Rows
from primus_jax.recordings.stream import recording_windows
from primus_jax.recordings.table_format import TableFormat
from tests.support.sensor_files import RATE, at, table


def arrival(rows, size=10, step=0.001, jitter=0.0, rate=RATE):
    """Stamps of rows that arrive when the last of their burst was sampled."""
    rng = np.random.default_rng(1)
    burst = np.arange(rows) // size
    late = np.abs(rng.normal(0, jitter, burst[-1] + 1))
    return ((burst + 1) * size - 1) / rate + late[burst] + step * (np.arange(rows) % size)


@pytest.mark.parametrize(("size", "step"), [(10, 0.001), (10, 0.0), (4, 0.0005), (50, 0.0)])
def test_bursts_are_named_with_the_rate_that_evens_them_out(tmp_path, size, step):
    stamps = arrival(600, size, step)
    path = table(tmp_path / "a.csv", stamps, at(np.arange(600) / RATE))
    with pytest.raises(PrimusError, match=f"bursts of about {size}, .* 50 a second .* --rate 50"):
        list(Tables([path], TableFormat()))
    layout = TableFormat(rate_hz=RATE)
    tables = Tables([path], layout)
    (found,) = tables
    assert tables.done[EVENED] == 600
    assert tables.remembered().rate_hz == RATE
    expected = at(np.arange(600) / RATE)
    np.testing.assert_allclose(found.signal[3:-3], expected[3 : len(found.signal) - 3], atol=0.03)
    report = Report()
    list(recording_windows(path, layout, RATE, 100, 2.0, report, strict=True))
    assert report.evened == 600
    assert report.windows == 6
    assert "those of arrival, were evened out" in report.problems()


def test_a_stated_rate_that_bursts_do_not_make_up_is_refused(tmp_path):
    path = table(tmp_path / "a.csv", arrival(600), at(np.arange(600) / RATE))
    with pytest.raises(PrimusError, match="--rate says 80"):
        list(Tables([path], TableFormat(rate_hz=80.0)))


def rows_of(time):
    empty = np.zeros((len(time), 6))
    return Rows(time, empty, True, {}, np.arange(len(time)), "a.csv, line")


def test_a_drifting_clock_late_bursts_and_pauses_keep_the_true_times():
    rate, rows = 50.7, 12_000
    true = np.arange(rows) / rate
    true[7000:] += 5.0
    stamps = arrival(rows, jitter=0.02, rate=rate)
    stamps[7000:] += 5.0
    whole = Evener(RATE)
    first = whole.push(rows_of(stamps))
    rest = whole.finish()
    even = np.concatenate([part.time for part in (first, rest) if part is not None])
    assert len(even) == rows
    assert (np.diff(even) > 0).all()
    assert np.abs(even - true).max() < 0.25
    assert np.abs(np.diff(even)[1:6000] - 1 / rate).max() < 0.001
    parts, evener = [], Evener(RATE)
    for start in range(0, rows, 1700):
        parts.append(evener.push(rows_of(stamps[start : start + 1700])))
    parts.append(evener.finish())
    again = np.concatenate([part.time for part in parts if part is not None])
    np.testing.assert_allclose(again, even, atol=1e-9)


@pytest.mark.parametrize(
    "time",
    [
        np.arange(1000) / 50,
        np.arange(1000) / 50 + np.random.default_rng(0).normal(0, 0.005, 1000).cumsum() * 0.01,
        np.concatenate([np.arange(500) / 100 + 60 * k for k in range(8)]),
        np.repeat(np.arange(20), 1) / 50,
    ],
    ids=["even", "jittered", "ten seconds a minute", "short"],
)
def test_times_of_sampling_are_no_bursts(time):
    assert find_bursts(np.sort(time)) is None
