"""Ego-Exo4D: inertial data of Aria glasses with narrations, activities, keysteps and video."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.egoexo4d.tasks import TASKS
from primus_jax.errors import PrimusError

if TYPE_CHECKING:
    from data_prep.egoexo4d.units import EgoExo4D

TITLE = "Ego-Exo4D: skilled activities seen and felt by Project Aria glasses"
DOWNLOAD = (
    "Sign the licence agreement at https://ego-exo4d-data.org (about two days), then "
    "`pip install ego4d` and `egoexo -o DIR --parts metadata annotations captures "
    "take_vrs_noimagestream` (about 1.05 TB, --splits and --uids choose less; with video also "
    "downscaled_takes/448 --views ego). Reading VRS needs pip install 'primus-jax[aria]'."
)
# The first of each is the default.
STREAMS = ("right", "left")
SOURCES = ("auto", "vrs", "csv")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this corpus."""
    group = parser.add_argument_group("Ego-Exo4D")
    group.add_argument(
        "--raw", type=Path, required=True, metavar="DIR", help="the folder that `egoexo` filled"
    )
    group.add_argument(
        "--task",
        choices=TASKS,
        default=TASKS[0],
        help="windows around atomic descriptions (default); PRIMUS's eight activities; keysteps",
    )
    group.add_argument(
        "--stream",
        choices=STREAMS,
        default=STREAMS[0],
        help="IMU of the right temple (1202-1, 1000 Hz; default) or the left (1202-2, 800 Hz)",
    )
    group.add_argument(
        "--imu",
        choices=SOURCES,
        default=SOURCES[0],
        help="files to read; auto takes a take's CSV file if there is one, else its VRS",
    )
    group.add_argument(
        "--max-clock-error",
        type=float,
        default=0.01,
        metavar="FRACTION",
        help="refuse takes whose clock or sampling rate is further off (default 0.01)",
    )
    group.add_argument(
        "--max-offset",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="refuse takes whose first sample lies further from their start; without timesync.csv, "
        "whose IMU and video differ more in length (default 1)",
    )
    group.add_argument(
        "--bad-windows", type=Path, metavar="FILE", help="leave these out: lines takeuid_start_end"
    )
    group.add_argument(
        "--others", action="store_true", help="keep sentences about other people and things"
    )
    group.add_argument(
        "--drop-unsure", action="store_true", help="leave sentences marked unsure out"
    )
    group.add_argument(
        "--keep-rejected",
        action="store_true",
        help="keep annotations that the publishers rejected",
    )
    group.add_argument(
        "--alignment-report",
        type=Path,
        metavar="DIR",
        help="where offset, clock error, rate, gaps and coverage of every take are written, a JSON "
        "file each (default: OUT.alignment)",
    )


def corpus(args: argparse.Namespace) -> "EgoExo4D":
    """The corpus that parsed options describe.

    Raises:
        PrimusError: no such folder, a limit that is not positive, or a file that is not a list of
            bad windows.
    """
    from data_prep.egoexo4d.alignment import Limits
    from data_prep.egoexo4d.units import EgoExo4D
    from data_prep.quality import read_bad_windows

    if not (args.raw / "takes.json").is_file():
        raise PrimusError(f"{args.raw}: no takes.json; expected an Ego-Exo4D download. {DOWNLOAD}")
    for option in ("max_clock_error", "max_offset"):
        value = getattr(args, option)
        if not 0 < value < float("inf"):
            raise PrimusError(
                f"--{option.replace('_', '-')} {value}; expected a positive finite number."
            )
    if args.bad_windows:
        read_bad_windows(args.bad_windows)
    return EgoExo4D(
        raw=args.raw,
        task=args.task,
        stream=args.stream,
        imu=args.imu,
        window_seconds=args.window,
        limits=Limits(args.max_clock_error, args.max_offset),
        others=args.others,
        unsure=not args.drop_unsure,
        rejected=args.keep_rejected,
        bad_windows=args.bad_windows,
        alignment_report=args.alignment_report or args.out.with_name(f"{args.out.name}.alignment"),
    )
