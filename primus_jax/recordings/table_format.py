"""Names, units and rate of the columns of a table of recordings."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.grid import TIME_UNITS
from primus_jax.window import ACC_UNITS, GYRO_UNITS

OPTIONAL = {"recording": "recording", "label": "label", "text": "text", "subject": "subject"}


@dataclasses.dataclass(frozen=True)
class TableFormat:
    """Names, units and rate of the columns.

    Attributes:
        acc: three columns, gravity included.
        gyro: three columns, or () where there is no gyroscope.
        time: column of times; "" takes the column `time` if the file has one; None means that there
            is none. Without it the rows are `1 / rate_hz` apart.
        time_unit: s, ms, us or ns.
        rate_hz: samples a second; measured from the times if None.
        acc_unit: m/s2 or g.
        gyro_unit: rad/s or deg/s.
        names: mapped columns for recording, label, text, subject; the column of that same name is
            taken where none is mapped and the file has it.
    """

    acc: tuple[str, ...] = ("acc_x", "acc_y", "acc_z")
    gyro: tuple[str, ...] = ("gyro_x", "gyro_y", "gyro_z")
    time: str | None = ""
    time_unit: str = "s"
    rate_hz: float | None = None
    acc_unit: str = "m/s2"
    gyro_unit: str = "rad/s"
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.acc) != 3 or len(self.gyro) not in (0, 3):
            raise PrimusError("expected three accelerometer columns, and three or no gyroscope.")
        for value, known in (
            (self.time_unit, TIME_UNITS),
            (self.acc_unit, ACC_UNITS),
            (self.gyro_unit, GYRO_UNITS),
        ):
            if value not in known:
                raise PrimusError(f"unit {value!r}; expected one of {list(known)}.")
        if self.rate_hz is not None and not (np.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise PrimusError(f"--rate {self.rate_hz!r}; expected a positive number of Hz.")
