"""phyphox (RWTH Aachen), Android and iOS: CSV with commas, semicolons or tabs, points or commas.

An experiment of one sensor writes "Raw Data.csv"; one of several sensors writes a file for each.
Names are those of the English app. "Linear Acceleration" lacks gravity.
"""

from primus_jax.recordings.apps.app import App, Export
from primus_jax.recordings.table_format import TableFormat


def _xyz(name: str, unit: str) -> tuple[str, ...]:
    return tuple(f"{name}{axis} ({unit})" for axis in ("xyz" if name else "XYZ"))


_TIME = "Time (s)"
_ACC, _GYRO = _xyz("Acceleration ", "m/s^2"), _xyz("Gyroscope ", "rad/s")

APP = App(
    name="phyphox",
    title="phyphox",
    exports=(
        Export(TableFormat(acc=_ACC, gyro=_GYRO, time=_TIME)),
        Export(TableFormat(acc=_ACC, gyro=(), time=_TIME)),
        Export(
            TableFormat(acc=_ACC, gyro=_GYRO, time=_TIME, separate=True),
            {"acc": "Accelerometer.csv", "gyro": "Gyroscope.csv"},
        ),
        Export(
            TableFormat(acc=_xyz("", "m/s^2"), gyro=_xyz("", "rad/s"), time=_TIME, separate=True),
            {"acc": "Accelerometer.csv", "gyro": "Gyroscope.csv"},
        ),
    ),
    clock="Time (s), s from the start of the experiment, one clock for all sensors",
    signs="+1 g upwards at rest, on Android and on iOS",
    source="phyphox.org/wiki (data export, sensor inputs)",
    sample=False,
)
