"""MbientLab MetaWear and MetaMotion, CSV of MetaBase: a file for each sensor, in g and deg/s.

Files are called NAME_DATE_ADDRESS_Accelerometer_100.000Hz_1.4.5.csv, and likewise for Gyroscope.
Old versions write `epoc (ms)`.
"""

from primus_jax.recordings.apps.app import App, Export
from primus_jax.recordings.table_format import TableFormat

APP = App(
    name="mbientlab",
    title="MbientLab MetaWear",
    exports=(
        Export(
            TableFormat(
                acc=tuple(f"{axis}-axis (g)" for axis in "xyz"),
                gyro=tuple(f"{axis}-axis (deg/s)" for axis in "xyz"),
                time="epoc* (ms)",
                time_unit="ms",
                acc_unit="g",
                gyro_unit="deg/s",
                separate=True,
            ),
            {"acc": "*Accelerometer*.csv", "gyro": "*Gyroscope*.csv"},
            # the rate in the name may differ between the sensors
            compared=2,
        ),
    ),
    clock="epoch (ms), Unix time in ms, one clock for both sensors",
    signs="+1 g upwards at rest",
    source="MetaBase user guide; files as in the public dataset ClassyGlass",
    sample=True,
)
