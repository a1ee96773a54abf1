"""Xsens DOT, CSV of the sensor's own recording, in m/s^2 and deg/s.

Lines about the device stand above the header, `sep=,` among them. SampleTimeFine counts us in 32
bits and begins anew after 71.6 minutes, which is undone. FreeAcc lacks gravity and is not read.
MT Manager writes the same names in other units.
"""

from pathlib import Path

from primus_jax.errors import PrimusError
from primus_jax.recordings.apps.app import App, Export
from primus_jax.recordings.table_format import TableFormat
from primus_jax.recordings.text_file import read_sample


def _not_mt_manager(path: Path, layout: TableFormat) -> TableFormat:
    """Refuse an export of MT Manager.

    Raises:
        PrimusError: it is one.
    """
    if b"MT Manager" in read_sample(path):
        raise PrimusError(
            f"{path}: an export of MT Manager, whose gyroscope is in rad/s and whose "
            f"SampleTimeFine counts 0.1 ms. Leave --from out, and give --acc Acc_X Acc_Y Acc_Z "
            f"--gyro Gyr_X Gyr_Y Gyr_Z --no-time --rate HZ."
        )
    return layout


EXPORT = Export(
    TableFormat(
        acc=("Acc_X", "Acc_Y", "Acc_Z"),
        gyro=("Gyr_X", "Gyr_Y", "Gyr_Z"),
        time="SampleTimeFine",
        time_unit="us",
        gyro_unit="deg/s",
    ),
    adjust=_not_mt_manager,
)

APP = App(
    name="xsens-dot",
    title="Xsens DOT",
    exports=(EXPORT,),
    clock="SampleTimeFine, us in 32 bits",
    signs="+1 g upwards at rest",
    source="Xsens DOT user manual (logged data, custom mode)",
    sample=False,
)
