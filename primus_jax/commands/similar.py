"""A recording and a stretch of it -> the stretches that are most like it, with a picture.

primus-jax similar monday.csv --query 12 16 --encoder distances/motif --out again

--encoder names an exported folder. A distance of configs/motif.py compares by the motif distance:
how well the query can be rebuilt from pieces of another stretch. Any other encoder compares by the
cosine of its embeddings. Stretches are as long as the query, which lasts a window of the encoder
at least. Matches overlap neither each other nor the query.

A distance of the accelerometer alone reads no gyroscope, and needs none.
"""

import argparse
from pathlib import Path

from primus_jax.commands.console import printed_warnings
from primus_jax.commands.source_options import print_dialects
from primus_jax.commands.table_options import add_table_format, table_format

FILES = ("similar.csv", "similar.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", type=Path, metavar="FILE", help="CSV or Parquet, one recording")
    parser.add_argument(
        "--query", nargs=2, type=float, required=True, metavar=("START", "END"),
        help="seconds after the first row",
    )  # fmt: skip
    parser.add_argument(
        "--encoder", type=Path, required=True, metavar="DIR",
        help="exported folder of a distance or of an encoder",
    )  # fmt: skip
    parser.add_argument("--head", help="of an encoder (default: its own)")
    parser.add_argument("--top", type=int, default=5, help="matches (default %(default)s)")
    parser.add_argument("--hop", type=float, default=0.5, help="seconds (default %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder")
    add_table_format(parser.add_argument_group("columns"))


def run(args: argparse.Namespace) -> int:
    """Find, write, and print the matches."""
    with printed_warnings():
        _similar(args)
    return 0


def _similar(args: argparse.Namespace) -> None:
    from primus_jax.files import new_folder
    from primus_jax.similar.find import find_similar
    from primus_jax.similar.measure import load_measure
    from primus_jax.similar.pictures import plot_similar

    measure = load_measure(args.encoder, args.head)
    with new_folder(args.out, overwrite=args.overwrite, own=FILES) as folder:
        layout = table_format(args)
        print_dialects([args.file], layout)
        found = find_similar(
            measure, args.file, layout, tuple(args.query), top=args.top, hop_seconds=args.hop
        )
        found.write_csv(folder / FILES[0])
        plot_similar(found, folder / FILES[1], args.file.name)
    report, query = found.report, found.query
    print(
        f"{args.file}: {report.seconds:,.1f} s at {report.rate_hz:g} Hz, {report.windows:,} "
        f"stretches of {found.seconds:g} s"
    )
    if report.problems():
        print(f"  {report.problems()}")
    print(f"{found.measure} of the query (from itself {query.distance:.4g}):")
    for rank, match in enumerate(found.matches, 1):
        start = match.start_seconds
        print(
            f"  {rank:>3}  {start:>10,.2f} s to {start + found.seconds:>10,.2f} s  "
            f"{match.distance:>10.4g}"
        )
    print(f"\n{args.out}: {', '.join(FILES)}")
