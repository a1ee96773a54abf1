"""Sensor Logger (Kelvin Choi), phone and watch, Android and iOS.

`time` is in ns since 1970, `seconds_elapsed` in s since the start, and the order of the columns is
z, y, x. Android writes TotalAcceleration.csv with gravity. iOS writes Accelerometer.csv without it
and Gravity.csv, with Apple's sign unless "Standardise Units & Frames" is on (Metadata.csv).
"""

import dataclasses
from pathlib import Path

from primus_jax.errors import PrimusError
from primus_jax.recordings.apps.app import App, Export
from primus_jax.recordings.columns import open_table, read_columns
from primus_jax.recordings.table_format import TableFormat

_XYZ = ("x", "y", "z")
_CLOCK = "seconds_elapsed"


def _sign(path: Path, layout: TableFormat) -> TableFormat:
    """Read from Metadata.csv whether the recording has Apple's sign.

    Raises:
        PrimusError: Metadata.csv is missing, so that the sign is not known.
    """
    metadata = path.parent / "Metadata.csv"
    names = open_table(metadata).names if metadata.is_file() else ()
    if "platform" not in names:
        raise PrimusError(
            f"{path}: Metadata.csv is not beside it, and without it the sign of the accelerometer "
            f"is not known. Put it there; or give --acc-file, --gravity-file and --gyro-file, and "
            f"--invert-acc for a recording of iOS."
        )
    wanted = [name for name in ("platform", "standardisation") if name in names]
    words = read_columns(metadata, [], wanted).text
    apple = words["platform"][0].lower() == "ios"
    standard = "standardisation" in words and words["standardisation"][0].lower() == "true"
    return dataclasses.replace(layout, invert_acc=apple and not standard)


def _with_gravity(path: Path, layout: TableFormat) -> TableFormat:
    """Refuse a table of another sensor, which has columns of the same names.

    Raises:
        PrimusError: it is not called TotalAcceleration.
    """
    if "total" not in path.name.lower():
        raise PrimusError(
            f"{path}: of the files of Sensor Logger, TotalAcceleration.csv alone holds an "
            f"accelerometer with gravity. Give the recording's folder, which has the other sensors."
        )
    return layout


APP = App(
    name="sensor-logger",
    title="Sensor Logger",
    exports=(
        Export(
            TableFormat(acc=_XYZ, gyro=_XYZ, time=_CLOCK, separate=True),
            {"acc": "TotalAcceleration.csv", "gyro": "Gyroscope.csv"},
        ),
        Export(
            TableFormat(acc=_XYZ, gyro=_XYZ, gravity=_XYZ, time=_CLOCK, separate=True),
            {"acc": "Accelerometer.csv", "gyro": "Gyroscope.csv", "gravity": "Gravity.csv"},
            adjust=_sign,
        ),
        # WristMotion.csv of the watch
        Export(
            TableFormat(
                acc=tuple(f"acceleration{axis}" for axis in "XYZ"),
                gravity=tuple(f"gravity{axis}" for axis in "XYZ"),
                gyro=tuple(f"rotationRate{axis}" for axis in "XYZ"),
                time=_CLOCK,
                acc_unit="g",
                invert_acc=True,
            )
        ),
        Export(TableFormat(acc=_XYZ, gyro=(), time=_CLOCK), adjust=_with_gravity),
    ),
    clock="seconds_elapsed, s from the start",
    signs="+1 g upwards at rest; Apple's sign is changed by what Metadata.csv states",
    source="github.com/tszheichoi/awesome-sensor-logger, UNITS.md and CROSSPLATFORM.md",
    sample=False,
)
