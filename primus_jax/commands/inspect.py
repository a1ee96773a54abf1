"""Files of any logger -> what was found in them, and the command to run next.

primus-jax inspect walk.csv
primus-jax inspect recordings/ --from sensor-logger

Encoding, delimiter, decimal mark, header, units, columns, times, rate, gaps, gravity, labels and
people are found by the functions that `prepare`, `adapt` and `predict` use. Columns and units that
nobody stated are guessed here alone: those commands read what the printed options state.
"""

import argparse
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from primus_jax.commands.console import printed_warnings
from primus_jax.commands.source_options import (
    add_intervals,
    add_naming,
    add_sources,
    intervals,
    naming,
    read_sources,
)
from primus_jax.commands.table_options import (
    add_names,
    add_table_format,
    options_of,
    stated_fields,
    table_format,
)
from primus_jax.errors import PrimusError

if TYPE_CHECKING:
    from primus_jax.recordings.sources import Source
    from primus_jax.recordings.table_format import TableFormat


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_sources(parser, "FILE")
    add_naming(parser)
    add_intervals(parser)
    group = parser.add_argument_group("columns")
    add_table_format(group)
    add_names(group, "recording", "label", "text", "subject")


def run(args: argparse.Namespace) -> int:
    """Print what was found in each file; the status is 2 if one cannot be read."""
    from primus_jax.recordings.inspection import recognised

    with printed_warnings():
        if args.app or args.acc_file:
            sources, layout = read_sources(args)
            return 0 if _read(args, sources, layout, _words(args)) else 2
        if not args.files:
            raise PrimusError("no files; expected FILE, or --acc-file and --gyro-file.")
        whole = True
        for path in args.files:
            if path.is_dir():
                app = recognised(path)
                if not app:
                    raise PrimusError(
                        f"{path}: a folder, and not one that an app is known to write. Name its "
                        f"files, or give --acc-file and --gyro-file patterns."
                    )
                args.app, args.files = app, [path]
                print(f"{path}: an export of {app}, by the names of its files")
                sources, layout = read_sources(args)
                whole = _read(args, sources, layout, ["--from", app, str(path)]) and whole
                args.app = None
            else:
                whole = _inspect(args, path) and whole
    return 0 if whole else 2


def _inspect(args: argparse.Namespace, path: Path) -> bool:
    """Print what one table holds."""
    from primus_jax.recordings.inspection import inspect_table

    stated = table_format(args)
    found = inspect_table(path, stated, stated_fields(args))
    print(path)
    for what, finding in found.lines:
        if finding:
            print(f"  {what:<14} {finding}")
    if found.layout is None:
        print(
            "  next           name the columns: --acc X Y Z, --gyro X Y Z (or --no-gyro), --time "
            "T. If each sensor has a file of its own, give --acc-file and --gyro-file."
        )
        return False
    layout = table_format(args, found.layout)
    words = ["--from", found.app, str(path)] if found.app else [str(path)]
    base = found.layout if found.app else None
    return _read(args, [path], layout, [*words, *options_of(layout, base)])


def _words(args: argparse.Namespace) -> list[str]:
    """The files and options of sources, as they were given."""
    from primus_jax.recordings.table_format import TableFormat

    words = ["--from", args.app] if args.app else []
    words += [str(path) for path in args.files]
    for sensor in ("acc", "gyro", "gravity"):
        if pattern := getattr(args, f"{sensor}_file"):
            words += [f"--{sensor}-file", pattern]
    return words + options_of(table_format(args), TableFormat())


def _read(
    args: argparse.Namespace,
    sources: "Sequence[Source]",
    layout: "TableFormat",
    words: list[str],
) -> bool:
    """Read the recordings as `prepare` does, print what they are and the command to run."""
    from data_prep.user.tables import Tables

    tables = Tables(sources, layout, naming=naming(args), intervals=intervals(args))
    seconds, labels, people = 0.0, Counter[str](), set()
    ids = set()
    try:
        for recording in tables:
            length = len(recording.signal) / recording.rate_hz
            seconds += length
            labels[recording.label] += round(length)
            people.add(recording.subject)
            ids.add(recording.id.rsplit("#", 1)[0])
    except PrimusError as error:
        print(f"  problem        {error}")
        return False
    rates = ", ".join(f"{rate:g}" for rate in sorted(tables.rates))
    count = f"{len(ids)} recording{'s' * (len(ids) != 1)}"
    print(f"  read           {count}, {seconds:,.1f} s at {rates or '?'} Hz")
    for what, number in sorted((tables.drops + tables.done).items()):
        print(f"                 {number:,} {what}")
    named = {name: length for name, length in labels.items() if name}
    if named:
        listed = ", ".join(f"{name} {length:,} s" for name, length in sorted(named.items()))
        print(f"  labels         {listed}")
    known = sorted(people - {"unknown"})
    print(f"  people         {', '.join(known) if known else 'not named'}")
    _print_commands(args, words, labelled=bool(named), one=len(ids) == 1)
    return True


def _print_commands(
    args: argparse.Namespace, words: list[str], *, labelled: bool, one: bool
) -> None:
    """Print the commands that may follow."""
    paths = [
        word
        for name in ("recording", "subject")
        if (pattern := getattr(args, f"{name}_from_path"))
        for word in (f"--{name}-from-path", pattern)
    ]
    if args.intervals:
        paths += ["--intervals", *map(str, args.intervals)]
        paths += ["--tier", args.tier] if args.tier else []
    columns = [
        word
        for name in ("recording", "label", "text", "subject")
        if (column := getattr(args, f"{name}_column"))
        for word in (f"--{name}-column", column)
    ]
    plain = shlex.join([*words, *paths, *columns])
    print(f"run next:\n  primus-jax prepare table {plain} --out data/mine")
    if labelled:
        spoken = [w for w in columns if w not in ("--text-column", args.text_column)]
        labels = shlex.join([*words, *paths, *spoken])
        print(f"  primus-jax adapt {labels} --encoder ENCODER --out mine")
    if one:
        print(f"  primus-jax predict {shlex.join(words)} --classifier CLASSIFIER --out predictions")
