"""Encoders and a dataset with numbers -> how well frozen features predict one of them.

primus-jax prepare table walks.csv --target-column stride_time --out data/walks
primus-jax regress --encoder mine=encoders/mine --random-init --hand-features \\
    --data data/walks --target stride_time --out results/stride_time

A ridge regression is fitted on the windows of some people and predicts those of others. Its penalty
is chosen on people left out of the training people. Errors, correlation, ICC(2,1) and limits of
agreement are given by window, by recording and by person, beside those of the mean of the training
people. --finetune and --from-scratch add encoders that are trained for the number. Windows without
the number are left out and counted. People, recordings and windows are compared between the two
sides, and with the encoder's pretraining: a test on training data is an error. The output folder
appears only when it is complete.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from primus_jax.commands.finetune import add_training, training
from primus_jax.errors import PrimusError
from primus_jax.files import new_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--encoder",
        nargs="+",
        default=[],
        metavar="NAME=PATH",
        help="export folder, .safetensors or .pt (without NAME=, the path's own name is used)",
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--target", required=True, metavar="NAME", help="a target column of the dataset"
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument(
        "--people",
        default="",
        help="kfold:N or leave-one-out: every person is tested once per seed; resampled: each seed "
        "holds out its own quarter of the people; folder: the test split of the dataset (default: "
        "kfold:5, leave-one-out for fewer than five people)",
    )
    parser.add_argument("--seeds", type=int, default=5, help="number of draws of people")
    parser.add_argument(
        "--penalty",
        type=float,
        help="of the ridge regression, 0 for least squares (default: chosen on people left out)",
    )
    parser.add_argument(
        "--head", choices=("emb", "mmcl", "ssl"), default="emb", help="output of the encoders"
    )
    parser.add_argument(
        "--leaks",
        choices=("error", "report"),
        default="error",
        help="action if tested data were in an encoder's pretraining (default %(default)s)",
    )
    parser.add_argument(
        "--hand-features", action="store_true", help="add the baseline of hand-crafted statistics"
    )
    parser.add_argument(
        "--random-init",
        action="store_true",
        help="add the first encoder's architecture, untrained, 3 times averaged",
    )
    parser.add_argument(
        "--finetune", action="store_true", help="add every pretrained encoder, trained as well"
    )
    parser.add_argument(
        "--from-scratch",
        action="store_true",
        help="add the first encoder's architecture, trained from a random start",
    )
    parser.add_argument(
        "--layers", type=int, help="--finetune: trained layers, from the output (default: all)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the folder")
    add_training(parser, classes=False)


def _tunings(args: argparse.Namespace) -> dict[str, Any]:
    """How encoders are trained, by row, as the options ask for it."""
    from primus_jax.evals.fewshot.protocol import SCRATCH
    from primus_jax.evals.regression.comparison import FINE_TUNED
    from primus_jax.evals.regression.tuning import FROM_SCRATCH, TUNED

    given = training(args)
    asked = args.finetune or args.from_scratch
    if not asked and (given or args.layers is not None):
        raise PrimusError("options of training belong to --finetune or --from-scratch.")
    made = {}
    if args.finetune:
        made[FINE_TUNED] = dataclasses.replace(TUNED, layers=args.layers, **given)
    if args.from_scratch:
        made[SCRATCH] = dataclasses.replace(FROM_SCRATCH, **given)
    return made


def run(args: argparse.Namespace) -> int:
    """Predict the target by every method, and write the folder."""
    from primus_jax.data.folder import DatasetFolder
    from primus_jax.evals.fewshot.methods import named_paths, read_methods
    from primus_jax.evals.regression.comparison import (
        FILES,
        compare_regressions,
        write_regression,
    )
    from primus_jax.evals.regression.protocol import RegressionOptions

    paths = named_paths(args.encoder)
    if not paths and (args.random_init or not args.hand_features):
        raise PrimusError("no encoder: give --encoder NAME=PATH (or --hand-features alone).")
    options = RegressionOptions(args.people, args.seeds, args.penalty)
    tunings = _tunings(args)
    with new_folder(args.out, overwrite=args.overwrite, own=FILES) as out:
        folder = DatasetFolder(args.data)
        methods = read_methods(
            paths,
            folder.rate_hz,
            random_init=args.random_init,
            hand_features=args.hand_features,
        )
        made = compare_regressions(
            methods,
            folder,
            args.target,
            options,
            head=args.head,
            leaks=args.leaks,
            tunings=tunings,
            log=lambda line: print(line, flush=True),
        )
        table = write_regression(made, out)
    print(f"\n{table}\n{args.out}: {', '.join(FILES)}")
    return 0
