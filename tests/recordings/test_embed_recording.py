"""Long recordings in one pass: any source, any chunks, gaps, and the same numbers as in one go."""

import numpy as np
import pandas as pd
import pytest
from support.user_files import moving, tiny_encoder

from primus_jax import SignalWarning
from primus_jax.errors import PrimusError
from primus_jax.recordings.report import Report
from primus_jax.recordings.resampler import Resampler
from primus_jax.recordings.stream import recording_windows
from primus_jax.recordings.table_format import TableFormat
from primus_jax.window import CHANNELS, GRAVITY, resample

SI = np.repeat([GRAVITY, np.pi / 180], 3)
UNITS = {"acc_unit": "g", "gyro_unit": "deg/s"}


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder()


def windows(recording, hop=1.0, rate=None, target=50.0, window=150, **layout):
    report = Report()
    layout = TableFormat(rate_hz=rate, **layout)
    parts = list(recording_windows(recording, layout, target, window, hop, report))
    return (*(np.concatenate(part) for part in zip(*parts, strict=True)), report)


def long_walk(seconds=400, rate=100.0):
    return np.concatenate([moving("walk", 100, rate, i) for i in range(seconds // 100)]) * SI


def wave(t):
    """Six sines at times `t`, with gravity."""
    sines = [np.sin(2 * np.pi * f * t + i) for i, f in enumerate((1, 2, 3, 1, 2, 3))]
    return np.stack(sines, 1) + np.array([0, GRAVITY, 0, 0, 0, 0])


def pieces(frame, rows):
    return (frame.iloc[i : i + rows] for i in range(0, len(frame), rows))


def table(signal, time):
    return pd.DataFrame(np.column_stack([time, signal]), columns=["time", *CHANNELS])


@pytest.mark.parametrize("rate", [25.0, 33.3, 50.0, 60.0, 100.0, 128.0])
def test_resampling_in_blocks_is_resampling_the_whole(rate):
    signal = long_walk(100).astype(np.float32)
    resampler = Resampler(rate, 50.0)
    cuts = np.sort(np.random.default_rng(0).integers(0, len(signal), 30))
    parts = [resampler.push(part) for part in np.split(signal, cuts)] + [resampler.finish()]
    np.testing.assert_array_equal(np.concatenate(parts), resample(signal, rate, 50.0))


def test_chunks_of_any_size_are_the_whole(tmp_path):
    signal = long_walk(800)
    times, whole, report = windows(signal, rate=100.0)
    expected = resample(signal, 100.0, 50.0)
    np.testing.assert_array_equal(times, np.arange(798))
    np.testing.assert_allclose(
        whole[[7, 660]], [expected[350:500], expected[33000:33150]], atol=1e-5
    )
    assert (report.rows, report.windows, report.problems()) == (80000, 798, "")
    assert report.seconds == pytest.approx(800)
    stored = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float64, signal.shape)
    stored[:] = signal
    by_seven = (signal[i : i + 7] for i in range(0, len(signal), 7))
    masked = np.ma.masked_array(signal, False)
    for other in (by_seven, iter(np.split(signal, [1, 30000])), stored, signal.tolist(), masked):
        found = windows(other, rate=100.0)
        np.testing.assert_array_equal(found[0], times)
        np.testing.assert_array_equal(found[1], whole)


def test_jittered_times_are_put_on_the_grid_whatever_the_chunks():
    rng = np.random.default_rng(1)
    t = np.arange(40000) / 100 + rng.uniform(-0.002, 0.002, 40000)
    frame = table(wave(t), t)
    times, whole, report = windows(frame)
    assert report.rate_hz == 100
    expected = wave(t[0] + times[200] + np.arange(150) / 50)
    np.testing.assert_allclose(whole[200], expected, atol=5e-3)
    found = windows(pieces(frame, 999))
    np.testing.assert_array_equal(found[0], times)
    np.testing.assert_array_equal(found[1], whole)


def test_times_do_not_run_off_at_a_rate_without_a_small_ratio():
    times, found, _ = windows(wave(np.arange(40000) / 99.97), rate=99.97)
    assert len(times) == 398
    expected = wave(times[390] + np.arange(150) / 50)
    np.testing.assert_allclose(found[390], expected, atol=0.03)


def drifting(rate, drift):
    """Rows whose rate falls slowly, 70,000 of them."""
    i = np.arange(70000)
    return i / rate * (1 + drift * i / len(i))


def one_late_row():
    t = np.arange(70000) / 25
    t[30000] += 0.008
    return t


@pytest.mark.parametrize(
    "t",
    [
        pytest.param(drifting(25.37, 0.002), marks=pytest.mark.slow),
        drifting(25.2555, 0.0003),
        one_late_row(),
    ],
    ids=["near 25.35 Hz", "near 25.25 Hz", "one late row"],
)
def test_how_a_recording_is_cut_does_not_change_its_rate_nor_its_embeddings(encoder, t):
    """25.35 and 25.25 Hz, between which the first two drift, are where the rate is rounded."""
    frame = table(wave(t), t)
    with pytest.warns(SignalWarning, match=r"25(\.\d)? samples a second"):
        times, whole = encoder.embed_recording(frame, 10.0)
    for size in (1000, 20000):
        for recording in (pieces(frame, size), list(pieces(frame, size))):
            with pytest.warns(SignalWarning, match="samples a second"):
                found = encoder.embed_recording(recording, 10.0)
            np.testing.assert_array_equal(found[0], times)
            np.testing.assert_array_equal(found[1], whole)


def test_units_are_doubted_on_the_same_rows_however_they_are_cut(encoder):
    t = np.arange(70000) / 50
    signal = wave(t)
    signal[5000:, :3] /= GRAVITY
    frame = table(signal, t)
    for recording in (frame, pieces(frame, 1000), iter([frame])):
        with pytest.warns(SignalWarning, match="the median accelerometer magnitude"):
            encoder.embed_recording(recording, 100.0)


def test_hops_that_are_no_whole_samples_do_not_drift():
    times, found, _ = windows(long_walk(100), hop=0.33, rate=100.0)
    np.testing.assert_allclose(times, np.arange(len(times)) * 0.33, atol=0.0101)
    assert len(found) == int((100 - 3) / 0.33) + 1


def test_gaps_and_missing_values_are_skipped_and_reported(encoder):
    """40 s lost in the middle, 3 bad rows (bridged), 10 bad rows (cut), one row twice."""
    signal, t = long_walk(), np.arange(40000) / 100
    signal[2000:2003, 1] = np.nan
    signal[3000:3010] = np.inf
    keep = (t < 150) | (t >= 190)
    keep[39950:39960] = False
    frame = table(signal, t)[keep]
    frame = pd.concat([frame.iloc[:5], frame.iloc[4:]])
    times, _, report = windows(frame)
    assert (report.gaps, report.missing, report.short) == (3, 13, 1)
    assert report.gap_seconds == pytest.approx(40.01 + 0.11 + 0.11)
    for begin, end in ((30.0, 30.09), (150, 190), (399.5, 399.6)):
        assert not ((times + 3 > begin) & (times < end)).any()
    np.testing.assert_allclose(times[times < 27], np.arange(27))
    assert times[times > 30][0] == pytest.approx(30.10)
    assert times[times > 150][0] == pytest.approx(190.0)
    with pytest.warns(SignalWarning, match=r"3 gaps, together 40\.23 s.*13 rows.*1 stretches"):
        found, embedding = encoder.embed_recording(frame)
    np.testing.assert_array_equal(found, times)
    assert embedding.shape == (len(times), encoder.config.embed_dim)


def test_files_tables_and_arrays_give_the_same_embeddings(encoder, tmp_path):
    raw = np.concatenate([moving("walk", 30, 100, 0), moving("sit", 30, 100, 1)]).round(4)
    t = 5 + np.arange(len(raw)) / 100
    times, plain = encoder.embed_recording(raw, 1.5, rate_hz=100, **UNITS)
    assert times[1] == 1.5
    batch = (raw * SI).astype(np.float32)
    expected = encoder.encode_windows(resample(batch, 100, 50)[None, 75:225])
    np.testing.assert_allclose(plain[1], expected[0], atol=1e-4)
    frame = table(raw, t)
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_csv(tmp_path / "b.csv", index=False, sep=";")
    frame.assign(time=t * 1000, note="x").to_parquet(tmp_path / "c.parquet")
    clock = frame.assign(time=pd.to_datetime(t, unit="s"))
    named = frame.rename(columns={"acc_x": "ax", "time": "clock"})
    others = [
        (tmp_path / "a.csv", {}),
        (str(tmp_path / "b.csv"), {}),
        (tmp_path / "c.parquet", {"time_unit": "ms"}),
        (clock, {}),
        (named, {"acc": ("ax", "acc_y", "acc_z"), "time": "clock"}),
        (frame.drop(columns="time"), {"rate_hz": 100}),
        (frame, {"time": None, "rate_hz": 100}),
    ]
    for recording, options in others:
        found = encoder.embed_recording(recording, 1.5, **UNITS, **options)
        np.testing.assert_array_equal(found[0], times)
        np.testing.assert_allclose(found[1], plain, atol=2e-4)
    with pytest.warns(SignalWarning, match="accelerometer only"):
        found = encoder.embed_recording(raw[:, :3], 1.5, rate_hz=100, acc_unit="g")
    frame.iloc[:, :4].to_csv(tmp_path / "d.csv", index=False)
    with pytest.warns(SignalWarning, match="accelerometer only"):
        again = encoder.embed_recording(tmp_path / "d.csv", 1.5, acc_unit="g")
    np.testing.assert_allclose(again[1], found[1], atol=2e-4)


def test_what_is_wrong_is_said(encoder, tmp_path):
    raw = moving("walk", 10, 50, 0) * SI
    t = np.arange(500) / 50
    frame = table(raw, t)

    def refused(message, recording=raw, hop=1.0, **options):
        with pytest.raises(PrimusError, match=message):
            encoder.embed_recording(recording, hop, **options)

    refused("unknown rate")
    refused("rate 5 Hz; expected 10 to 5,000", rate_hz=5)
    refused("hop_seconds is 0", hop=0, rate_hz=50)
    refused("unknown option 'axes'", rate_hz=50, axes="xyz")
    refused("unit 'kg'", rate_hz=50, acc_unit="kg")
    refused("rate '50' Hz; expected", rate_hz="50")
    refused("'acc_x' is named 2 times", frame, acc=("acc_x", "acc_x", "acc_z"))
    refused("'time' is named 2 times", frame, acc=("acc_x", "time", "acc_z"), time="time")
    refused("column 'acc_x' holds no number", np.ma.masked_all((500, 6)), rate_hz=50)
    refused("windows of one length", [[1, 2, 3], [1]], rate_hz=50)
    refused("head 'video'", rate_hz=50, head="video")
    refused("gives no window of 3 s", raw[:100], rate_hz=50)
    refused("holds no rows", raw[:0], rate_hz=50)
    refused("holds no rows", iter([]), rate_hz=50)
    refused("of type int", 7, rate_hz=50)
    refused("shape \\(500,\\)", raw[:, 0], rate_hz=50)
    refused("times say 50 samples a second, --rate says 100", frame, rate_hz=100)
    refused("row 202: its time lies", table(raw, np.where(t == t[201], 0, t)))
    one = (t == t[9])[:, None]
    refused("Check the unit", np.where(one, 1000 * raw, raw), rate_hz=50)
    refused("row 10: .* no body-worn", np.where(one, 1e300 * raw, raw), rate_hz=50)
    refused("some chunks .* have times", iter([frame, raw]), rate_hz=50)
    refused("the column of recordings names 'a' and 'b'", frame.assign(recording=["a", "b"] * 250))
    refused("no such file", tmp_path / "none.csv")
    path = tmp_path / "x.csv"
    frame.assign(recording=["a"] * 250 + ["b"] * 250).to_csv(path, index=False)
    refused("one recording at a time", path)
    lines = frame.to_csv(index=False).splitlines()
    path.write_text("\n".join([*lines[:40], lines[40].replace(",", ",x", 1), *lines[41:]]))
    refused(r"x\.csv, line 41: 'x.*expected a number", path)
    path.write_text(lines[0] + "\n")
    refused("no rows", path)
    path.write_text("\n".join(line.rpartition(",")[0] for line in lines))
    refused("no column 'gyro_z'", path)
