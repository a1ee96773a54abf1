"""Sentences that stand for a class, and their mean embedding."""

import dataclasses
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.numerics import unit_rows

TEMPLATES = (
    "a person is {}",
    "someone wearing a motion sensor: {}",
    "the activity is {}",
)


@dataclasses.dataclass(frozen=True)
class ClassPrompts:
    """`sentences[i]` stand for class `names[i]`; `embedding` float32 `[classes, dim]` is the mean
    of their unit-norm embeddings; `origin` tells in words where the sentences come from."""

    names: tuple[str, ...]
    sentences: tuple[tuple[str, ...], ...]
    embedding: np.ndarray
    origin: str


def read_prompts(path: Path, label_names: Sequence[str] | None = None) -> dict[str, list[str]]:
    """Read {class: [sentence, ...]} from a JSON file.

    Args:
        path: the file.
        label_names: classes of a dataset, of which the file may leave some out; None: any.

    Raises:
        PrimusError: no such file, not such JSON, a class given twice, or one that the dataset
            does not have.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except OSError as error:
        raise PrimusError(f"{path}: cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise PrimusError(f"{path}: not JSON of {{class: [sentence, ...]}} ({error}).") from error
    if not isinstance(found, dict):
        raise PrimusError(f"{path}: expected an object {{class: [sentence, ...]}}.")
    for name, sentences in found.items():
        strings = isinstance(sentences, list) and all(isinstance(s, str) and s for s in sentences)
        if not sentences or not strings:
            raise PrimusError(f"{path}: class {name!r}: expected a list of one or more sentences.")
    known = found if label_names is None else label_names
    unknown = [name for name in found if name not in known]
    if unknown:
        raise PrimusError(f"{path}: the dataset has no class {unknown[0]!r}; it has {list(known)}.")
    return found


def templated_prompts(
    label_names: Sequence[str], sentences: Collection[str]
) -> dict[str, list[str]]:
    """`TEMPLATES` filled in for each class, those among `sentences`; underscores become blanks.

    Raises:
        PrimusError: classes of which no template is there.
    """
    prompts = {}
    for name in label_names:
        filled = (template.format(name.replace("_", " ")) for template in TEMPLATES)
        prompts[name] = [sentence for sentence in filled if sentence in sentences]
    missing = [name for name, found in prompts.items() if not found]
    if missing:
        raise PrimusError(
            f"no embedding of {TEMPLATES[0].format(missing[0])!r} or another template for "
            f"{', '.join(map(repr, missing))}. Name sentences that have embeddings with --prompts."
        )
    return prompts


def embed_prompts(
    prompts: Mapping[str, Sequence[str]], embeddings: Mapping[str, np.ndarray], origin: str
) -> ClassPrompts:
    """Look every sentence up and average each class.

    Raises:
        PrimusError: sentences without an embedding, or fewer than two classes.
    """
    if len(prompts) < 2:
        raise PrimusError(
            f"{origin}: prompts for {list(prompts) or 'no class'}; zero-shot needs two classes."
        )
    missing = [s for sentences in prompts.values() for s in sentences if s not in embeddings]
    if missing:
        raise PrimusError(
            f"{origin}: {len(missing)} sentences without an embedding, the first {missing[0]!r}. "
            f"Embed them with the text tower that the encoder was pretrained with."
        )
    mean = [
        unit_rows(np.stack([embeddings[s] for s in sentences])).mean(0)
        for sentences in prompts.values()
    ]
    return ClassPrompts(
        tuple(prompts), tuple(tuple(s) for s in prompts.values()), np.stack(mean), origin
    )


def stored_prompts(folder: DatasetFolder, splits: Sequence[str]) -> ClassPrompts:
    """The dataset's own sentences of each class, each once, from the windows not in `splits`.

    Where every split is evaluated there are no others, and the sentences are those of the very
    windows, which `origin` then tells. Classes without a sentence are left out.

    Raises:
        PrimusError: the dataset stores no text embeddings, or has sentences of one class only.
    """
    if "text_embedding" not in folder.metadata.tensors:
        raise PrimusError(
            f"{folder.path} stores no text embeddings. Give some with --embeddings FILE.npz."
        )
    others = [split for split in folder.splits if split not in splits]
    prompts: dict[str, list[str]] = {name: [] for name in folder.label_names}
    embeddings: dict[str, np.ndarray] = {}
    for split in others or splits:
        for rows in folder.windows(split):
            for row in rows:
                if row["label"] < 0 or not row["text"] or not row["has_text_embedding"]:
                    continue
                sentences = prompts[folder.label_names[row["label"]]]
                if row["text"] not in embeddings:
                    embeddings[row["text"]] = row["text_embedding"]
                if row["text"] not in sentences:
                    sentences.append(row["text"])
    where = f"of its {' and '.join(others)} windows" if others else "of the very windows evaluated"
    origin = f"the dataset's own sentences, {where}"
    return embed_prompts({name: s for name, s in prompts.items() if s}, embeddings, origin)


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """The JSON object of these pairs; a name that is given twice is refused."""
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PrimusError(f"prompts: the class {twice!r} is given twice.")
    return dict(pairs)
