"""An encoder and windows with sentences or videos -> recall, with the pool and chance.

primus-jax retrieve --encoder runs/primus/export --data data/mine --split test --out results

Every window of the split is a query for its own sentence (video) among those of all windows, and
the reverse. Ties count as their expectation. `--equal-texts` counts any window of the same sentence
as right; without it, the k copies of a sentence tie.

primus-jax retrieve --encoder runs/primus/export --data data/mine --split all --protocol imu2clip

reports Recall@1, 10, 50 and MRR in the pool of IMU2CLIP's evaluation, 288 windows of which at most
two are of one recording, beside pools of 1,000 and 10,000. Each pool is drawn five times.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_inputs(parser)
    parser.add_argument(
        "--targets",
        nargs="+",
        choices=("text", "video"),
        help="targets of the windows (default: those that the dataset stores)",
    )
    parser.add_argument(
        "--equal-texts",
        action="store_true",
        help="count windows of the same sentence as right answers too",
    )
    pools = parser.add_mutually_exclusive_group()
    pools.add_argument(
        "--pool", type=int, metavar="N", help="only N windows, drawn by --seed (default: all)"
    )
    pools.add_argument(
        "--protocol",
        choices=("imu2clip",),
        help="pools of 288 (at most two windows of a recording), 1,000 and 10,000, five draws each",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed of --pool, or the first of --protocol"
    )


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """The options that zeroshot and retrieve share."""
    parser.add_argument(
        "--encoder", type=Path, required=True, metavar="PATH", help="export folder or weights"
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="dataset folder")
    parser.add_argument("--split", default="test", help="train, validation, test (default) or all")
    parser.add_argument(
        "--head",
        choices=("emb", "mmcl", "ssl"),
        help="output of the encoder (default: mmcl if the encoder has one, else emb)",
    )
    parser.add_argument("--out", type=Path, help="the folder to make (default: print only)")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder")


def run(args: argparse.Namespace) -> int:
    """Print the figures beside chance, and write them where asked."""
    from primus_jax.evals.crossmodal.inputs import open_inputs
    from primus_jax.evals.crossmodal.retrieval_report import (
        FILES,
        pooled_report,
        retrieval_report,
    )
    from primus_jax.reports.rows import results_folder

    with results_folder(args.out, args.overwrite, FILES) as out:
        inputs = open_inputs(args.encoder, args.data, args.split, args.head)
        same = {"equal_texts": args.equal_texts, "seed": args.seed}
        if args.protocol is None:
            report = retrieval_report(inputs, args.targets, pool=args.pool, **same)
        else:
            report = pooled_report(inputs, args.targets, **same)
        print(report.text, end="")
        if out is not None:
            report.write(out)
    if args.out is not None:
        print(f"\n{args.out}: {', '.join(FILES)}")
    return 0
