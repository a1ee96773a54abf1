"""Units, gravity and sign: what the numbers say against what is stated of them."""

import warnings

import numpy as np
import pytest
from support.recording_files import GRAVITY, recording, table_columns, write_csv, write_pack

from data_prep.user.packs import Packs
from data_prep.user.tables import Tables
from primus_jax import SignalWarning
from primus_jax.cli import main
from primus_jax.errors import PrimusError
from primus_jax.recordings.arrays import check_units
from primus_jax.recordings.plausible import pooled, stretches
from primus_jax.recordings.report import Report
from primus_jax.recordings.stream import recording_windows
from primus_jax.recordings.table_format import TableFormat

ROWS, RATE = 600, 50.0
AXES = ("acc_x", "acc_y", "acc_z")
REMOVED = "Gravity seems to have been removed"


def walking(scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Gravity and movement apart, float64 `[ROWS, 3]` each, m/s^2: a phone upright in a pocket."""
    t = np.arange(ROWS) / RATE
    sway = 0.3 * np.sin(2 * np.pi * 0.9 * t)
    gravity = GRAVITY * np.stack([np.sin(sway), np.cos(sway), 0 * t], 1)
    swing = [0.8 * np.sin(2 * np.pi * f * t + f) for f in (1.8, 3.6, 0.9)]
    noise = np.random.default_rng(0).normal(0, 0.05, (ROWS, 3))
    return gravity, scale * (np.stack(swing, 1) * [2, 4, 1] + noise)


def write(path, acc: np.ndarray, **more):
    columns = dict(zip(AXES, acc.T, strict=True))
    return write_csv(path, table_columns(ROWS, **columns, **more))


def strictly(path, **layout):
    return list(
        recording_windows(path, TableFormat(**layout), RATE, 100, 1.0, Report(), strict=True)
    )


@pytest.mark.parametrize("scale", [0.05, 1.0, 3.0])
@pytest.mark.parametrize("unit", ["m/s2", "g"])
def test_removed_gravity_is_named_whatever_the_unit_and_the_movement(tmp_path, scale, unit):
    """In g and at scale 3 the median magnitude is about 1 g: it alone would pass."""
    _, moved = walking(scale)
    path = write(tmp_path / "a.csv", moved / (GRAVITY if unit == "g" else 1.0))
    for stated in ("m/s2", "g"):
        layout = {"acc_unit": stated}
        for read in (lambda lay=layout: list(Tables([path], TableFormat(**lay))),
                     lambda lay=layout: strictly(path, **lay)):  # fmt: skip
            with pytest.raises(PrimusError, match=f"{REMOVED}.*--gravity GX GY GZ") as error:
                read()
            assert "pass --acc-unit" not in str(error.value)
        with pytest.warns(SignalWarning, match=REMOVED):
            list(recording_windows(path, TableFormat(**layout), RATE, 100, 1.0, Report()))


@pytest.mark.parametrize("stated", ["m/s2", "g"])
def test_a_wrong_unit_with_gravity_is_still_called_a_wrong_unit(tmp_path, stated):
    gravity, moved = walking()
    other = {"m/s2": "g", "g": "m/s2"}[stated]
    path = write(tmp_path / "a.csv", (gravity + moved) / (GRAVITY if other == "g" else 1.0))
    for read in (lambda: list(Tables([path], TableFormat(acc_unit=stated))),
                 lambda: strictly(path, acc_unit=stated)):  # fmt: skip
        with pytest.raises(PrimusError, match=f"It looks like {other}: pass --acc-unit {other}"):
            read()


def test_columns_of_gravity_are_added_and_the_sign_is_changed(tmp_path, capsys):
    """What an iPhone exports: userAcceleration and gravity in g, -1 g upwards."""
    gravity, moved = walking()
    parts = {f"g{axis}": -gravity[:, i] / GRAVITY for i, axis in enumerate("xyz")}
    path = write(tmp_path / "phone.csv", -moved / GRAVITY, **parts)
    layout = TableFormat(gravity=("gx", "gy", "gz"), invert_acc=True, acc_unit="g")
    (found,) = Tables([path], layout)
    np.testing.assert_allclose(found.signal[:, :3], gravity + moved, atol=1e-5)
    windows = np.concatenate([part for _, part in strictly(
        path, gravity=("gx", "gy", "gz"), invert_acc=True, acc_unit="g")])  # fmt: skip
    np.testing.assert_allclose(windows[0, :, :3], (gravity + moved)[:100], atol=1e-5)
    command = ["prepare", "table", str(path), "--splits", "1", "0", "0", "--acc-unit", "g"]
    command += ["--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert REMOVED in capsys.readouterr().err
    assert main([*command, "--gravity", "gx", "gy", "gz", "--invert-acc"]) == 0
    assert main([*command, "--overwrite", "--gravity", "gx", "gy", "no"]) == 2
    assert "no column 'no'" in capsys.readouterr().err


@pytest.mark.parametrize("axis", ["y", "z"])
def test_a_still_sensor_that_reads_minus_one_g_is_warned_of(tmp_path, axis):
    still = np.random.default_rng(1).normal(0, 0.02, (ROWS, 3))
    still[:, "xyz".index(axis)] -= GRAVITY
    path = write(tmp_path / "a.csv", still)
    with pytest.warns(SignalWarning, match=f"about -1 g along {axis}.*--invert-acc"):
        list(Tables([path], TableFormat()))
    with pytest.warns(SignalWarning, match="--invert-acc"):
        list(recording_windows(path, TableFormat(), RATE, 100, 1.0, Report()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(Tables([path], TableFormat(invert_acc=True)))
        strictly(path, invert_acc=True)
        # somebody who moves may hold a phone in any way
        gravity, moved = walking()
        list(Tables([write(tmp_path / "b.csv", -gravity + moved)], TableFormat()))


def test_short_recordings_are_judged_with_the_others_of_their_file(tmp_path):
    """Five seconds of circling arms hide gravity; a file of them is no file without gravity."""
    gravity, moved = walking()
    t = np.arange(ROWS) / RATE
    turn = 2 * np.pi * 1.5 * t
    circles = GRAVITY * np.stack([np.cos(turn), np.sin(turn), 0 * t], 1)
    acc = np.concatenate([gravity + moved, gravity - moved, circles[:250]])
    names = ["walk1"] * ROWS + ["walk2"] * ROWS + ["circles"] * 250
    columns = table_columns(
        len(acc), time=None, recording=names, **dict(zip(AXES, acc.T, strict=True))
    )
    path = write_csv(tmp_path / "a.csv", columns)
    assert len(list(Tables([path], TableFormat(rate_hz=RATE)))) == 3
    alone = write_csv(tmp_path / "b.csv", {k: v[-250:] for k, v in columns.items()})
    with pytest.raises(PrimusError, match=REMOVED):
        list(Tables([alone], TableFormat(rate_hz=RATE)))


def test_stretches_pass_over_missing_rows():
    acc = np.tile([0.0, 0.0, GRAVITY], (500, 1))
    acc[100:180] = np.nan
    acc[0] = np.nan
    found = stretches(acc, 50.0)
    assert len(found.mean) == 4
    np.testing.assert_allclose(found.mean, [[0, 0, GRAVITY]] * 4)
    assert len(pooled([]).mean) == 0
    assert len(pooled([found, found]).mean) == 8
    # windows of five seconds give two stretches each
    assert len(stretches(np.zeros((3, 250, 3)), 50.0).mean) == 6


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"acc_scale": np.float32(0.01 / GRAVITY)}, r"a\.npz.*It looks like g\. Expected signal"),
        ({"gyro_scale": np.float32(0.2)}, "It looks like deg/s"),
        ({"rate_hz": np.float32(5)}, "rate 5 Hz; expected 10 to 5,000"),
        ({"signal": np.zeros((4000, 6), np.float32)}, "signal float32.*expected int16"),
    ],
)
def test_packs_get_the_checks_of_tables(tmp_path, arrays, message):
    items = [recording(f"r{i}") for i in range(4)]
    with pytest.raises(PrimusError, match=message):
        list(Packs([write_pack(tmp_path / "a.npz", items, **arrays)]))


def test_a_pack_without_gravity_is_refused_and_one_without_gyroscope_is_not(tmp_path):
    items = [recording(f"r{i}") for i in range(4)]
    path = write_pack(tmp_path / "a.npz", items)
    with np.load(path) as pack:
        signal = pack["signal"].copy()
    moved = signal.copy()
    moved[:, :3] = 3 * (signal[:, :3] - signal[:, :3].mean(0))
    with pytest.raises(PrimusError, match=REMOVED):
        list(Packs([write_pack(path, items, signal=moved)]))
    signal[:, 3:] = 0
    assert [r.has_gyro for r in Packs([write_pack(path, items, signal=signal)])] == [False] * 4
    signal[:, 3:] = 5
    with pytest.raises(PrimusError, match="the gyroscope never changes"):
        list(Packs([write_pack(path, items, signal=signal)]))


def test_words_of_a_pack_are_stripped_and_missing_ones_are_none(tmp_path):
    words = [(" anna", "walking "), ("anna", "NaN"), ("None", "N/A"), ("ben ", "walking")]
    items = [recording(f"r{i}", subject=s, label=w, text=w) for i, (s, w) in enumerate(words)]
    found = list(Packs([write_pack(tmp_path / "a.npz", items)]))
    assert [r.label for r in found] == [r.text for r in found] == ["walking", "", "", "walking"]
    assert [r.subject for r in found] == ["mine/anna", "mine/anna", "unknown", "mine/ben"]


def test_five_seconds_without_gravity_are_enough(tmp_path):
    _, moved = walking(3.0)
    columns = table_columns(250, **dict(zip(AXES, moved[:250].T, strict=True)))
    path = write_csv(tmp_path / "a.csv", columns)
    for read in (lambda: list(Tables([path], TableFormat())), lambda: strictly(path)):
        with pytest.raises(PrimusError, match=REMOVED):
            read()
    with pytest.warns(SignalWarning, match=REMOVED):
        check_units(np.concatenate([moved[:250], 0 * moved[:250]], 1), RATE, "m/s2", "rad/s")


def test_one_recording_of_a_long_table_is_judged_by_itself(tmp_path):
    gravity, moved = walking(3.0)
    acc = np.concatenate([gravity + moved] * 3 + [moved])
    names = np.repeat(["a", "b", "c", "bad"], ROWS)
    columns = dict(zip(AXES, acc.T, strict=True)) | {"recording": names}
    path = write_csv(tmp_path / "a.csv", table_columns(len(acc), time=None, **columns))
    with pytest.raises(PrimusError, match=f"recording 'bad'.*{REMOVED}"):
        list(Tables([path], TableFormat(rate_hz=RATE)))


@pytest.mark.parametrize("stated", ["m/s2", "g"])
def test_a_sensor_at_rest_reads_one_g(tmp_path, stated):
    """Linear acceleration of a still phone in m/s^2, with the bias of a bad calibration."""
    still = np.array([0.3, 0.4, 0.1]) + np.random.default_rng(0).normal(0, 0.03, (ROWS, 3))
    path = write(tmp_path / "a.csv", still)
    with pytest.raises(PrimusError, match=REMOVED) as error:
        list(Tables([path], TableFormat(acc_unit=stated)))
    assert "pass --acc-unit" not in str(error.value)


def test_gravity_is_not_added_twice_nor_in_another_unit(tmp_path):
    gravity, _ = walking()
    rest = np.tile([0.0, GRAVITY, 0.0], (ROWS, 1))
    rest += np.random.default_rng(0).normal(0, 0.02, (ROWS, 3))
    parts = {f"g{axis}": rest[:, i] for i, axis in enumerate("xyz")}
    layout = TableFormat(gravity=("gx", "gy", "gz"))
    path = write(tmp_path / "a.csv", rest, **parts)
    with pytest.raises(PrimusError, match="Gravity is in the accelerometer twice"):
        list(Tables([path], layout))
    path = write(tmp_path / "b.csv", (rest - gravity) / GRAVITY, **parts)
    with pytest.raises(PrimusError, match=r"columns of gravity .* are 9\.81 long; in g"):
        list(Tables([path], TableFormat(gravity=("gx", "gy", "gz"), acc_unit="g")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda acc, gyro: (acc / GRAVITY, gyro), "'r7'.*It looks like g"),
        (lambda acc, gyro: (3 * (acc - acc.mean(0)), gyro), f"{REMOVED}.*4 of 10 recordings"),
        (lambda acc, gyro: (acc, 0 * gyro + 100), "'r7': the gyroscope never changes"),
    ],
)
def test_a_minority_of_a_pack_is_not_hidden_by_the_others(tmp_path, change, message):
    items = [recording(f"r{i}") for i in range(10)]
    path = write_pack(tmp_path / "a.npz", items)
    with np.load(path) as pack:
        signal = pack["signal"].astype(np.float64)
    for r in (7, 8, 9, 6) if "4 of 10" in message else (7,):
        rows = signal[1000 * r : 1000 * (r + 1)]
        rows[:, :3], rows[:, 3:] = change(rows[:, :3].copy(), rows[:, 3:].copy())
    keep = signal.astype(np.int16)
    with pytest.raises(PrimusError, match=message):
        list(Packs([write_pack(path, items, signal=keep)]))


def test_one_recording_of_a_pack_without_gyroscope_has_none(tmp_path):
    items = [recording(f"r{i}") for i in range(3)]
    path = write_pack(tmp_path / "a.npz", items)
    with np.load(path) as pack:
        signal = pack["signal"].copy()
    signal[1000:2000, 3:] = 0
    assert [r.has_gyro for r in Packs([write_pack(path, items, signal=signal)])] == [
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    "array", [np.arange(4), np.array([b"a"] * 4), np.array([1.0, np.nan, 2, 3])]
)
def test_words_of_a_pack_are_unicode(tmp_path, array):
    items = [recording(f"r{i}") for i in range(4)]
    with pytest.raises(PrimusError, match=r"subject holds .*; expected unicode strings"):
        list(Packs([write_pack(tmp_path / "a.npz", items, subject=array)]))


def test_a_gyroscope_may_be_still_at_first(tmp_path):
    """Every reader looks at the whole file before it states that nothing ever turns."""
    rows = 17_000
    columns = table_columns(rows)
    for name in ("gyro_x", "gyro_y", "gyro_z"):
        columns[name][:16_800] = 0
    path = write_csv(tmp_path / "a.csv", columns)
    assert len(list(Tables([path], TableFormat()))) == 1
    assert strictly(path)
    for name in ("gyro_x", "gyro_y", "gyro_z"):
        columns[name][:] = 0
    write_csv(path, columns)
    for read in (lambda: list(Tables([path], TableFormat())), lambda: strictly(path)):
        with pytest.raises(PrimusError, match="the gyroscope never changes"):
            read()
