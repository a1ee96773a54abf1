"""Encoders and labelled data sets -> accuracy over shots: a table, the curves, every number.

primus-jax fewshot --encoder primus=runs/primus/export --random-init --data data/mine --out results

Features are frozen; the classifier is logistic regression. Every seed holds out other people and
shows other windows, the same for every encoder. The output folder appears whole or not at all.
"""

import argparse
from pathlib import Path

from primus_jax.atomic import new_folder
from primus_jax.errors import PrimusError
from primus_jax.evals.fewshot import PEOPLE

RANDOM = "random initialisation"
RANDOM_SEEDS = (0, 1, 2)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--encoder",
        nargs="+",
        required=True,
        metavar="NAME=PATH",
        help="export folder, .safetensors or .pt (without NAME=, the path's own name is used)",
    )
    parser.add_argument("--data", nargs="+", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument("--shots", nargs="+", type=int, default=[1, 5, 10, 20, 50])
    parser.add_argument("--seeds", type=int, default=5, help="draws of people and shots")
    parser.add_argument("--head", choices=("emb", "mmcl", "ssl"), default="emb")
    parser.add_argument("--c", type=float, default=1.0, help="inverse strength of the penalty")
    parser.add_argument(
        "--people",
        choices=PEOPLE,
        default=PEOPLE[0],
        help="resampled: each seed holds out its own quarter of the people; folder: the data "
        "set's own test split",
    )
    parser.add_argument(
        "--random-init",
        action="store_true",
        help=f"add the first encoder's architecture, untrained, {len(RANDOM_SEEDS)} times averaged",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the folder")


def run(args: argparse.Namespace) -> int:
    from primus_jax.data.folder import DatasetFolder
    from primus_jax.encoder import Encoder, load_encoder
    from primus_jax.evals.comparison import FILES, compare, write_comparison

    if args.overwrite and args.out.is_dir():
        strangers = sorted({path.name for path in args.out.iterdir()} - set(FILES))
        if strangers:
            raise PrimusError(
                f"{args.out} holds {strangers[0]}, which no few-shot run wrote; it is not "
                f"replaced. Choose another output folder."
            )
    paths = _named(args.encoder)
    with new_folder(args.out, overwrite=args.overwrite) as folder:
        folders = [DatasetFolder(path) for path in args.data]
        methods = {name: [load_encoder(path)] for name, path in paths.items()}
        if args.random_init:
            (first,) = next(iter(methods.values()))
            methods[RANDOM] = [
                Encoder.random(first.config, seed, first.rate_hz, first.window_seconds)
                for seed in RANDOM_SEEDS
            ]
        rows = compare(
            methods,
            folders,
            shots=args.shots,
            seeds=args.seeds,
            c=args.c,
            people=args.people,
            head=args.head,
            say=lambda line: print(line, flush=True),
        )
        table = write_comparison(rows, folder)
    print(f"\n{table}\n{args.out}: {', '.join(FILES)}")
    return 0


def _named(specifications: list[str]) -> dict[str, Path]:
    """NAME=PATH words -> {name: path}.

    Raises:
        PrimusError: an empty name or path, or a name given twice.
    """
    paths: dict[str, Path] = {}
    for word in specifications:
        name, found, path = word.partition("=")
        name, path = (name, path) if found else (Path(word).stem, word)
        if not name or not path:
            raise PrimusError(f"--encoder {word!r}; expected NAME=PATH, such as primus=export.")
        if name in paths or name == RANDOM:
            raise PrimusError(f"--encoder {word!r}: the name {name!r} is taken; choose another.")
        paths[name] = Path(path)
    return paths
