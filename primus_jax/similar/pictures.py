"""A picture of a query and of the stretches that are most like it."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from primus_jax.reports.figure import COLORS, FAINT, INK, figure_file
from primus_jax.similar.find import Similar, Stretch

# More rows are too many for a page.
DRAWN = 8
# More points than a line of the picture has pixels are drawn by their least.
COLUMNS = 1500


def plot_similar(found: Similar, path: Path, title: str) -> None:
    """Draw the distance over the recording, then the signals of the query and of the matches.

    Signals of one sensor share their scale. Of many matches the first `DRAWN` are drawn.
    """
    drawn = [found.query, *found.matches[:DRAWN]]
    sides = found.channels // 3
    with figure_file(path, (4 + 3.5 * sides, 2.1 + 1.45 * len(drawn))) as figure:
        heights = [1.7, 1.45 * len(drawn)]
        top, below = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
        _plot_distances(found, len(drawn), top.subplots())
        rows = below.subplots(len(drawn), sides, sharex=True, sharey="col", squeeze=False)
        for number, (stretch, axes) in enumerate(zip(drawn, rows, strict=True)):
            for side, axis in enumerate(axes):
                _plot_signal(found, stretch, axis, side)
            axes[0].set_title(_words(found, stretch, number), fontsize=9.5)
        for axis in rows[-1]:
            axis.set_xlabel("seconds after the start of the stretch")
        names = ("acceleration (m/s²)", "rotation (rad/s)")
        for side in range(sides):
            rows[0, side].annotate(
                names[side], (1, 1), xytext=(0, 4), textcoords="offset points",
                xycoords="axes fraction", ha="right", fontsize=9, color=FAINT,
            )  # fmt: skip
        lines = [Line2D([], [], color=COLORS[i], label=f"{'xyz'[i]}") for i in range(3)]
        below.legend(handles=lines, loc="outside lower right", ncols=3, fontsize=9)
        figure.suptitle(title, fontsize=12, fontweight="bold")


def _plot_distances(found: Similar, drawn: int, axes: Axes) -> None:
    """The distance of every window over time; broken where the recording has a gap."""
    middle = found.start_seconds + found.seconds / 2
    columns = min(len(middle), COLUMNS)
    edges = np.linspace(middle[0], middle[-1] + 1e-9, columns + 1)
    column = np.clip(np.searchsorted(edges, middle, "right") - 1, 0, columns - 1)
    least = np.full(columns, np.inf)
    np.minimum.at(least, column, found.distances)
    first = np.full(columns, np.nan)
    first[column[::-1]] = middle[::-1]
    there = np.isfinite(least)
    time, value = first[there], least[there]
    step = np.diff(time, append=time[-1])
    gaps = np.flatnonzero(step > 2 * np.median(step)) + 1
    axes.plot(np.insert(time, gaps, np.nan), np.insert(value, gaps, np.nan), color=INK, lw=0.9)
    axes.axvspan(
        found.query.start_seconds, found.query.start_seconds + found.seconds,
        color=COLORS[1], alpha=0.35, lw=0,
    )  # fmt: skip
    axes.annotate("query", (found.query.start_seconds + found.seconds / 2, 1), ha="center",
                  xycoords=("data", "axes fraction"), fontsize=8.5, color=COLORS[1])  # fmt: skip
    for number, match in enumerate(found.matches[: drawn - 1], 1):
        place = match.start_seconds + found.seconds / 2, match.distance
        axes.plot(*place, "o", color=COLORS[0], ms=4)
        axes.annotate(f"{number}", place, xytext=(0, -11), textcoords="offset points",
                      ha="center", fontsize=8.5, color=COLORS[0])  # fmt: skip
    axes.margins(y=0.25)
    axes.set_title(f"{found.measure[0].upper()}{found.measure[1:]} of the query", fontsize=9.5)
    axes.set_xlabel("seconds after the first sample (middle of the stretch)")


def _plot_signal(found: Similar, stretch: Stretch, axis: Axes, side: int) -> None:
    time = np.arange(len(stretch.signal)) / found.rate_hz
    for channel in range(3):
        axis.plot(time, stretch.signal[:, 3 * side + channel], color=COLORS[channel], lw=1.2)
    axis.set_xlim(0, found.seconds)


def _words(found: Similar, stretch: Stretch, number: int) -> str:
    name = f"match {number}" if number else "query"
    end = stretch.start_seconds + found.seconds
    text = f"{name}: {stretch.start_seconds:.2f} s to {end:.2f} s"
    return f"{text}, distance {stretch.distance:.4g}" if number else text
