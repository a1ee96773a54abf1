"""Predicted against true numbers: scatter plots, and Bland and Altman's plots."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from primus_jax.reports.figure import COLORS, FAINT, INK, MARKERS, figure_file

_COLUMNS = 3
# Windows of one panel that are drawn, a seeded choice.
_MOST = 3000


class Panel(NamedTuple):
    """One method: `true` and `predicted` `[n]` by window, `group` str `[n]`, and the means of each
    person, `person_true` and `person_predicted` `[people]`, sorted by the group's name."""

    title: str
    true: np.ndarray
    predicted: np.ndarray
    group: np.ndarray
    person_true: np.ndarray
    person_predicted: np.ndarray


def plot_scatter(panels: Sequence[Panel], target: str, path: Path) -> None:
    """Predicted over true, one panel for each method, on one scale; large dots are people."""
    values = np.concatenate([np.concatenate([p.true, p.predicted]) for p in panels])
    low, high = _range(values)
    with figure_file(path, _size(panels)) as figure:
        for axes, panel in zip(_axes(figure, panels), panels, strict=True):
            axes.plot([low, high], [low, high], color=FAINT, linewidth=1, zorder=1)
            _points(axes, panel, panel.true, panel.predicted)
            _people(axes, panel, panel.person_true, panel.person_predicted)
            r = _correlation(panel.true, panel.predicted)
            mae = np.abs(panel.predicted - panel.true).mean()
            axes.set_title(panel.title)
            _note(axes, f"MAE {mae:.3g}\nr {r:.2f}" if r is not None else f"MAE {mae:.3g}")
            axes.set_xlim(low, high)
            axes.set_ylim(low, high)
            axes.set_xlabel("true")
            axes.set_ylabel("predicted")
        _legend(figure, target)


def plot_bland_altman(panels: Sequence[Panel], target: str, path: Path) -> None:
    """Predicted minus true over the mean of both, with bias and 95 % limits of agreement."""
    across = _range(np.concatenate([(p.true + p.predicted) / 2 for p in panels]))
    along = _range(np.concatenate([p.predicted - p.true for p in panels]), room=0.2)
    with figure_file(path, _size(panels)) as figure:
        for axes, panel in zip(_axes(figure, panels), panels, strict=True):
            difference = panel.predicted - panel.true
            _points(axes, panel, (panel.true + panel.predicted) / 2, difference)
            _people(
                axes, panel, (panel.person_true + panel.person_predicted) / 2,
                panel.person_predicted - panel.person_true,
            )  # fmt: skip
            bias = difference.mean()
            width = 1.96 * difference.std(ddof=1) if len(difference) > 1 else 0.0
            for value, style in ((bias, "-"), (bias - width, "--"), (bias + width, "--")):
                axes.axhline(value, color=INK, linestyle=style, linewidth=1)
            axes.set_title(panel.title)
            _note(axes, f"bias {bias:.2g}, limits {bias - width:.2g} to {bias + width:.2g}")
            axes.set_xlim(*across)
            axes.set_ylim(*along)
            axes.set_xlabel("mean of true and predicted")
            axes.set_ylabel("predicted - true")
        _legend(figure, target)


def _axes(figure: Figure, panels: Sequence[Panel]) -> list[Axes]:
    columns = min(_COLUMNS, len(panels))
    grid = figure.subplots(math.ceil(len(panels) / columns), columns, squeeze=False).ravel()
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    return list(grid[: len(panels)])


def _size(panels: Sequence[Panel]) -> tuple[float, float]:
    columns = min(_COLUMNS, len(panels))
    return 0.4 + 3.7 * columns, 0.9 + 3.6 * math.ceil(len(panels) / columns)


def _points(axes: Axes, panel: Panel, x: np.ndarray, y: np.ndarray) -> None:
    names, person = np.unique(panel.group, return_inverse=True)
    shown = np.random.default_rng(0).permutation(len(x))[:_MOST]
    for k in range(len(names)):
        rows = shown[person[shown] == k]
        axes.scatter(
            x[rows], y[rows], s=9, color=COLORS[k % len(COLORS)], alpha=0.35, linewidths=0,
            marker=MARKERS[k // len(COLORS) % len(MARKERS)], zorder=2,
        )  # fmt: skip


def _people(axes: Axes, panel: Panel, x: np.ndarray, y: np.ndarray) -> None:
    colors = [COLORS[k % len(COLORS)] for k in range(len(x))]
    axes.scatter(x, y, s=46, facecolors=colors, edgecolors="white", linewidths=0.9, zorder=3)


def _legend(figure: Figure, target: str) -> None:
    figure.suptitle(target, parse_math=False)
    axes = figure.axes[0]
    handles = [
        axes.scatter([], [], s=9, color=INK, alpha=0.5, linewidths=0),
        axes.scatter([], [], s=46, facecolors=INK, edgecolors="white", linewidths=0.9),
    ]
    figure.legend(
        handles, ["a window", "mean of a person (colours repeat)"],
        loc="outside lower center", ncols=2, fontsize=9,
    )  # fmt: skip


def _note(axes: Axes, text: str) -> None:
    axes.text(0.03, 0.97, text, transform=axes.transAxes, va="top", fontsize=9, color=INK)


def _range(values: np.ndarray, room: float = 0.05) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = room * (high - low) or max(abs(high), 1.0) * room
    return low - margin, high + margin


def _correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(np.corrcoef(x, y)[0, 1])
