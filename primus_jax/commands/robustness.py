"""Encoders and labelled datasets -> few-shot scores on changed test windows.

primus-jax robustness --encoder primus=runs/primus/export --random-init --hand-features \\
    --data data/mine --out robustness

A classifier is fitted on unchanged windows. It is tested on the same test windows as they are,
shifted in time, with a gap, with noise, and with the sensor turned. People, labelled windows and
leak checks are those of `fewshot`. The output folder appears only when it is complete.
"""

import argparse
from pathlib import Path

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
    parser.add_argument("--data", nargs="+", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument("--shots", nargs="+", type=int, default=[10])
    parser.add_argument("--seeds", type=int, default=5, help="number of draws of people and shots")
    parser.add_argument(
        "--people",
        default="resampled",
        help="resampled, folder, kfold:N or leave-one-out, as in fewshot (default %(default)s)",
    )
    parser.add_argument(
        "--shift", type=float, default=0.45, help="largest shift, part of the window (%(default)s)"
    )
    parser.add_argument(
        "--mask", type=float, default=0.25, help="the gap, part of the window (%(default)s)"
    )
    parser.add_argument(
        "--noise",
        type=float,
        default=1.0,
        help="standard deviation of the noise, m/s^2 and rad/s (%(default)s)",
    )
    parser.add_argument(
        "--degrees", type=float, default=180.0, help="largest turn of the sensor (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the changes (%(default)s)")
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
    parser.add_argument("--overwrite", action="store_true", help="replace the folder")


def run(args: argparse.Namespace) -> int:
    """Evaluate every method on every dataset and condition, and write the folder."""
    from primus_jax.data.folder import DatasetFolder
    from primus_jax.evals.fewshot.draws import DrawOptions
    from primus_jax.evals.fewshot.methods import named_paths, read_methods
    from primus_jax.evals.fewshot.robustness import FILES, robustness, write_robustness
    from primus_jax.evals.perturbations import Strengths

    paths = named_paths(args.encoder)
    if not paths and (args.random_init or not args.hand_features):
        raise PrimusError("no encoder: give --encoder NAME=PATH (or --hand-features alone).")
    strengths = Strengths(args.shift, args.mask, args.noise, args.degrees)
    strengths.validate()
    with new_folder(args.out, overwrite=args.overwrite, own=FILES) as folder:
        folders = [DatasetFolder(path) for path in args.data]
        methods = read_methods(
            paths,
            folders[0].rate_hz,
            random_init=args.random_init,
            hand_features=args.hand_features,
        )
        rows = robustness(
            methods,
            folders,
            DrawOptions(args.shots, args.seeds, args.people),
            strengths,
            seed=args.seed,
            leaks=args.leaks,
            log=lambda line: print(line, flush=True),
        )
        table = write_robustness(rows, folder)
    print(f"\n{table}\n{args.out}: {', '.join(FILES)}")
    return 0
