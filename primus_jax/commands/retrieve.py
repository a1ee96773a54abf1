"""An encoder and windows with sentences or videos -> recall, with the pool and chance beside it.

primus-jax retrieve --encoder runs/primus/export --data data/mine --split test --out results

Every window of the split asks for its own sentence (video) among those of all windows, and the
other way round. Ties count as their expectation. `--equal-texts` counts any window of the same
sentence as right: without it, k copies of a sentence can only be guessed between.
"""

import argparse
import contextlib
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from primus_jax.errors import PrimusError
from primus_jax.files import new_folder

if TYPE_CHECKING:
    from primus_jax.data.folder import DatasetFolder
    from primus_jax.encoder import Encoder

FILES = ("results.jsonl", "table.md", "recall.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_inputs(parser)
    parser.add_argument(
        "--targets",
        nargs="+",
        choices=("text", "video"),
        help="what to compare windows with (default: what the dataset stores)",
    )
    parser.add_argument(
        "--equal-texts",
        action="store_true",
        help="windows of the same sentence are right answers too",
    )
    parser.add_argument(
        "--pool", type=int, metavar="N", help="only N windows, a seeded choice (default: all)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of that choice")


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
        help="output of the encoder (default: mmcl where it has one, else emb)",
    )
    parser.add_argument("--out", type=Path, help="the folder to make (default: print only)")
    parser.add_argument("--overwrite", action="store_true", help="replace the folder")


def results_folder(
    args: argparse.Namespace, files: tuple[str, ...]
) -> contextlib.AbstractContextManager[Path | None]:
    """`new_folder(--out)`, or None without --out; --overwrite replaces only a folder of `files`.

    Raises:
        PrimusError: the folder exists and is not to be replaced.
    """
    if args.out is None:
        return contextlib.nullcontext()
    return new_folder(args.out, overwrite=args.overwrite, own=files)


def describe_inputs(
    encoder: "Encoder", folder: "DatasetFolder", args: argparse.Namespace, head: str
) -> dict[str, Any]:
    """What a row of results.jsonl says about its encoder, its dataset and its making."""
    from primus_jax.evals.fewshot.comparison import encoder_hash
    from primus_jax.provenance import provenance

    return {
        "encoder": args.encoder.stem,
        "encoder_hash": encoder_hash(encoder),
        "encoder_config": dataclasses.asdict(encoder.config),
        "head": head,
        "dataset": folder.name,
        "simulated": folder.simulated,
        "dataset_hash": folder.content_hash,
        "split": args.split,
        "provenance": provenance(),
    }


def run(args: argparse.Namespace) -> int:
    """Print the figures beside chance, and write them where asked."""
    with results_folder(args, FILES) as out:
        _retrieve(args, out)
    if args.out is not None:
        print(f"\n{args.out}: {', '.join(FILES)}")
    return 0


def _retrieve(args: argparse.Namespace, out: Path | None) -> None:
    from primus_jax.data.folder import DatasetFolder
    from primus_jax.encoder import load_encoder
    from primus_jax.evals.crossmodal.paired import (
        TARGETS,
        check_width,
        chosen_splits,
        contrastive_head,
        paired_windows,
    )
    from primus_jax.evals.crossmodal.retrieval import plot_retrieval, retrieval_table, retrieve

    encoder, folder = load_encoder(args.encoder), DatasetFolder(args.data)
    head = args.head or contrastive_head(encoder.config)
    stored = [name for name in TARGETS if f"{name}_embedding" in folder.metadata.tensors]
    missing = [name for name in args.targets or stored if name not in stored]
    if missing or not stored:
        raise PrimusError(
            f"{folder.path} stores no {' or '.join(missing or TARGETS)} embeddings. Prepare it "
            f"again with `primus-jax prepare ... --embeddings FILE.npz`."
        )
    check_width(encoder, head, folder.embedding_dim, f"the stored embeddings of {folder.path}")
    windows = paired_windows(encoder, folder, chosen_splits(folder, args.split), head)
    results = retrieve(
        windows,
        args.targets or stored,
        equal_texts=args.equal_texts,
        pool=args.pool,
        seed=args.seed,
    )
    about = describe_inputs(encoder, folder, args, head)
    rows = [{**about, **result.row(), "pool_seed": args.seed} for result in results]
    title = f"{folder.name}, {args.split}{' (simulated)' if folder.simulated else ''}"
    rule = "equal sentences are right" if args.equal_texts else "only its own window is right"
    lines = [f"## {title}", f"Encoder {args.encoder}, head {head}; cosine; {rule}."]
    for result in results[::2]:
        target = result.direction.removeprefix("imu->")
        lines.append(
            f"- {target}: {result.pool:,} windows ask among as many, with {result.distinct:,} "
            f"different {target} embeddings; {result.left_out:,} windows of the split have none."
        )
    text = "\n".join([*lines, "", retrieval_table(rows)]) + "\n"
    print(text, end="")
    if out is not None:
        written = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        (out / FILES[0]).write_text(written, encoding="utf-8")
        (out / FILES[1]).write_text(text, encoding="utf-8")
        plot_retrieval(results, out / FILES[2], title)
