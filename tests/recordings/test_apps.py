"""`--from APP`: a small export of each app, as it is described, becomes the same movement."""

import sys
import types

import numpy as np
import pytest

from data_prep.user.tables import Tables
from primus_jax.commands.source_options import APP_NAMES
from primus_jax.errors import PrimusError
from primus_jax.recordings.apps import APPS
from tests.support.sensor_files import RATE, at, write

ROWS = 400
TIME = np.arange(ROWS) / RATE
SI = at(TIME)
ACC, GYRO = SI[:, :3], SI[:, 3:]
G, DEG = 9.80665, np.pi / 180
GRAVITY = np.tile([0.0, 0.0, G], (ROWS, 1))


def xyz(template, axes="XYZ"):
    return [template.format(axis) for axis in axes]


def written(template="%Y-%m-%d %H:%M:%S."):
    moments = np.datetime64("2024-03-25T10:00:00.000") + np.round(TIME * 1000).astype(
        "timedelta64[ms]"
    )
    return np.array(
        [m.item().strftime(template) + f"{m.item().microsecond // 1000:03d}" for m in moments]
    )


def sensor_logger(folder):
    names = ["time", "seconds_elapsed", "z", "y", "x"]
    ns = (1_717_000_000_000_000_000 + np.round(TIME * 1e9)).astype(np.int64)
    for person, sign in (("android", 0), ("ios", -1)):
        files = {"Gyroscope": GYRO}
        if sign:
            files |= {"Accelerometer": -(ACC - GRAVITY), "Gravity": -GRAVITY}
            write(
                folder / person / "Metadata.csv",
                ["platform", "standardisation"],
                [["ios"], ["false"]],
            )
        else:
            files |= {"Accelerometer": ACC - GRAVITY, "TotalAcceleration": ACC}
        for name, values in files.items():
            write(folder / person / f"{name}.csv", names, [ns, TIME, *values[:, ::-1].T])
    return [folder / "ios"]


def phyphox(folder):
    write(
        folder / "Accelerometer.csv",
        ["Time (s)", *xyz("Acceleration {} (m/s^2)", "xyz")],
        [TIME, *ACC.T],
    )
    write(
        folder / "Gyroscope.csv", ["Time (s)", *xyz("Gyroscope {} (rad/s)", "xyz")], [TIME, *GYRO.T]
    )
    return [folder]


def sensorlog(folder):
    names = [
        "loggingTime(txt)",
        "motionTimestamp_sinceReboot(s)",
        *xyz("motionRotationRate{}(rad/s)"),
        *xyz("motionUserAcceleration{}(G)"),
        *xyz("motionGravity{}(G)"),
    ]
    values = [written(), TIME + 9e4, *GYRO.T, *(-(ACC - GRAVITY) / G).T, *(-GRAVITY / G).T]
    return [write(folder / "a.csv", names, values)]


def physics_toolbox(folder):
    names = ["time", "gFx", "gFy", "gFz", "ax", "ay", "az", "wx", "wy", "wz"]
    return [write(folder / "a.csv", names, [TIME, *(ACC / G).T, *(ACC - GRAVITY).T, *GYRO.T])]


def actigraph(folder):
    above = [
        "------------ Data File Created By ActiGraph GT9X ActiLife v6.13.4 date format d/M/yyyy at "
        "50 Hz  Filter Normal -----------", *["Serial Number: X"] * 8, "-" * 50,
    ]  # fmt: skip
    names = ["Timestamp", *xyz("Accelerometer {}"), *xyz("Gyroscope {}")]
    columns = [written("%d/%m/%Y %H:%M:%S."), *(ACC / G).T, *(GYRO / DEG).T]
    return [write(folder / "a.csv", names, columns, above)]


def geneactiv(folder):
    light = np.zeros(ROWS, int)
    columns = [written("%Y-%m-%d %H:%M:%S:"), *(ACC / G).T, light, light, TIME * 0 + 24.5]
    return [write(folder / "a.csv", [], columns, [f"Line {k},value" for k in range(100)])]


def axivity(folder):
    names = ["Time", *xyz("Accel-{} (g)"), *xyz("Gyro-{} (d/s)")]
    return [write(folder / "a.csv", names, [written(), *(ACC / G).T, *(GYRO / DEG).T])]


def xsens_dot(folder):
    names = ["PacketCounter", "SampleTimeFine", *xyz("Acc_{}"), *xyz("Gyr_{}")]
    stamps = (2**32 - 2_000_000 + np.round(TIME * 1e6).astype(np.int64)) % 2**32
    columns = [np.arange(ROWS), stamps, *ACC.T, *(GYRO / DEG).T]
    return [write(folder / "a.csv", names, columns, ["sep=,", "DeviceTag:,left wrist", ""])]


def shimmer(folder):
    names = [
        f"Shimmer_8665_{n}"
        for n in ("Timestamp_Unix_CAL", *xyz("Accel_LN_{}_CAL"), *xyz("Gyro_{}_CAL"))
    ]
    units = ["ms", *["m/(s^2)"] * 3, *["deg/s"] * 3]
    columns = [
        np.append(u, c)
        for u, c in zip(units, [1.7e12 + TIME * 1000, *ACC.T, *(GYRO / DEG).T], strict=True)
    ]
    path = write(folder / "a.csv", names, columns, ['"sep=\t"'])
    path.write_text(path.read_text().replace(",", "\t"))
    return [path]


def mbientlab(folder):
    epoch = np.round(1.7e12 + TIME * 1000).astype(np.int64)
    for sensor, values, unit, rate in (
        ("Accelerometer", ACC / G, "g", "50.000"),
        ("Gyroscope", GYRO / DEG, "deg/s", "100.000"),
    ):
        names = ["epoch (ms)", "time (01:00)", "elapsed (s)", *xyz(f"{{}}-axis ({unit})", "xyz")]
        write(
            folder / f"MW_2024_D3_{sensor}_{rate}Hz_1.4.5.csv",
            names,
            [epoch, written(), TIME, *values.T],
        )
    return [folder]


MAKERS = {
    "sensor-logger": sensor_logger, "phyphox": phyphox, "sensorlog": sensorlog,
    "physics-toolbox": physics_toolbox, "actigraph": actigraph, "geneactiv": geneactiv,
    "axivity": axivity, "xsens-dot": xsens_dot, "movella": xsens_dot, "shimmer": shimmer,
    "mbientlab": mbientlab,
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
def test_an_export_is_read_in_si_units_with_gravity_upwards(name, tmp_path):
    paths = MAKERS[name](tmp_path / "export")
    sources, layout = APPS[name].find(paths)
    (found,) = Tables(sources, layout)
    assert found.rate_hz == RATE
    expected = SI if found.has_gyro else np.concatenate([ACC, 0 * GYRO], 1)
    np.testing.assert_allclose(found.signal[2:-2], expected[2:-2], atol=5e-3)


def test_all_apps_are_offered_and_described():
    assert tuple(APPS) == APP_NAMES
    assert all(app.source and app.title for app in APPS.values())


def test_sensor_logger_of_android_and_the_sign_of_ios(tmp_path):
    sensor_logger(tmp_path)
    sources, layout = APPS["sensor-logger"].find([tmp_path / "android"])
    assert layout.gravity == ()
    (found,) = Tables(sources, layout)
    np.testing.assert_allclose(found.signal[2:-2], SI[2:-2], atol=5e-3)
    (tmp_path / "ios" / "Metadata.csv").unlink()
    with pytest.raises(PrimusError, match="the sign of the accelerometer is not known"):
        APPS["sensor-logger"].find([tmp_path / "ios"])
    with pytest.raises(PrimusError, match="Give the recording's folder"):
        APPS["sensor-logger"].find([tmp_path / "android" / "Gyroscope.csv"])


def test_actigraph_without_times_takes_the_rate_of_its_first_line(tmp_path):
    (path,) = actigraph(tmp_path)
    lines = path.read_text().splitlines()
    rows = [",".join(line.split(",")[1:4]) for line in lines[10:]]
    path.write_text("\n".join([*lines[:10], *rows]))
    sources, layout = APPS["actigraph"].find([path])
    assert (layout.time, layout.rate_hz, layout.gyro) == (None, 50.0, ())
    assert len(list(Tables(sources, layout))) == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("apple-health", "time\n1\n", "no samples of accelerometer or gyroscope"),
        ("phyphox", "time,a\n1,2\n", "not an export of phyphox. It has the columns"),
        ("mbientlab", "time,a\n1,2\n", "a file for each sensor; give the folder"),
        ("xsens-dot", "// MT Manager version: 2022\nSampleTimeFine,Acc_X,Acc_Y,Acc_Z,Gyr_X,"
         + "Gyr_Y,Gyr_Z\n" + "1,2,3,4,5,6,7\n" * 9, "an export of MT Manager"),
    ],
)  # fmt: skip
def test_other_files_are_refused_in_a_sentence(tmp_path, name, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(PrimusError, match=message):
        APPS[name].find([path])


def test_a_devices_own_file_goes_through_actipy(tmp_path, monkeypatch):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "wrist.cwa"
    path.write_bytes(b"MD")
    monkeypatch.setitem(sys.modules, "actipy", None)
    sources, layout = APPS["axivity"].find([path])
    with pytest.raises(
        PrimusError, match=r"needs actipy and Java: pip install 'primus-jax\[devices\]'"
    ):
        list(Tables(sources, layout))

    def read_device(name, **options):
        index = pandas.DatetimeIndex(
            pandas.to_datetime(1_700_000_000_000 + TIME * 1000, unit="ms"), name="time"
        )
        return pandas.DataFrame(ACC / G, index, ["x", "y", "z"]), {}

    monkeypatch.setitem(sys.modules, "actipy", types.SimpleNamespace(read_device=read_device))
    (found,) = Tables(sources, layout)
    np.testing.assert_allclose(found.signal[:, :3], ACC, atol=1e-4)

    def broken(name, **options):
        raise RuntimeError("not a CWA file")

    monkeypatch.setitem(sys.modules, "actipy", types.SimpleNamespace(read_device=broken))
    with pytest.raises(PrimusError, match="actipy cannot read the file"):
        list(Tables(sources, layout))
