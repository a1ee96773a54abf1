"""Axivity AX3 and AX6 (Open Movement), CSV of OmGui or cwa-convert, in g and deg/s.

The header is optional: `Time,Accel-X (g),...` and for the AX6 `Gyro-X (d/s)`. Times are a wall
clock. Without a header only the accelerometer is read, since light may stand where a gyroscope
would.
"""

from primus_jax.recordings.apps.app import App, Export
from primus_jax.recordings.table_format import TableFormat

_ACC = tuple(f"Accel-{axis} (g)" for axis in "XYZ")
_GYRO = tuple(f"Gyro-{axis} (d/s)" for axis in "XYZ")

APP = App(
    name="axivity",
    title="Axivity AX3 and AX6",
    exports=(
        Export(TableFormat(acc=_ACC, gyro=_GYRO, time="Time", acc_unit="g", gyro_unit="deg/s")),
        Export(TableFormat(acc=_ACC, gyro=(), time="Time", acc_unit="g")),
        Export(TableFormat(gyro=(), time="time", acc_unit="g")),
        Export(TableFormat(acc=("2", "3", "4"), gyro=(), time="1", acc_unit="g")),
    ),
    clock="Time, a wall clock; also .cwa, by actipy",
    signs="+1 g upwards at rest",
    source="github.com/openmovementproject/openmovement, documentation of omsynth and cwa-convert",
    sample=True,
)
