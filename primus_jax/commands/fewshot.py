"""Encoders and labelled datasets -> accuracy over shots: a table, the curves, all scores.

primus-jax fewshot --encoder primus=runs/primus/export --random-init --hand-features \\
    --data data/mine --out results

--protocol probe (the default): frozen features and logistic (or ridge) regression, with a penalty
chosen on held-out people. --protocol paper: a linear head, from class prompts or random, AdamW, and
the best epoch on validation people; --finetune trains the encoder too. --protocol img2imu: the same
with IMG2IMU's schedule, on five folds of people with 60:20:20 of them. Every seed holds out other
people and draws other labelled windows, the same for every method. People, recordings and windows
are compared between the two sides, and with the encoder's pretraining: a test on training data is
an error. The output folder appears only when it is complete.
"""

import argparse
import dataclasses
from pathlib import Path

from primus_jax.errors import PrimusError
from primus_jax.files import new_folder

SHOTS = (1, 5, 10, 20, 50)
IMG2IMU_SHOTS = (1, 2, 5, 10, 20, 50)


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
    parser.add_argument(
        "--shots",
        nargs="+",
        type=int,
        help="labelled windows per class (default 1 5 10 20 50; img2imu 1 2 5 10 20 50)",
    )
    parser.add_argument("--seeds", type=int, default=5, help="number of draws of people and shots")
    parser.add_argument(
        "--people",
        help="resampled (default): each seed holds out its own quarter of the people; folder: the "
        "test split of the dataset; kfold:N or leave-one-out: every person is tested once per "
        "seed (img2imu: kfold:5)",
    )
    parser.add_argument(
        "--head",
        choices=("emb", "mmcl", "ssl"),
        help="output of the encoders (default emb; with --prompts mmcl, if trained with text)",
    )
    parser.add_argument("--protocol", choices=("probe", "paper", "img2imu"), default="probe")
    parser.add_argument(
        "--classifier",
        choices=("logistic", "ridge"),
        default="logistic",
        help="probe: multinomial logistic regression, or ridge on one-hot targets (%(default)s)",
    )
    parser.add_argument(
        "--c",
        type=float,
        help="probe: inverse strength of the penalty (ridge's alpha is 1 / (2 c)); default: "
        "chosen on held-out people",
    )
    parser.add_argument(
        "--prompts",
        metavar="FILE",
        help="paper: .npz of text and text_embedding with 'a person is LABEL' or the like, or "
        "'folder' for the sentences stored in the dataset; the initial head",
    )
    parser.add_argument("--finetune", action="store_true", help="paper: train the encoder too")
    parser.add_argument("--epochs", type=int, help="paper: epochs (default 20; from scratch 50)")
    parser.add_argument(
        "--lr", type=float, help="paper: learning rate (default 1e-4; from scratch 1e-3)"
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
        "--from-scratch",
        action="store_true",
        help="add the first encoder's architecture trained on the labelled windows alone",
    )
    parser.add_argument(
        "--random-init",
        action="store_true",
        help="add the first encoder's architecture, untrained, 3 times averaged",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the folder")


def run(args: argparse.Namespace) -> int:
    """Evaluate every method on every dataset, and write the folder."""
    from primus_jax.data.folder import DatasetFolder
    from primus_jax.evals.fewshot.comparison import FILES, compare, write_comparison
    from primus_jax.evals.fewshot.draws import DrawOptions
    from primus_jax.evals.fewshot.methods import named_paths, read_methods
    from primus_jax.evals.fewshot.protocol import IMG2IMU, IMG2IMU_TUNED, Protocol

    paths = named_paths(args.encoder)
    if not paths and (args.random_init or args.from_scratch or not args.hand_features):
        raise PrimusError("no encoder: give --encoder NAME=PATH (or --hand-features alone).")
    given = {"lr": args.lr, "epochs": args.epochs}
    given = {name: value for name, value in given.items() if value is not None}
    if given and args.protocol == "probe" and not args.from_scratch:
        raise PrimusError(f"--{next(iter(given))} belongs to --protocol paper or --from-scratch.")
    img2imu = args.protocol == "img2imu"
    tuned = IMG2IMU_TUNED if args.finetune else IMG2IMU
    protocol = Protocol(
        name="paper" if img2imu else args.protocol,
        classifier=args.classifier,
        c=args.c,
        prompts=args.prompts,
        finetune=args.finetune,
        from_scratch=args.from_scratch,
    )
    protocol = dataclasses.replace(
        protocol,
        paper=dataclasses.replace(tuned if img2imu else protocol.paper, **given),
        scratch=dataclasses.replace(protocol.scratch, **given),
    )
    protocol.validate()
    with new_folder(args.out, overwrite=args.overwrite, own=FILES) as folder:
        folders = [DatasetFolder(path) for path in args.data]
        methods = read_methods(
            paths,
            folders[0].rate_hz,
            random_init=args.random_init,
            hand_features=args.hand_features,
        )
        rows = compare(
            methods,
            folders,
            DrawOptions(
                args.shots or (IMG2IMU_SHOTS if img2imu else SHOTS),
                args.seeds,
                args.people or ("kfold:5" if img2imu else "resampled"),
                detail=img2imu,
            ),
            protocol=protocol,
            head=args.head,
            leaks=args.leaks,
            log=lambda line: print(line, flush=True),
        )
        table = write_comparison(rows, folder)
    print(f"\n{table}\n{args.out}: {', '.join(FILES)}")
    return 0
