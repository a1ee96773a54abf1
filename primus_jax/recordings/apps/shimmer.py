"""Shimmer3, CSV of Consensys, calibrated: m/s^2 and deg/s, with a row of units.

Names begin with that of the device, such as Shimmer_8665_Accel_LN_X_CAL. The low-noise
accelerometer (LN) is read before the wide-range one (WR).
"""

from primus_jax.recordings.apps.app import App, Export
from primus_jax.recordings.table_format import TableFormat


def _export(acc: str, gyro: str) -> Export:
    return Export(
        TableFormat(
            acc=tuple(f"*_Accel_{acc}_{axis}_CAL" for axis in "XYZ"),
            gyro=tuple(f"*_Gyro_{axis}_CAL" for axis in "XYZ") if gyro else (),
            time="*_Timestamp*Unix_CAL",
            time_unit="ms",
            gyro_unit="deg/s",
        )
    )


APP = App(
    name="shimmer",
    title="Shimmer3",
    exports=(_export("LN", "gyro"), _export("WR", "gyro"), _export("LN", ""), _export("WR", "")),
    clock="Timestamp_Unix_CAL, ms since 1970, or its written form",
    signs="+1 g upwards at rest",
    source="Consensys user guide; names as in public exports on GitHub",
    sample=True,
)
