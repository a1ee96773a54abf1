"""An encoder and class prompts -> zero-shot accuracy and macro-F1, with chance.

primus-jax zeroshot --encoder runs/primus/export --data data/mine --embeddings embeddings.npz
primus-jax zeroshot --encoder runs/primus/export --data data/mine --embeddings embeddings.npz \\
    --prompts prompts.json --out results

A class is the mean of its prompts' unit-norm embeddings. prompts.json is {class: [sentence, ...]};
embeddings.npz has text and text_embedding. Without --prompts, "a person is CLASS" and two other
templates are looked up. Without --embeddings, the dataset's own sentences are the prompts.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from primus_jax.commands.retrieve import add_inputs, describe_inputs, results_folder
from primus_jax.errors import PrimusError

if TYPE_CHECKING:
    from primus_jax.data.folder import DatasetFolder
    from primus_jax.evals.crossmodal.prompts import ClassPrompts

FILES = ("results.jsonl", "table.md")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_inputs(parser)
    parser.add_argument("--prompts", type=Path, metavar="FILE.json", help="sentences of each class")
    parser.add_argument(
        "--embeddings", type=Path, metavar="FILE.npz", help="text and text_embedding"
    )


def run(args: argparse.Namespace) -> int:
    """Print the figures beside chance, and write them where asked."""
    with results_folder(args, FILES) as out:
        _zero_shot(args, out)
    if args.out is not None:
        print(f"\n{args.out}: {', '.join(FILES)}")
    return 0


def _zero_shot(args: argparse.Namespace, out: Path | None) -> None:
    from primus_jax.data.folder import DatasetFolder
    from primus_jax.encoder import load_encoder
    from primus_jax.evals.crossmodal.paired import (
        check_width,
        chosen_splits,
        contrastive_head,
        paired_windows,
    )
    from primus_jax.evals.crossmodal.zeroshot import zero_shot, zero_shot_table

    encoder, folder = load_encoder(args.encoder), DatasetFolder(args.data)
    head = args.head or contrastive_head(encoder.config)
    splits = chosen_splits(folder, args.split)
    prompts = _prompts(args, folder, splits)
    check_width(encoder, head, prompts.embedding.shape[1], f"the prompts ({prompts.origin})")
    windows = paired_windows(encoder, folder, splits, head)
    result = zero_shot(windows.embedding, windows.label, folder.label_names, prompts)
    row = {
        **describe_inputs(encoder, folder, args, head),
        **result.row(),
        "prompts": dict(zip(prompts.names, prompts.sentences, strict=True)),
        "prompts_from": prompts.origin,
    }
    left_out = result.left_out
    untrained = "random_seed" in encoder.metadata
    warning = "The encoder was never trained (random initialisation): chance is expected.\n"
    text = (
        f"## {folder.name}, {args.split}{' (simulated)' if folder.simulated else ''}\n"
        f"Encoder {args.encoder}, head {head}; {row['windows']:,} windows, {row['classes']} "
        f"classes, {row['classes_with_windows']} of them with windows (the largest has "
        f"{100 * row['largest_class']:.1f} %); left out: {left_out['unlabelled']:,} unlabelled, "
        f"{left_out['no_prompt']:,} of classes without a prompt.\n"
        f"Prompts: {sum(map(len, prompts.sentences))} from {prompts.origin}.\n"
        f"{warning if untrained else ''}\n"
        f"{zero_shot_table(result)}\n"
    )
    print(text, end="")
    if out is not None:
        (out / FILES[0]).write_text(json.dumps(row, allow_nan=False) + "\n", encoding="utf-8")
        (out / FILES[1]).write_text(text, encoding="utf-8")


def _prompts(
    args: argparse.Namespace, folder: "DatasetFolder", splits: list[str]
) -> "ClassPrompts":
    """The class prompts that the options ask for."""
    from primus_jax.data.embeddings import load_embeddings
    from primus_jax.evals.crossmodal.prompts import (
        embed_prompts,
        read_prompts,
        stored_prompts,
        templated_prompts,
    )

    if args.embeddings is None:
        if args.prompts is not None:
            raise PrimusError("--prompts needs --embeddings, an .npz with those sentences.")
        return stored_prompts(folder, splits)
    embeddings = load_embeddings(args.embeddings).text
    if args.prompts is not None:
        prompts, origin = read_prompts(args.prompts, folder.label_names), str(args.prompts)
    else:
        prompts, origin = templated_prompts(folder.label_names, embeddings), "templates"
    return embed_prompts(prompts, embeddings, origin)
