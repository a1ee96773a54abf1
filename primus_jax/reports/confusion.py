"""Confusion matrices as pictures: per cent of each true class, rows true, columns predicted."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from primus_jax.reports.plots import INK, figure_file

ACROSS = 3
# Inches. The class names round a matrix, and one cell; from 24 classes on cells shrink instead.
_NAMES, _CELL, _LARGEST = 1.9, 0.34, 8.0


def draw_confusion(axes: Axes, row: Mapping[str, Any]) -> None:
    """Draw the confusion matrix of one row of results.jsonl; the title says method and macro-F1.

    Shares below half a per cent are left blank, as are all of a class without test windows.
    """
    names = row["label_names"]
    counts = np.asarray(row["confusion"], np.float64)
    share = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    size = 7 * _cell(len(names)) / _CELL
    for i, j in np.argwhere(share >= 0.5):
        color = "white" if share[i, j] > 60 else INK
        axes.text(j, i, f"{share[i, j]:.0f}", ha="center", va="center", fontsize=size, color=color)
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.grid(visible=False)
    axes.set_xlabel("predicted")
    axes.set_title(f"{row['method']}: macro-F1 {100 * row['macro_f1']:.1f}", fontsize=10)


def plot_all_confusions(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Every method's confusion matrix on every dataset, at the largest shot count.

    Args:
        rows: of results.jsonl (`comparison.compare`).
        path: the PNG.
    """
    most = max(row["shots"] for row in rows)
    sets: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["shots"] == most:
            sets.setdefault(row["dataset"], []).append(row)
    across = min(ACROSS, max(map(len, sets.values())))
    down = [-(-len(chosen) // across) for chosen in sets.values()]
    sides = [matrix_side(len(chosen[0]["label_names"])) for chosen in sets.values()]
    heights = [0.8 + n * (side + 0.4) for n, side in zip(down, sides, strict=True)]
    with figure_file(path, (1.2 + max(sides) * across, sum(heights))) as figure:
        parts = figure.subfigures(len(sets), 1, squeeze=False, height_ratios=heights)[:, 0]
        for part, n, (dataset, chosen) in zip(parts, down, sets.items(), strict=True):
            grid = part.subplots(n, across, squeeze=False)
            for axes in grid.flat[len(chosen) :]:
                axes.set_visible(False)
            for axes, row in zip(grid.flat, chosen, strict=False):
                draw_confusion(axes, row)
            for axes in grid[:, 0]:
                axes.set_ylabel("true")
            simulated = " (simulated)" if chosen[0]["simulated"] else ""
            part.suptitle(
                f"{dataset}{simulated}, {most} labelled windows per class, per cent of the row",
                fontsize=12, fontweight="bold",
            )  # fmt: skip


def matrix_side(classes: int) -> float:
    """Inches that a matrix takes with its names."""
    return _NAMES + _cell(classes) * classes


def _cell(classes: int) -> float:
    return min(_CELL, _LARGEST / classes)
