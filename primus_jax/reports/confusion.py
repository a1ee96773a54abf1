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
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from primus_jax.reports.figure import COLORS, INK, PAGE_INCHES, figure_file
from primus_jax.reports.rows import ResultRow, Rows, datasets_of

SHADES = LinearSegmentedColormap.from_list("share", ["#ffffff", "#cfe2f0", COLORS[0]])
# Inches of a cell: of one matrix among several, and of one alone. More classes than fit into
# `_LARGEST` inches get smaller cells, and no numbers where these would be too small to read.
CELL, LARGE_CELL = 0.34, 0.62
_LARGEST, _LEAST_WITH_NUMBERS = 8.0, 0.25
# Points of the letters, and inches that a letter and a line take at that size.
_POINTS, _LETTER_INCHES, _LINE_INCHES = 8.5, 0.071, 0.15
# Letters of a line of a class's name, of one in a single line, and most lines.
_LETTERS, _ALONE, _LINES = 22, 34, 3
_TITLE_LETTER_INCHES, _LEAST_TITLE = 0.09, 22
_HEADING_INCHES = 0.45


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

    def margins(self) -> tuple[float, float, float, float]:
        """Inches left of, below, right of and above the matrix that its words take."""
        names = (self.row_names(), self.column_names())
        beside, below = (
            _LETTER_INCHES * max(len(line) for name in side for line in name.split("\n"))
            for side in names
        )
        title = self.wrapped_title().split("\n")
        beyond = _TITLE_LETTER_INCHES * max(map(len, title)) - self.side
        return 0.55 + beside, 0.55 + below, 0.15 + max(0, beyond), 0.2 + 0.17 * len(title)

    @property
    def side(self) -> float:
        """Inches of the matrix itself, which is square."""
        return self.cell_inches * len(self.names)

    def size(self) -> tuple[float, float]:
        """Inches that the matrix takes with its names and title: width, height."""
        left, below, right, above = self.margins()
        return left + self.side + right, below + self.side + above

    def column_names(self) -> list[str]:
        """The names as they are written below the matrix, in as many lines as a cell holds."""
        lines = max(1, min(_LINES, int(self.cell_inches / _LINE_INCHES)))
        return [short_name(name, lines, _LETTERS if lines > 1 else _ALONE) for name in self.names]

    def row_names(self) -> list[str]:
        """The names beside the matrix, with the number of windows of each true class."""
        totals = self.counts.sum(1)
        return [f"{name} ({n:,})" for name, n in zip(self.column_names(), totals, strict=True)]

    def wrapped_title(self) -> str:
        """The title in lines no wider than the matrix, or than `_LEAST_TITLE` letters."""
        letters = max(_LEAST_TITLE, int(self.side / _TITLE_LETTER_INCHES))
        return "\n".join(textwrap.wrap(self.title, letters))


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
    size = min(_POINTS, 72 * 0.8 * cell)
    axes.set_xticks(range(count), confusion.column_names(), rotation=90, fontsize=size)
    axes.set_yticks(range(count), confusion.row_names(), fontsize=size)
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(visible=False)
    axes.grid(visible=True, which="minor", color="#dddddd", linewidth=0.8)
    axes.tick_params(which="both", length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true (windows)")
    axes.set_title(confusion.wrapped_title(), fontsize=10)


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
    blocks = [Block(title, matrices)]
    with figure_file(path, blocks_inches(blocks), svg=svg) as figure:
        draw_blocks(figure, blocks)


def plot_all_confusions(rows: Rows, path: Path) -> None:
    """Every method's confusion matrix on every dataset, at the largest shot count.

    Args:
        rows: of results.jsonl (`comparison.compare`).
        path: the PNG.
    """
    most = max(row["shots"] for row in rows)
    blocks = []
    for dataset, own in datasets_of([row for row in rows if row["shots"] == most]).items():
        simulated = " (simulated)" if own[0]["simulated"] else ""
        title = f"{dataset}{simulated}, {most} labelled windows per class, per cent of the row"
        blocks.append(Block(title, [Confusion.of_row(row) for row in own]))
    with figure_file(path, blocks_inches(blocks)) as figure:
        draw_blocks(figure, blocks)


@dataclasses.dataclass(frozen=True)
class Block:
    """Matrices of the same classes below one title, in rows as wide as a page."""

    title: str
    matrices: Sequence[Confusion]

    @property
    def tile(self) -> tuple[float, float]:
        """Inches that each matrix gets, those of the largest: width, height."""
        width, height = (max(s) for s in zip(*(m.size() for m in self.matrices), strict=True))
        return width, height

    @property
    def across(self) -> int:
        """Matrices side by side."""
        return min(len(self.matrices), max(1, int(PAGE_INCHES / self.tile[0])))

    def size(self) -> tuple[float, float]:
        """Inches of the whole: width, height."""
        width, height = self.tile
        down = -(-len(self.matrices) // self.across)
        return max(self.across * width, 0.105 * len(self.title)), _HEADING_INCHES + down * height


def blocks_inches(blocks: Sequence[Block]) -> tuple[float, float]:
    """Inches of blocks one below the other: width, height."""
    widths, heights = zip(*(block.size() for block in blocks), strict=True)
    return max(widths), sum(heights)


def draw_blocks(figure: Figure, blocks: Sequence[Block]) -> None:
    """Draw blocks one below the other; every cell gets the inches that it was planned with."""
    figure.set_layout_engine("none")
    width, height = blocks_inches(blocks)
    top = height
    for block in blocks:
        figure.text(
            0.5, (top - 0.1) / height, block.title, ha="center", va="top", fontsize=12,
            fontweight="bold",
        )  # fmt: skip
        across, tile = block.across, block.tile
        above = max(matrix.margins()[3] for matrix in block.matrices)
        for number, matrix in enumerate(block.matrices):
            left = matrix.margins()[0]
            row, column = divmod(number, across)
            x = column * tile[0] + left
            y = top - _HEADING_INCHES - row * tile[1] - above - matrix.side
            place = (x / width, y / height, matrix.side / width, matrix.side / height)
            draw_confusion(figure.add_axes(place), matrix)
        top -= block.size()[1]


def short_name(name: str, lines: int = _LINES, letters: int = _LETTERS) -> str:
    """A class's name in at most so many lines, cut off with an ellipsis where it is longer."""
    return "\n".join(textwrap.wrap(name, letters, max_lines=lines, placeholder=" …")) or name


def _legible(shade: float) -> str:
    """White or ink, whichever stands out more from `SHADES` (contrast ratio of WCAG 2.1)."""
    behind, white, ink = (_luminance(color) for color in (SHADES(shade), "white", INK))
    return "white" if (white + 0.05) * (ink + 0.05) > (behind + 0.05) ** 2 else INK


def _luminance(color: ColorType) -> float:
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
