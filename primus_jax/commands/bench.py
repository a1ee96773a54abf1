"""Encoders on a published benchmark -> probes, fine-tuning and from scratch, by folds of people.

primus-jax bench hhar-watch --data data/hhar_watch --encoder relcon=encoders/relcon \\
    --random-init --hand-features --out results

BENCH is hhar-watch, motionsense, pamap2-ankle, opportunity-wrist or pamap2-wrist, whose windows and
folds are fixed, or any, for another labelled dataset. The command refuses a dataset that was
prepared otherwise and prints how to prepare it. A person is in one fold and on one side of it:
whatever else is an error.
"""

import argparse
import json
from pathlib import Path

from primus_jax.commands.finetune import add_training, training
from primus_jax.errors import PrimusError
from primus_jax.files import new_folder

SETTINGS = "bench.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bench", metavar="BENCH", help="the benchmark, see above")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="prepared dataset")
    parser.add_argument("--encoder", nargs="+", default=[], metavar="NAME=PATH")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder")
    parser.add_argument(
        "--modes",
        nargs="+",
        choices=("linear", "mlp", "finetune", "scratch"),
        default=["linear", "mlp", "finetune", "scratch"],
        help="what is fitted (default: all four)",
    )
    parser.add_argument("--people", help="other folds: kfold:N, leave-one-out, or a .json file")
    parser.add_argument("--seeds", type=int, default=1, help="draws of the folds (default 1)")
    parser.add_argument("--head", choices=("emb", "mmcl", "ssl"), help="output (default emb)")
    parser.add_argument(
        "--leaks", choices=("error", "report"), default="error", help="as in fewshot"
    )
    parser.add_argument("--random-init", action="store_true", help="add the untrained architecture")
    parser.add_argument("--hand-features", action="store_true", help="add hand-crafted statistics")
    add_training(parser)


def run(args: argparse.Namespace) -> int:
    """Check the dataset, evaluate every method in every mode, and write the folder."""
    from primus_jax.data.folder import DatasetFolder
    from primus_jax.evals.fewshot.benches import BENCHES, BenchOptions
    from primus_jax.evals.fewshot.comparison import evaluate
    from primus_jax.evals.fewshot.methods import named_paths, read_methods
    from primus_jax.reports.bench import FILES, write_bench

    if args.bench not in BENCHES:
        raise PrimusError(f"bench {args.bench!r}; expected one of {', '.join(BENCHES)}.")
    bench, paths = BENCHES[args.bench], named_paths(args.encoder)
    if not paths and not args.hand_features:
        raise PrimusError("no encoder: give --encoder NAME=PATH (or --hand-features alone).")
    options = BenchOptions(
        args.modes, args.people or bench.people, args.seeds, args.head, args.leaks, training(args)
    )
    with new_folder(args.out, overwrite=args.overwrite, own=(*FILES, SETTINGS)) as folder:
        data = DatasetFolder(args.data)
        bench.check(data)
        methods = read_methods(
            paths, data.rate_hz, random_init=args.random_init, hand_features=args.hand_features
        )
        runs = options.runs(methods)
        if not runs:
            raise PrimusError(
                f"--modes {' '.join(args.modes)}: nothing to fit. Give --encoder NAME=PATH."
            )
        rows = evaluate(runs, [data], lambda line: print(line, flush=True))
        table = write_bench(rows, bench.title, folder)
        settings = {
            "bench": args.bench, "modes": args.modes, "people": options.people,
            "seeds": args.seeds, "training": dict(options.training),
            "encoders": {name: str(path) for name, path in paths.items()},
            "dataset": str(args.data), "dataset_hash": data.content_hash,
            "provenance": rows[0]["provenance"],
        }  # fmt: skip
        (folder / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
    print(f"\n{table}\n{args.out}: {', '.join((*FILES, SETTINGS))}")
    return 0
