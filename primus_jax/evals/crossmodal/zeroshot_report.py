"""Zero-shot classification on a dataset folder as a row and text."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from primus_jax.data.embeddings import load_embeddings
from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.evals.crossmodal.inputs import Inputs
from primus_jax.evals.crossmodal.prompts import (
    ClassPrompts,
    embed_prompts,
    read_prompts,
    stored_prompts,
    templated_prompts,
)
from primus_jax.evals.crossmodal.zeroshot import zero_shot, zero_shot_table
from primus_jax.reports.rows import write_rows

FILES = ("results.jsonl", "table.md")


@dataclasses.dataclass(frozen=True)
class ZeroShotReport:
    """The row of results.jsonl, and table.md."""

    row: dict[str, Any]
    text: str

    def write(self, folder: Path) -> None:
        """Write `FILES` into an existing folder."""
        write_rows(folder / FILES[0], [self.row])
        (folder / FILES[1]).write_text(self.text, encoding="utf-8")


def zero_shot_report(
    inputs: Inputs, sentences: Path | None = None, embeddings: Path | None = None
) -> ZeroShotReport:
    """Evaluate zero-shot beside chance.

    Args:
        inputs: encoder and dataset.
        sentences: a JSON file of {class: [sentence, ...]}; None: templates.
        embeddings: an .npz with `text` and `text_embedding`; None: the dataset's own sentences.

    Raises:
        PrimusError: sentences without embeddings, or what `zero_shot` raises.
    """
    folder = inputs.folder
    prompts = class_prompts(folder, inputs.splits, sentences, embeddings)
    windows = inputs.windows(prompts.embedding.shape[1], f"the prompts ({prompts.origin})")
    result = zero_shot(windows.embedding, windows.label, folder.label_names, prompts)
    row = {
        **inputs.row(),
        **result.row(),
        "prompts": dict(zip(prompts.names, prompts.sentences, strict=True)),
        "prompts_from": prompts.origin,
    }
    left_out = result.left_out
    lines = [
        f"## {inputs.title}",
        f"Encoder {inputs.path}, head {inputs.head}; {row['windows']:,} windows, {row['classes']} "
        f"classes, {row['classes_with_windows']} of them with windows (the largest has "
        f"{100 * row['largest_class']:.1f} %); left out: {left_out['unlabelled']:,} unlabelled, "
        f"{left_out['no_prompt']:,} of classes without a prompt.",
        f"Prompts: {sum(map(len, prompts.sentences))} from {prompts.origin}.",
        *inputs.training_notes(("text",)),
        "",
        zero_shot_table(result),
    ]
    return ZeroShotReport(row, "\n".join(lines) + "\n")


def class_prompts(
    folder: DatasetFolder, splits: Sequence[str], sentences: Path | None, embeddings: Path | None
) -> ClassPrompts:
    """The prompts of `zero_shot_report`.

    Raises:
        PrimusError: `sentences` without `embeddings`, or what the readers of both raise.
    """
    if embeddings is None:
        if sentences is not None:
            raise PrimusError("--prompts needs --embeddings, an .npz with those sentences.")
        return stored_prompts(folder, splits)
    found = load_embeddings(embeddings).text
    if sentences is not None:
        prompts, origin = read_prompts(sentences, folder.label_names), str(sentences)
    else:
        prompts, origin = templated_prompts(folder.label_names, found), "templates"
    return embed_prompts(prompts, found, origin)
