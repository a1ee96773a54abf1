"""Options that state which files a recording is in: one table, a file for each sensor, an app."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from primus_jax.commands.table_options import table_format
from primus_jax.errors import PrimusError

if TYPE_CHECKING:
    from data_prep.user.intervals import Intervals
    from data_prep.user.naming import PathNames
    from primus_jax.recordings.sources import Source
    from primus_jax.recordings.table_format import TableFormat

APP_NAMES = (
    "sensor-logger", "phyphox", "sensorlog", "physics-toolbox", "actigraph", "geneactiv",
    "axivity", "xsens-dot", "movella", "shimmer", "mbientlab", "apple-health",
)  # fmt: skip
_SENSORS = ("acc", "gyro", "gravity")


def add_sources(parser: argparse._ActionsContainer, metavar: str, what: str = "") -> None:
    """Declare files, folders of an app, and patterns of files for each sensor.

    Args:
        parser: or a group of it.
        metavar: of the files.
        what: they hold, for the help.
    """
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar=metavar,
        help=f"CSV, Parquet or a device's own file{', ' + what if what else ''}; with --from also "
        f"a folder",
    )
    parser.add_argument(
        "--from",
        dest="app",
        choices=APP_NAMES,
        metavar="APP",
        help="the app or device that exported the files: its columns, units, sign and clock. One "
        "of " + ", ".join(APP_NAMES),
    )
    for sensor in _SENSORS:
        parser.add_argument(
            f"--{sensor}-file",
            metavar="PATTERN",
            help=f"files of the {sensor} alone, in place of FILE, such as 'data/*/{sensor}.csv'; "
            f"wildcards stand for the same words in all patterns",
        )


def add_naming(parser: argparse._ActionsContainer) -> None:
    """Declare the patterns that read names from paths."""
    for name, example in (("recording", "{recording}/*.csv"), ("subject", "{subject}/**/*.csv")):
        parser.add_argument(
            f"--{name}-from-path",
            default="",
            metavar="PATTERN",
            help=f"read the {name} from the end of each file's path, such as '{example}'",
        )


def add_intervals(parser: argparse._ActionsContainer) -> None:
    """Declare labels that stand in files of their own."""
    parser.add_argument(
        "--intervals",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="labels as intervals: CSV with recording, start, end, label, or an export of ELAN "
        "(tab-delimited text), BORIS (CSV) or Label Studio (JSON)",
    )
    parser.add_argument("--tier", default="", help="the layer of --intervals, where it has several")


def intervals(args: argparse.Namespace) -> "Intervals | None":
    """The labels of the options.

    Raises:
        PrimusError: files that hold none, or a column of labels beside them.
    """
    from data_prep.user.intervals import read_intervals

    if not args.intervals:
        return None
    if args.label_column:
        raise PrimusError("--label-column and --intervals; expected labels from one of the two.")
    return read_intervals(args.intervals, args.tier)


def naming(args: argparse.Namespace) -> "PathNames":
    """The names that stand in paths, by the options."""
    from data_prep.user.naming import PathNames

    return PathNames(args.recording_from_path, args.subject_from_path)


def read_sources(
    args: argparse.Namespace, remembered: "TableFormat | None" = None
) -> "tuple[list[Source], TableFormat]":
    """The recordings that the options name, and their format; prints how the files are written.

    Args:
        args: of the command.
        remembered: stands for the options that are left out; None for the usual format.

    Raises:
        PrimusError: no files, files that do not belong together, or impossible options.
    """
    from primus_jax.recordings.apps import APPS
    from primus_jax.recordings.path_pattern import sensor_files
    from primus_jax.recordings.table_format import TableFormat

    patterns = {s: getattr(args, f"{s}_file") for s in _SENSORS if getattr(args, f"{s}_file")}
    base = remembered or TableFormat()
    sources: list[Source]
    if patterns:
        if args.files or args.app or "acc" not in patterns or len(patterns) < 2:
            raise PrimusError(
                "expected --acc-file with --gyro-file, --gravity-file or both, and then neither "
                "FILE nor --from."
            )
        sources = list(sensor_files(patterns))
        base = dataclasses.replace(base, separate=True)
        if "gyro" not in patterns and not args.no_gyro:
            raise PrimusError("no --gyro-file. If there is no gyroscope, pass --no-gyro.")
    elif not args.files:
        raise PrimusError("no files; expected FILE, or --acc-file and --gyro-file.")
    elif args.app:
        app = APPS[args.app]
        sources, base = app.find(args.files)
        print(_described(app.title, base), flush=True)
    else:
        sources = list(args.files)
    layout = table_format(args, base)
    print_dialects(sources, layout)
    return sources, layout


def _described(title: str, layout: "TableFormat") -> str:
    """What is taken from an app, in a line."""
    parts = [f"accelerometer {' '.join(layout.acc)} in {layout.acc_unit}"]
    if layout.gravity:
        parts.append(f"gravity {' '.join(layout.gravity)} added")
    if layout.invert_acc:
        parts.append("its sign changed")
    if layout.gyro:
        parts.append(f"gyroscope {' '.join(layout.gyro)} in {layout.gyro_unit}")
    clock = f"{layout.time} (numbers in {layout.time_unit})" if layout.time else "none"
    return f"{title}: {'; '.join(parts)}; times: {clock}"


def print_dialects(sources: "Sequence[Source]", layout: "TableFormat") -> None:
    """Print how each CSV file is written, where that differs from a plain one.

    Raises:
        PrimusError: no such file, or not a table.
    """
    from primus_jax.recordings.columns import open_table
    from primus_jax.recordings.sources import files_of

    wanted = [name for name in layout.acc if "*" not in name]
    for source in sources:
        for k, path in enumerate(files_of(source)):
            dialect = open_table(path, layout.text, [] if k else wanted).dialect
            if dialect is not None and (found := dialect.found()):
                print(f"{path}: {'; '.join(found)}", flush=True)


def print_done(done: Mapping[str, int]) -> None:
    """Print what was done to the times of the rows."""
    for what, count in sorted(done.items()):
        if count:
            print(f"  {count:,} {what}")
