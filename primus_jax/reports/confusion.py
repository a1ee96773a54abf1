"""Confusion matrices as pictures: per cent of each true class, rows true, columns predicted.

A report shows them unscaled, so every size here is one that is read at 100 % in a browser.
"""

import dataclasses
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import SubFigure
from matplotlib.typing import ColorType

from primus_jax.reports.figure import COLORS, INK, PAGE_INCHES, figure_file
from primus_jax.reports.rows import ResultRow, Rows, datasets_of

SHADES = LinearSegmentedColormap.from_list("share", ["#ffffff", "#cfe2f0", COLORS[0]])
# Inches of a cell: of one matrix among several, and of one alone. More classes than fit into
# `_LARGEST` inches get smaller cells, and no numbers where these would be too small to read.
CELL, LARGE_CELL = 0.34, 0.62
_LARGEST, _LEAST_WITH_NUMBERS = 8.0, 0.25
# Points of the letters, inches that one takes at that size, letters and lines of a class's name.
_POINTS, _LETTER_INCHES, _LINE_INCHES = 8.5, 0.078, 0.15
_LETTERS, _LINES = 22, 3
_TITLE_INCHES = 0.75  # with the word "predicted" below


@dataclasses.dataclass(frozen=True)
class Confusion:
    """A matrix to draw.

    Attributes:
        counts: `[classes, classes]`, rows true, columns predicted.
        names: of the classes.
        title: above the matrix.
        cell: inches of a cell, where there are not too many of them.
    """

    counts: np.ndarray
    names: tuple[str, ...]
    title: str
    cell: float = CELL

    @classmethod
    def of_row(cls, row: ResultRow) -> "Confusion":
        """The matrix of one row of results.jsonl, under its method and macro-F1."""
        title = f"{row['method']}: macro-F1 {100 * row['macro_f1']:.1f}"
        return cls(np.asarray(row["confusion"], np.int64), tuple(row["label_names"]), title)

    @property
    def cell_inches(self) -> float:
        """Width and height of a cell."""
        return min(self.cell, _LARGEST / len(self.names))

    def size(self) -> tuple[float, float]:
        """Inches that the matrix takes with its names and title: width, height."""
        matrix = self.cell_inches * len(self.names)
        lines = max(1, min(_LINES, int(self.cell_inches / _LINE_INCHES)))
        rows = [short_name(name, lines) for name in self._counted()]
        beside, below = (
            0.12 + _LETTER_INCHES * max(len(line) for name in names for line in name.split("\n"))
            for names in (rows, [short_name(name, lines) for name in self.names])
        )
        return matrix + beside + 0.45, matrix + below + _TITLE_INCHES

    def _counted(self) -> list[str]:
        totals = self.counts.sum(1)
        return [f"{name} ({n:,})" for name, n in zip(self.names, totals, strict=True)]


def draw_confusion(axes: Axes, confusion: Confusion) -> None:
    """Draw one matrix, with the number of windows behind each true class's name.

    Shares below half a per cent are left blank, as are all of a class without windows.
    """
    count, cell = len(confusion.names), confusion.cell_inches
    totals = confusion.counts.sum(1, keepdims=True)
    share = 100 * confusion.counts / np.maximum(totals, 1)
    axes.imshow(share, cmap=SHADES, vmin=0, vmax=100)
    if cell >= _LEAST_WITH_NUMBERS:
        for i, j in np.argwhere(share >= 0.5):
            axes.text(
                j, i, f"{share[i, j]:.0f}", ha="center", va="center", fontsize=_POINTS,
                color=_legible(share[i, j] / 100),
            )  # fmt: skip
    lines = max(1, min(_LINES, int(cell / _LINE_INCHES)))
    below = [short_name(name, lines) for name in confusion.names]
    beside = [short_name(name, lines) for name in confusion._counted()]
    size = min(_POINTS, 72 * 0.8 * cell)
    axes.set_xticks(range(count), below, rotation=90, fontsize=size)
    axes.set_yticks(range(count), beside, fontsize=size)
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(visible=False)
    axes.grid(visible=True, which="minor", color="#dddddd", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true (windows)")
    axes.set_title(confusion.title, fontsize=10)


def plot_confusions(
    matrices: Sequence[Confusion], path: Path, title: str, *, svg: bool = False
) -> None:
    """Draw matrices below one title, as many side by side as a page is wide.

    Args:
        matrices: of the same classes.
        path: the PNG.
        title: above them.
        svg: write an SVG beside the PNG.
    """
    size = _grid_inches(matrices)
    with figure_file(path, size, svg=svg) as figure:
        _draw_grid(figure.subfigures(), matrices, title)


def plot_all_confusions(rows: Rows, path: Path) -> None:
    """Every method's confusion matrix on every dataset, at the largest shot count.

    Args:
        rows: of results.jsonl (`comparison.compare`).
        path: the PNG.
    """
    most = max(row["shots"] for row in rows)
    sets = datasets_of([row for row in rows if row["shots"] == most])
    matrices = [[Confusion.of_row(row) for row in chosen] for chosen in sets.values()]
    sizes = [_grid_inches(chosen) for chosen in matrices]
    width, heights = max(w for w, _ in sizes), [h for _, h in sizes]
    with figure_file(path, (width, sum(heights))) as figure:
        parts = figure.subfigures(len(sets), 1, squeeze=False, height_ratios=heights)[:, 0]
        for part, drawn, (dataset, chosen) in zip(parts, matrices, sets.items(), strict=True):
            simulated = " (simulated)" if chosen[0]["simulated"] else ""
            heading = f"{dataset}{simulated}, {most} labelled windows per class"
            _draw_grid(part, drawn, f"{heading}, per cent of the row")


def short_name(name: str, lines: int = _LINES) -> str:
    """A class's name in at most so many lines, cut off with an ellipsis where it is longer."""
    wrapped = textwrap.wrap(name, _LETTERS, max_lines=lines, placeholder=" …")
    return "\n".join(wrapped) or name


def _across(matrices: Sequence[Confusion]) -> int:
    """Matrices side by side on a page."""
    return min(len(matrices), max(1, int(PAGE_INCHES / matrices[0].size()[0])))


def _grid_inches(matrices: Sequence[Confusion]) -> tuple[float, float]:
    across = _across(matrices)
    width, height = (max(side) for side in zip(*(m.size() for m in matrices), strict=True))
    return max(across * width, 5.6), 0.45 + -(-len(matrices) // across) * height


def _draw_grid(figure: SubFigure, matrices: Sequence[Confusion], title: str) -> None:
    across = _across(matrices)
    grid = figure.subplots(-(-len(matrices) // across), across, squeeze=False)
    for axes in grid.flat[len(matrices) :]:
        axes.set_visible(False)
    for axes, matrix in zip(grid.flat, matrices, strict=False):
        draw_confusion(axes, matrix)
    figure.suptitle(title, fontsize=12, fontweight="bold")


def _legible(shade: float) -> str:
    """White or ink, whichever stands out more from `SHADES` (contrast ratio of WCAG 2.1)."""
    behind, white, ink = (_luminance(color) for color in (SHADES(shade), "white", INK))
    return "white" if (white + 0.05) * (ink + 0.05) > (behind + 0.05) ** 2 else INK


def _luminance(color: ColorType) -> float:
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
