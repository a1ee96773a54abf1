"""The classifier head that language gives: one row per class from the embeddings of its prompts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from primus_jax.data.embeddings import load_embeddings
from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.evals.crossmodal.prompts import (
    ClassPrompts,
    embed_prompts,
    stored_prompts,
    templated_prompts,
)


def class_embeddings(path: Path, label_names: Sequence[str]) -> np.ndarray:
    """Mean over a class's templates of their unit-norm embeddings, float32 `[classes, dim]`.

    The mean is not normalised again, as in the paper's released code.

    Args:
        path: an .npz with `text` str `[m]` and `text_embedding` float `[m, dim]`.
        label_names: the classes.

    Raises:
        PrimusError: not such a file, or a class without any prompt in it.
    """
    embeddings = load_embeddings(path).text
    prompts = templated_prompts(label_names, embeddings)
    return _rows(embed_prompts(prompts, embeddings, str(path)), label_names)


def folder_class_embeddings(folder: DatasetFolder) -> np.ndarray:
    """The same from the dataset's own sentences, those of its train and validation windows.

    Raises:
        PrimusError: no stored text embeddings, or a class without any.
    """
    return _rows(stored_prompts(folder, ("test",)), folder.label_names)


def _rows(prompts: ClassPrompts, label_names: Sequence[str]) -> np.ndarray:
    missing = [name for name in label_names if name not in prompts.names]
    if missing:
        raise PrimusError(
            f"{prompts.origin}: no sentence for {', '.join(map(repr, missing))}; a head from "
            f"prompts needs one for every class. Give a file of prompts, or a random head."
        )
    order = [prompts.names.index(name) for name in label_names]
    return np.asarray(prompts.embedding[order], np.float32)
