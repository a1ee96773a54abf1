"""Zero-shot: the class whose prompts are nearest to a window, no label used."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.evals.crossmodal.prompts import ClassPrompts
from primus_jax.evals.crossmodal.ranks import distinct_rows
from primus_jax.evals.metrics import METRICS
from primus_jax.numerics import unit_rows
from primus_jax.reports.markdown import markdown_table

BLOCK = 4096


@dataclasses.dataclass(frozen=True)
class ZeroShot:
    """Outcome on some windows.

    `confusion` is float64 `[classes, classes]`, rows true, columns predicted; a window that two
    classes of equal prompts share counts half in each. `left_out` counts windows by reason.
    """

    names: tuple[str, ...]
    confusion: np.ndarray
    left_out: dict[str, int]

    @property
    def chance(self) -> np.ndarray:
        """The confusion to expect from drawing one of the classes, all alike, for each window."""
        windows = self.confusion.sum(1, keepdims=True)
        return np.broadcast_to(windows / len(self.names), self.confusion.shape)

    def row(self) -> dict[str, Any]:
        """The figures for results.jsonl."""
        windows = self.confusion.sum(1)
        return {
            "windows": round(windows.sum()),
            "left_out": self.left_out,
            "classes": len(self.names),
            "classes_with_windows": int((windows > 0).sum()),
            **_scores(self.confusion),
            "chance": _scores(self.chance),
            "largest_class": float(windows.max() / windows.sum()),
            "label_names": list(self.names),
            "confusion": self.confusion.tolist(),
        }


def zero_shot(
    embedding: np.ndarray, label: np.ndarray, label_names: tuple[str, ...], prompts: ClassPrompts
) -> ZeroShot:
    """Predict for each window the class whose mean prompt embedding has the largest cosine.

    Args:
        embedding: float32 `[n, dim]`.
        label: int `[n]`, an index into `label_names`, or -1; unlabelled windows and those of a
            class without prompts are left out and counted.
        label_names: of the dataset.
        prompts: of some of its classes.

    Raises:
        PrimusError: widths differ, embeddings not finite, or no window of a prompted class.
    """
    if embedding.shape[1] != prompts.embedding.shape[1]:
        raise PrimusError(
            f"windows have embeddings of {embedding.shape[1]} values, the prompts "
            f"{prompts.embedding.shape[1]}: they cannot be compared."
        )
    # one more entry, for the label -1
    place = np.array([*(_index(prompts.names, name) for name in label_names), -1])[label]
    rows = place >= 0
    if not rows.any():
        raise PrimusError(
            f"no window is labelled with a class that has prompts ({', '.join(prompts.names)})."
        )
    unlabelled = int((label < 0).sum())
    left_out = {"unlabelled": unlabelled, "no_prompt": int((~rows).sum()) - unlabelled}
    vectors, which = distinct_rows(unit_rows(prompts.embedding))
    # classes of equal prompts share what falls to their common vector
    share = (which[None, :] == np.arange(len(vectors))[:, None]).astype(np.float64)
    share /= share.sum(1, keepdims=True)
    found = _nearest(unit_rows(embedding[rows]), vectors)
    counts = np.zeros((len(prompts.names), len(vectors)))
    np.add.at(counts, (place[rows], found), 1)
    return ZeroShot(prompts.names, counts @ share, left_out)


def zero_shot_table(result: ZeroShot) -> str:
    """Markdown: the scores beside chance, then each class with what it was most taken for."""
    row, names = result.row(), result.names
    metrics = {
        "accuracy": "accuracy %",
        "macro_f1": "macro-F1 %",
        "balanced_accuracy": "balanced %",
    }
    scores = [
        [title, *(f"{100 * values[metric]:.1f}" for metric in metrics)]
        for title, values in (("zeroshot", row), ("chance", row["chance"]))
    ]
    classes = []
    for i, name in enumerate(names):
        counts = result.confusion[i]
        total, wrong = counts.sum(), np.where(np.arange(len(names)) == i, 0, counts)
        right = f"{100 * counts[i] / total:.1f}" if total else ""
        other = names[int(wrong.argmax())] if wrong.any() else ""
        classes.append([name, f"{total:,.0f}", right, other])
    header = ["class", "windows", "right %", "most often taken for"]
    return (
        f"{markdown_table(['', *metrics.values()], scores)}\n\n"
        f"{markdown_table(header, classes, left=(0, 3))}"
    )


def _scores(confusion: np.ndarray) -> dict[str, float]:
    return {name: float(metric(confusion)) for name, metric in METRICS.items()}


@jax.jit
def _nearest_block(windows: jax.Array, vectors: jax.Array) -> jax.Array:
    score = jnp.matmul(windows, vectors.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.argmax(score, axis=1)


def _nearest(windows: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Row of `vectors` with the largest product for each of `windows` `[n, dim]`, in blocks."""
    found = []
    for start in range(0, len(windows), BLOCK):
        block = windows[start : start + BLOCK]
        padded = np.pad(block, [(0, BLOCK - len(block)), (0, 0)])
        found.append(np.asarray(_nearest_block(padded, vectors))[: len(block)])
    return np.concatenate(found)


def _index(names: tuple[str, ...], name: str) -> int:
    return names.index(name) if name in names else -1
