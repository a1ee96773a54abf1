"""Your labelled recordings -> a classifier of activities, and its expected accuracy.

primus-jax adapt my.csv --encoder encoders/small --label-column activity --out mine
primus-jax adapt anna.csv ben.csv --encoder encoders/small --acc-unit g --gyro-unit deg/s --out mine

Windows of one label each are embedded, and a logistic regression is trained on them. Its accuracy
is measured on held-out people if two labels were recorded from two people each. Otherwise
recordings, bouts or stretches of time are held out; the output names the kind. `primus-jax predict`
applies the folder that this command writes.
"""

import argparse
from collections import Counter
from pathlib import Path

from primus_jax.commands.console import printed_warnings
from primus_jax.commands.source_options import (
    add_intervals,
    add_naming,
    add_sources,
    intervals,
    naming,
    print_done,
    read_sources,
)
from primus_jax.commands.table_options import add_names, add_table_format
from primus_jax.errors import PrimusError
from primus_jax.reports.markdown import markdown_table

PICTURE = "confusion.png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_sources(parser, "FILE")
    add_naming(parser)
    add_intervals(parser)
    parser.add_argument("--encoder", type=Path, required=True, help="export folder or weights")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder")
    parser.add_argument("--window", type=float, help="seconds (default: the encoder's)")
    parser.add_argument("--hop", type=float, help="seconds (default: the window)")
    parser.add_argument("--head", help="output of the encoder (default: its own choice)")
    parser.add_argument(
        "--shots",
        type=int,
        default=2000,
        help="at most this many windows of each label, spread evenly (default %(default)s)",
    )
    group = parser.add_argument_group("columns")
    add_table_format(group)
    add_names(group, "label", "subject", "recording")


def run(args: argparse.Namespace) -> int:
    """Embed, evaluate, train, write."""
    with printed_warnings():
        _adapt(args)
    return 0


def _adapt(args: argparse.Namespace) -> None:
    from data_prep.user.tables import Tables
    from primus_jax.classify.adapt import evaluate, labelled_windows, train
    from primus_jax.classify.classifier import DESCRIPTION, ENCODER, WEIGHTS
    from primus_jax.encoder import load_encoder
    from primus_jax.files import new_folder
    from primus_jax.recordings.table_format import format_to_row
    from primus_jax.reports.confusion import LARGE_CELL, Confusion, plot_confusions

    if args.shots < 2:
        raise PrimusError(f"--shots {args.shots}; expected at least 2.")
    encoder = load_encoder(args.encoder)
    window = encoder.window_seconds if args.window is None else args.window
    hop = window if args.hop is None else args.hop
    head = encoder.head if args.head is None else args.head
    sources, layout = read_sources(args)
    tables = Tables(
        sources, layout, needed=("label",), naming=naming(args), intervals=intervals(args)
    )
    own = (WEIGHTS, DESCRIPTION, ENCODER, PICTURE)
    with new_folder(args.out, overwrite=args.overwrite, own=own) as folder:
        data = labelled_windows(
            tables, encoder, tables.drops,
            window_seconds=window, hop_seconds=hop, head=head, shots=args.shots,
        )  # fmt: skip
        people = len(set(data.subject))
        print(
            f"{len(data.label):,} windows of {window:g} s, {len(data.names)} labels, "
            f"{people} {'person' if people == 1 else 'people'}, "
            f"{len(set(data.recording))} recordings"
        )
        for reason, count in sorted((+tables.drops).items()):
            print(f"  left out: {count:,} {reason}")
        print_done(tables.done)
        result = evaluate(data)
        row = result.row()
        print(_table(row, data.names))
        description = {
            "window_seconds": window, "hop_seconds": hop, "head": head, "gyro": data.gyro,
            "recordings": format_to_row(tables.remembered()), "rates_hz": sorted(tables.rates),
            "training_windows": Counter(data.names[k] for k in data.label),
            "evaluation": row,
        }  # fmt: skip
        train(data, result.held, description).save(folder, encoder)
        caption = "per cent of each true label's windows"
        plot_confusions(
            [Confusion(result.confusion.sum(0), data.names, caption, LARGE_CELL)],
            folder / PICTURE,
            f"{100 * row['accuracy']:.1f} % of windows right, held out by {row['held_out_by']}",
        )
    print(f"\n{args.out}: {', '.join(own)}")


def _table(row: dict, names: tuple[str, ...]) -> str:
    """The evaluation in Markdown."""
    by = {"person": "people", "recording": "recordings", "bout": "bouts", "time": "stretches"}
    low_high, units = row["accuracy_interval_95"], row["accuracy_of"]
    interval = (
        f"95 % interval over {len(units)} {by[row['held_out_by']]}: {100 * low_high[0]:.1f} to "
        f"{100 * low_high[1]:.1f}"
        if low_high
        else f"{len(units)} {by[row['held_out_by']]}: too few for an interval"
    )
    lines = [
        "",
        f"accuracy {100 * row['accuracy']:.1f} % ({interval})",
        f"macro-F1 {100 * row['macro_f1']:.1f} %; accuracy of always saying the commonest label: "
        f"{100 * row['largest_class']:.1f} %",
        row["meaning"],
        "",
    ]
    body = []
    for k, (name, counts) in enumerate(zip(names, row["confusion"], strict=True)):
        body.append([name, f"{sum(counts):,}", f"{100 * counts[k] / sum(counts):.1f}"])
    lines.append(markdown_table(["label", "windows", "right %"], body))
    if row["held_out_by"] in ("person", "recording") and len(units) <= 30:
        lines += ["", *(f"{name}: {100 * value:.1f} %" for name, value in units.items())]
    return "\n".join(lines)
