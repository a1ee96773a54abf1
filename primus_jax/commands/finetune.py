"""Labelled datasets -> an encoder trained with a classifier: a table, and a folder for predict.

primus-jax finetune --encoder relcon=encoders/relcon --data data/mine --shots 10 50 --out tuned
primus-jax predict monday.csv --classifier tuned/classifier --out monday

Any encoder is trained whole, in its last layers (--layers 2) or not at all (--layers 0, a probe),
with a linear head or an MLP (--hidden 512). Other people than those tested choose the epoch and
stop the training. --from-scratch adds the architecture without pretraining. The table is that of
`primus-jax fewshot`. With one encoder and one dataset, a classifier of everybody is written too.
"""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from primus_jax.errors import PrimusError
from primus_jax.files import new_folder

if TYPE_CHECKING:
    from primus_jax.data.folder import DatasetFolder
    from primus_jax.encoder import Encoder
    from primus_jax.evals.fewshot.protocol import Protocol
    from primus_jax.reports.rows import ResultRow

CLASSIFIER = "classifier"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--encoder", nargs="+", required=True, metavar="NAME=PATH")
    parser.add_argument("--data", nargs="+", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder")
    parser.add_argument(
        "--shots",
        nargs="+",
        default=["all"],
        help="labelled windows per class, or all (default); the classifier has the largest",
    )
    parser.add_argument("--seeds", type=int, default=3, help="draws of people (default 3)")
    parser.add_argument(
        "--people",
        default="resampled",
        help="resampled, folder, kfold:N, leave-one-out, or a .json file of folds",
    )
    parser.add_argument("--head", choices=("emb", "mmcl", "ssl"), help="output (default emb)")
    parser.add_argument(
        "--leaks", choices=("error", "report"), default="error", help="as in fewshot"
    )
    parser.add_argument(
        "--layers", default="all", help="trained layers, from the output: all (default), K or 0"
    )
    parser.add_argument(
        "--from-scratch",
        action="store_true",
        help="add the first encoder's architecture, trained from a random start",
    )
    add_training(parser)


def add_training(parser: argparse.ArgumentParser, *, classes: bool = True) -> None:
    """Declare how an encoder and its head are trained, for `classes` or for a number."""
    group = parser.add_argument_group("training")
    group.add_argument("--hidden", type=int, help="units of a hidden layer; 0: a linear head")
    group.add_argument("--lr", type=float, help="learning rate")
    group.add_argument("--epochs", type=int, help="at most so many")
    group.add_argument("--batch-size", type=int, help="windows of a step")
    group.add_argument("--patience", type=int, help="epochs without a better one; 0: all epochs")
    if classes:
        group.add_argument(
            "--class-weights",
            action="store_true",
            default=None,
            help="rare classes count as much as common ones in the loss",
        )


def training(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of `PaperConfig` that the options of `add_training` give."""
    names = ("hidden", "lr", "epochs", "batch_size", "patience", "class_weights")
    given = {name: getattr(args, name, None) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def run(args: argparse.Namespace) -> int:
    """Evaluate on people left out, train on everybody, and write the folder."""
    from primus_jax.data.folder import DatasetFolder
    from primus_jax.evals.fewshot.comparison import FILES, compare, write_comparison
    from primus_jax.evals.fewshot.draws import DrawOptions
    from primus_jax.evals.fewshot.methods import named_paths, read_methods
    from primus_jax.evals.identity import trained_encoder

    shots, protocol = _shots(args.shots), _protocol(args)
    with new_folder(args.out, overwrite=args.overwrite, own=(*FILES, CLASSIFIER)) as folder:
        folders = [DatasetFolder(path) for path in args.data]
        methods = read_methods(
            named_paths(args.encoder), folders[0].rate_hz, random_init=False, hand_features=False
        )
        rows = compare(
            methods, folders, DrawOptions(shots, args.seeds, args.people, detail=True),
            protocol=protocol, head=args.head, leaks=args.leaks,
            log=lambda line: print(line, flush=True),
        )  # fmt: skip
        table = write_comparison(rows, folder)
        encoders = [own for method in methods.values() if (own := trained_encoder(method[0]))]
        if len(encoders) == len(folders) == 1:
            largest = max((row for row in rows if row["method"] in methods), key=_shown)
            _classifier(encoders[0], folders[0], largest, protocol, shots, folder / CLASSIFIER)
    written = ", ".join((*FILES, *([CLASSIFIER] if len(encoders) == len(folders) == 1 else [])))
    print(f"\n{table}\n{args.out}: {written}")
    if CLASSIFIER not in written:
        print("no classifier: give one encoder and one dataset")
    return 0


def _shown(row: "ResultRow") -> int:
    return row["shots"]


def _shots(words: list[str]) -> tuple[int, ...]:
    if words == ["all"]:
        return ()
    if not all(word.isdigit() and int(word) for word in words):
        raise PrimusError(f"--shots {' '.join(words)}; expected whole numbers, or the word all.")
    return tuple(int(word) for word in words)


def _protocol(args: argparse.Namespace) -> "Protocol":
    from primus_jax.evals.fewshot.protocol import FINETUNE, Protocol

    if args.layers != "all" and not args.layers.isdigit():
        raise PrimusError(f"--layers {args.layers!r}; expected a whole number, or the word all.")
    layers = None if args.layers == "all" else int(args.layers)
    config = dataclasses.replace(FINETUNE, **training(args))
    protocol = Protocol(
        name="paper",
        finetune=layers != 0,
        paper=dataclasses.replace(config, layers=layers or None),
        from_scratch=args.from_scratch,
        scratch=config if args.lr else dataclasses.replace(config, lr=1e-3),
    )
    protocol.validate()
    return protocol


def _classifier(
    encoder: "Encoder",
    folder: "DatasetFolder",
    row: "ResultRow",
    protocol: "Protocol",
    shots: tuple[int, ...],
    out: Path,
) -> None:
    """Train on everybody and write the folder that `primus-jax predict` applies."""
    from primus_jax.classify.finetune import FinetuneOptions, finetune
    from primus_jax.evals.features import dataset_features, dataset_windows

    features = dataset_features(encoder, folder, row["head"])
    options = FinetuneOptions(
        protocol.paper, row["head"], frozen=not protocol.finetune, shots=max(shots, default=None)
    )
    about = folder.metadata
    description = {
        "window_seconds": about.window_seconds,
        "hop_seconds": about.hop_seconds,
        "gyro": _has_gyro(folder),
        "rates_hz": [folder.rate_hz],
        "evaluation": {
            "held_out_by": "person",
            "meaning": f"other people: {row['people']}, {len(row['seeds'])} seeds",
            "folds": len(row["windows_tested"]),
            "windows": sum(row["windows_tested"]),
            **{name: row[name] for name in ("accuracy", "macro_f1", "balanced_accuracy", "kappa")},
            "accuracy_interval_95": row["accuracy_interval"],
            "confusion": row["confusion"],
        },
        "dataset_hash": folder.content_hash,
        "provenance": row["provenance"],
    }
    tuned = finetune(encoder, folder, features, dataset_windows(folder), options, description)
    out.mkdir()
    tuned.classifier.save(out, tuned.encoder)
    print(
        f"{folder.name}: classifier of everybody but {', '.join(tuned.validation_people)}, who "
        f"chose epoch {tuned.epoch} (macro-F1 {100 * tuned.score:.1f})",
        flush=True,
    )


def _has_gyro(folder: "DatasetFolder") -> bool:
    """Whether every window has a gyroscope."""
    return all(
        window["has_gyro"]
        for split in folder.splits
        for rows in folder.windows(split)
        for window in rows
    )
