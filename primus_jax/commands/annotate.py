"""Ego4D's narrations -> soft labels of movements, a file for `prepare ego4d --task movement`.

primus-jax annotate --raw DIR --classes movement4 --out movement4.csv
primus-jax prepare ego4d --raw DIR --task movement --labels movement4.csv --out data/movement4

"movement" has the nine labels of IMU2CLIP's file, given by TF-IDF scores between narration and
label. "movement4" has its four, given by patterns of words. Nobody looked at the signal: read the
sentences that are printed beside each label.
"""

import argparse
import os
from pathlib import Path

from primus_jax.errors import PrimusError

SHOWN = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--raw", type=Path, required=True, metavar="DIR", help="folder of the Ego4D downloader"
    )
    parser.add_argument(
        "--classes", choices=("movement", "movement4"), default="movement",
        help="nine labels by TF-IDF (default), or four by patterns",
    )  # fmt: skip
    parser.add_argument(
        "--least", type=float, default=0.6, metavar="SCORE",
        help="of TF-IDF; a narration below it has no label (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--window", type=float, default=5.0, help="seconds (default %(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.csv", help="file to make")
    parser.add_argument("--overwrite", action="store_true", help="replace the file")


def run(args: argparse.Namespace) -> int:
    """Write the file, and print each label with its commonest sentences."""
    from data_prep.ego4d.annotate import Narrations, annotate
    from primus_jax.files import replace_file

    if os.path.lexists(args.out) and not args.overwrite:
        raise PrimusError(
            f"{args.out} already exists. Choose another output file, or pass --overwrite."
        )
    with replace_file(args.out) as temporary:
        counts, drops = annotate(
            Narrations(args.raw), args.classes, temporary,
            window_seconds=args.window, least=args.least,
        )  # fmt: skip
    for label, sentences in counts.items():
        common = ", ".join(f'"{text}" {n:,}' for text, n in sentences.most_common(SHOWN))
        print(f"{label}: {sentences.total():,} windows{f' ({common})' if common else ''}")
    for reason, count in drops.items():
        if count:
            print(f"  no label: {count:,} {reason}")
    print(f"\n{args.out}")
    return 0
