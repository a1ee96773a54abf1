"""An encoder and class prompts -> zero-shot accuracy and macro-F1, with chance.

primus-jax zeroshot --encoder runs/primus/export --data data/mine --embeddings embeddings.npz
primus-jax zeroshot --encoder runs/primus/export --data data/mine --embeddings embeddings.npz \\
    --prompts prompts.json --out results

A class is the mean of its prompts' unit-norm embeddings. prompts.json is {class: [sentence, ...]};
embeddings.npz has text and text_embedding. Without --prompts, "a person is CLASS" and two other
templates are looked up. Without --embeddings, the dataset's own sentences are the prompts.
"""

import argparse
from pathlib import Path

from primus_jax.commands.retrieve import add_inputs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_inputs(parser)
    parser.add_argument("--prompts", type=Path, metavar="FILE.json", help="sentences of each class")
    parser.add_argument(
        "--embeddings", type=Path, metavar="FILE.npz", help="text and text_embedding"
    )


def run(args: argparse.Namespace) -> int:
    """Print the figures beside chance, and write them where asked."""
    from primus_jax.evals.crossmodal.inputs import open_inputs
    from primus_jax.evals.crossmodal.zeroshot_report import FILES, zero_shot_report
    from primus_jax.reports.rows import results_folder

    with results_folder(args.out, args.overwrite, FILES) as out:
        inputs = open_inputs(args.encoder, args.data, args.split, args.head)
        report = zero_shot_report(inputs, args.prompts, args.embeddings)
        print(report.text, end="")
        if out is not None:
            report.write(out)
    if args.out is not None:
        print(f"\n{args.out}: {', '.join(FILES)}")
    return 0
