"""Options for the meaning of the columns of a user's own CSV or Parquet files."""

import argparse
import dataclasses
from typing import TYPE_CHECKING

from primus_jax.errors import PrimusError
from primus_jax.recordings.clock import TIME_UNITS
from primus_jax.recordings.written_times import DATE_ORDERS
from primus_jax.window import ACC_UNITS, GYRO_UNITS

if TYPE_CHECKING:
    from primus_jax.recordings.dialect import TextOptions
    from primus_jax.recordings.table_format import TableFormat

_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "blank": " "}


def add_table_format(parser: argparse._ActionsContainer, remembered: str = "") -> None:
    """Declare names and units of the channels, and the clock.

    Args:
        parser: or a group of it.
        remembered: whose format is taken where an option is left out; "" for the usual one.
    """
    xyz = ("X", "Y", "Z")

    def default(usual: str) -> str:
        return f"(default: {f'those of {remembered}' if remembered else usual})"

    parser.add_argument(
        "--acc",
        nargs=3,
        metavar=xyz,
        help=f"columns, +1 g upwards at rest {default('acc_x acc_y acc_z')}",
    )
    gyro = parser.add_mutually_exclusive_group()
    gyro.add_argument(
        "--gyro", nargs=3, metavar=xyz, help=f"columns {default('gyro_x gyro_y gyro_z')}"
    )
    gyro.add_argument("--no-gyro", action="store_true", help="there is no gyroscope")
    parser.add_argument(
        "--gravity",
        nargs=3,
        metavar=("GX", "GY", "GZ"),
        help="columns of gravity, in --acc-unit, that are added to an accelerometer without it "
        "(userAcceleration, linear acceleration)",
    )
    parser.add_argument(
        "--invert-acc",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="change the accelerometer's sign: Apple's exports read -1 g upwards at rest",
    )
    parser.add_argument("--acc-unit", choices=ACC_UNITS, help=default("m/s2"))
    parser.add_argument("--gyro-unit", choices=GYRO_UNITS, help=default("rad/s"))
    for sensor in ("acc", "gyro"):
        parser.add_argument(
            f"--scale-{sensor}",
            type=_scale,
            metavar="S",
            help=f"one count in --{sensor}-unit, as a number or a quotient such as 1/16384",
        )
    clock = parser.add_mutually_exclusive_group()
    clock.add_argument("--time", help=f"column of times {default('time, if the file has it')}")
    clock.add_argument(
        "--no-time", action="store_true", help="the file has no times; rows are 1 / RATE apart"
    )
    parser.add_argument("--time-unit", choices=TIME_UNITS, help=default("s"))
    parser.add_argument(
        "--rate", type=float, help="Hz; needed without times, else compared with the times"
    )
    _add_text(parser)


def _scale(text: str) -> float:
    """A number or a quotient of two."""
    above, _, below = text.partition("/")
    try:
        return float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(
            f"{text!r}; expected a number or a quotient such as 1/16384"
        ) from None


def _add_text(group: argparse._ActionsContainer) -> None:
    """Declare how a CSV file is written; what is left out is found in its first lines."""
    group.add_argument("--encoding", help="such as cp1252 or utf-16 (default: found)")
    group.add_argument(
        "--delimiter", choices=sorted(_DELIMITERS), help="between columns (default: found)"
    )
    group.add_argument("--decimal", metavar="MARK", help="point or comma: . or , (default: found)")
    group.add_argument(
        "--time-format",
        choices=DATE_ORDERS,
        help="of written dates that end with the year (default: found where a day is above 12)",
    )
    group.add_argument(
        "--time-zone", metavar="NAME", help="of written times without one, such as Europe/Berlin"
    )
    above = group.add_mutually_exclusive_group()
    above.add_argument(
        "--header-line",
        type=int,
        metavar="N",
        help="line of the column names, from 1; 0: there is none, and columns are called 1, 2... "
        "(default: found)",
    )
    above.add_argument("--skip-lines", type=int, metavar="N", help="lines above the header")


def add_names(parser: argparse._ActionsContainer, *names: str) -> None:
    """Declare the columns that identify a row: recording, label, text, subject."""
    for name in names:
        parser.add_argument(
            f"--{name}-column", default="", help=f"(default: {name}, if the file has it)"
        )


def table_format(
    args: argparse.Namespace, remembered: "TableFormat | None" = None
) -> "TableFormat":
    """The `TableFormat` that these options describe.

    Args:
        args: of the command.
        remembered: stands for the options that are left out; None for the usual format.

    Raises:
        PrimusError: impossible values.
    """
    from primus_jax.recordings.dialect import TextOptions
    from primus_jax.recordings.table_format import TableFormat

    delimiter = None if args.delimiter is None else _DELIMITERS[args.delimiter]
    written = TextOptions(
        args.encoding,
        delimiter,
        args.decimal,
        args.header_line,
        args.skip_lines,
        args.time_format,
        args.time_zone,
    )
    given = {
        "text": None if written == TextOptions() else written,
        "acc": args.acc and tuple(args.acc),
        "gyro": () if args.no_gyro else args.gyro and tuple(args.gyro),
        "gravity": args.gravity and tuple(args.gravity),
        "invert_acc": args.invert_acc,
        "acc_unit": args.acc_unit,
        "gyro_unit": args.gyro_unit,
        "scale_acc": args.scale_acc,
        "scale_gyro": args.scale_gyro,
        "time": args.time,
        "time_unit": args.time_unit,
        "rate_hz": args.rate,
        "names": _names(args, remembered),
    }
    given = {name: value for name, value in given.items() if value is not None}
    if args.no_time:
        given["time"] = None
    # what was remembered beside another column describes that column alone
    if "acc" in given:
        given.setdefault("gravity", ())
    if "time" in given and args.rate is None:
        given["rate_hz"] = None
    layout = dataclasses.replace(remembered or TableFormat(), **given)
    if layout.time is None and args.time_unit is not None:
        raise PrimusError("--time-unit without times. Leave --no-time out, or the unit.")
    return layout


def stated_fields(args: argparse.Namespace) -> frozenset[str]:
    """The fields of `TableFormat` that options state."""
    same = ("acc", "gravity", "invert_acc", "acc_unit", "gyro_unit", "scale_acc", "scale_gyro")
    stated = {name for name in (*same, "time", "time_unit") if getattr(args, name) is not None}
    stated |= {"gyro"} if args.gyro or args.no_gyro else set()
    stated |= {"time"} if args.no_time else set()
    return frozenset(stated | ({"rate_hz"} if args.rate is not None else set()))


def options_of(layout: "TableFormat", base: "TableFormat | None" = None) -> list[str]:
    """The options that turn the format `base`, by default the usual one, into `layout`."""
    from primus_jax.recordings.table_format import OPTIONAL, TableFormat

    base = base or TableFormat()
    words: list[str] = []
    for name in ("acc", "gyro", "gravity"):
        columns = getattr(layout, name)
        if columns and columns != getattr(base, name):
            words += [f"--{name}", *columns]
    if not layout.gyro and base.gyro:
        words += ["--no-gyro"]
    for name in ("acc_unit", "gyro_unit"):
        if getattr(layout, name) != getattr(base, name):
            words += [f"--{name.replace('_', '-')}", getattr(layout, name)]
    for name in ("scale_acc", "scale_gyro"):
        scale = getattr(layout, name)
        if scale != getattr(base, name):
            whole = round(1 / scale)
            exact = f"1/{whole}" if whole and 1 / whole == scale else repr(scale)
            words += [f"--{name.replace('_', '-')}", exact]
    if layout.invert_acc != base.invert_acc:
        words += ["--invert-acc" if layout.invert_acc else "--no-invert-acc"]
    if layout.time is None and base.time is not None:
        words += ["--no-time"]
    elif layout.time and layout.time != (base.time or "time"):
        words += ["--time", layout.time]
    if layout.time is not None and layout.time_unit != base.time_unit:
        words += ["--time-unit", layout.time_unit]
    if layout.rate_hz is not None and layout.rate_hz != base.rate_hz:
        words += ["--rate", f"{layout.rate_hz:g}"]
    for name in OPTIONAL:
        column = layout.names.get(name, "")
        if column and column not in (name, base.names.get(name, "")):
            words += [f"--{name}-column", column]
    return words + _text_options(layout.text, base.text)


def _text_options(text: "TextOptions", base: "TextOptions") -> list[str]:
    """The options of how a CSV file is written."""
    named = {sign: name for name, sign in _DELIMITERS.items()}
    words: list[str] = []
    for name, value in dataclasses.asdict(text).items():
        if value is not None and value != getattr(base, name):
            option = "time-format" if name == "date_order" else name.replace("_", "-")
            words += [f"--{option}", named[value] if name == "delimiter" else str(value)]
    return words


def _names(args: argparse.Namespace, remembered: "TableFormat | None") -> dict[str, str]:
    """Mapped columns of recording, label, text and subject."""
    from primus_jax.recordings.table_format import OPTIONAL

    known = remembered.names if remembered else {}
    return {name: getattr(args, f"{name}_column", "") or known.get(name, "") for name in OPTIONAL}
