"""Physics Toolbox Sensor Suite (Vieyra Software): multi-record CSV, g-force and gyroscope.

`gFx` is the force per weight, so gravity is in it; `ax` is acceleration without gravity, and is not
read. `time` is in s, or a time of day.
"""

from primus_jax.recordings.apps.app import App, Export
from primus_jax.recordings.table_format import TableFormat

_ACC = ("gFx", "gFy", "gFz")

APP = App(
    name="physics-toolbox",
    title="Physics Toolbox Sensor Suite",
    exports=(
        Export(TableFormat(acc=_ACC, gyro=("wx", "wy", "wz"), time="time", acc_unit="g")),
        Export(TableFormat(acc=_ACC, gyro=(), time="time", acc_unit="g")),
    ),
    clock="time, s from the start or the time of day",
    signs="+1 g upwards at rest",
    source="vieyrasoftware.net; header as in public recordings on GitHub",
    sample=True,
)
