"""Options for the meaning of the columns of a user's own CSV or Parquet files."""

import argparse
from typing import TYPE_CHECKING

from primus_jax.window import ACC_UNITS, GYRO_UNITS

if TYPE_CHECKING:
    from primus_jax.recordings.table_format import TableFormat


def add_table_format(parser: argparse.ArgumentParser) -> None:
    """Declare names and units of the channels, and the clock."""
    xyz = ("X", "Y", "Z")
    parser.add_argument(
        "--acc", nargs=3, metavar=xyz, default=["acc_x", "acc_y", "acc_z"], help="columns"
    )
    gyro = parser.add_mutually_exclusive_group()
    gyro.add_argument(
        "--gyro", nargs=3, metavar=xyz, default=["gyro_x", "gyro_y", "gyro_z"], help="columns"
    )
    gyro.add_argument("--no-gyro", action="store_true", help="there is no gyroscope")
    parser.add_argument("--acc-unit", choices=ACC_UNITS, default="m/s2")
    parser.add_argument("--gyro-unit", choices=GYRO_UNITS, default="rad/s")
    clock = parser.add_mutually_exclusive_group()
    clock.add_argument(
        "--time", default="", help="column of times (default: time, if the file has it)"
    )
    clock.add_argument(
        "--no-time", action="store_true", help="the file has no times; rows are 1 / RATE apart"
    )
    parser.add_argument("--time-unit", choices=("s", "ms", "us", "ns"), default="s")
    parser.add_argument(
        "--rate", type=float, help="Hz; needed without times, else compared with the times"
    )


def add_names(parser: argparse.ArgumentParser, *names: str) -> None:
    """Declare the columns that identify a row: recording, label, text, subject."""
    for name in names:
        parser.add_argument(
            f"--{name}-column", default="", help=f"(default: {name}, if the file has it)"
        )


def table_format(args: argparse.Namespace) -> "TableFormat":
    """The `TableFormat` that these options describe.

    Raises:
        PrimusError: impossible values.
    """
    from primus_jax.recordings.chunks import distinct
    from primus_jax.recordings.table_format import TableFormat

    layout = TableFormat(
        acc=tuple(args.acc),
        gyro=() if args.no_gyro else tuple(args.gyro),
        time=None if args.no_time else args.time,
        time_unit=args.time_unit,
        rate_hz=args.rate,
        acc_unit=args.acc_unit,
        gyro_unit=args.gyro_unit,
        names={
            name: getattr(args, f"{name}_column", "")
            for name in ("recording", "label", "text", "subject")
        },
    )
    return distinct(layout)
