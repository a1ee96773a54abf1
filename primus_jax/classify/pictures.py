"""Pictures for a user's own classifier: the confusion matrix, and a recording's timeline."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgb

from primus_jax.classify.predict import Prediction
from primus_jax.reports.plots import COLORS, FAINT, INK, figure_file

# Columns of the timeline: more would be thinner than a pixel.
COLUMNS = 1200
# Letters of a line of a class's name, and lines.
_LETTERS, _LINES = 20, 3
_SHADES = LinearSegmentedColormap.from_list("probability", ["#ffffff", "#cfe2f0", COLORS[0]])


def plot_confusion(
    confusion: np.ndarray, names: Sequence[str], path: Path, title: str, subtitle: str
) -> None:
    """Rows are true labels, in per cent of their windows, with the count behind each name.

    Names longer than 3 lines of 20 letters are cut off.

    Args:
        confusion: int `[classes, classes]`, rows true, columns predicted.
        names: of the classes.
        path: the PNG.
        title: first line.
        subtitle: smaller, below it.
    """
    count = len(names)
    total = confusion.sum(1)
    share = 100 * confusion / np.maximum(total, 1)[:, None]
    side = 0.62 * count
    short = [_short(name) for name in names]
    with figure_file(path, (max(3.4 + side, 5.6), 1.9 + side)) as figure:
        axes = figure.subplots()
        axes.imshow(share, cmap=_SHADES, vmin=0, vmax=100)
        for i in range(count):
            for j in range(count):
                if confusion[i, j]:
                    text = f"{share[i, j]:.0f}" if share[i, j] >= 0.5 else "<1"
                    color = _legible(share[i, j] / 100)
                    axes.text(j, i, text, ha="center", va="center", fontsize=9, color=color)
        if any("\n" in name for name in short):
            axes.set_xticks(range(count), short, rotation=90)
        else:
            axes.set_xticks(range(count), short, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(
            range(count), [f"{name} ({n:,})" for name, n in zip(short, total, strict=True)]
        )
        axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
        axes.grid(visible=False)
        axes.grid(visible=True, which="minor", color="#dddddd", linewidth=0.8)
        axes.tick_params(which="both", length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true (windows)")
        figure.suptitle(title, fontsize=12, fontweight="bold")
        axes.set_title(subtitle, fontsize=8.5, fontweight="normal", color="#555555", loc="center")


def plot_timeline(prediction: Prediction, path: Path, title: str) -> None:
    """Movement, the predicted label, and every label's probability over the recording.

    A window is drawn over its middle hop. Where there is no window (a gap) nothing is drawn; in a
    long recording neighbouring windows share a column, of which the commonest label and the mean
    probabilities are drawn.
    """
    labels, count = prediction.labels, len(prediction.labels)
    hop = prediction.hop_seconds
    middle = prediction.start_seconds + prediction.window_seconds / 2
    begin, end = middle[0] - hop / 2, middle[-1] + hop / 2
    columns = int(min(COLUMNS, max(round((end - begin) / hop), 1)))
    column = np.clip(((middle - begin) / (end - begin) * columns).astype(int), 0, columns - 1)
    windows = np.bincount(column, minlength=columns)
    there = windows > 0

    def mean(values: np.ndarray) -> np.ndarray:
        total = np.bincount(column, values, columns)
        return np.where(there, total / np.maximum(windows, 1), np.nan)

    votes = np.stack([np.bincount(column[prediction.label == k], minlength=columns)
                      for k in range(count)])  # fmt: skip
    probability = np.stack([mean(prediction.probability[:, k]) for k in range(count)])
    unit, name = _clock(end - begin)
    extent = (begin / unit, end / unit)
    height = 0.3 * count
    with figure_file(path, (11, 2.9 + 2 * height)) as figure:
        top, strip, shade = figure.subplots(3, 1, sharex=True, height_ratios=[1.1, height, height])
        edges = np.linspace(*extent, columns + 1)
        top.stairs(mean(prediction.movement), edges, color=INK, linewidth=1.1, baseline=None)
        top.set_ylabel("movement\n(m/s²)", fontsize=9)
        top.set_title("Standard deviation of acceleration", fontsize=9.5)
        top.set_ylim(bottom=0)
        won = np.where(there, votes.argmax(0), -1)
        for k in range(count):
            runs = np.flatnonzero(np.diff(np.concatenate([[False], won == k, [False]])))
            spans = [(edges[a], edges[b] - edges[a]) for a, b in runs.reshape(-1, 2)]
            strip.broken_barh(spans, (k - 0.4, 0.8), color=COLORS[k % len(COLORS)])
        strip.set_title("Predicted label", fontsize=9.5)
        shade.imshow(probability, cmap=_SHADES, vmin=0, vmax=1, aspect="auto",
                     extent=(*extent, count - 0.5, -0.5), interpolation="nearest")  # fmt: skip
        shade.set_title("Probability (white 0, blue 1)", fontsize=9.5)
        for axes in (strip, shade):
            axes.set_yticks(range(count), [_short(name, 1) for name in labels], fontsize=9)
            axes.set_ylim(count - 0.5, -0.5)
            axes.tick_params(axis="y", length=0)
            axes.grid(visible=False)
        gaps = np.diff(np.concatenate([[False], ~there, [False]]))
        for a, b in np.flatnonzero(gaps).reshape(-1, 2):
            for axes in (top, strip, shade):
                axes.axvspan(edges[a], edges[b], color=FAINT, alpha=0.25, linewidth=0)
        shade.set_xlim(*extent)
        note = " (grey: no window)" if not there.all() else ""
        shade.set_xlabel(f"{name} after the first sample{note}")
        figure.suptitle(title, fontsize=12, fontweight="bold")


def _short(name: str, lines: int = _LINES) -> str:
    """A class's name in at most so many lines."""
    letters = _LETTERS * _LINES // lines
    return "\n".join(textwrap.wrap(name, letters, max_lines=lines, placeholder=" …")) or name


def _legible(shade: float) -> str:
    """White or ink, whichever stands out more from `_SHADES` (contrast ratio of WCAG 2.1)."""
    luminance = [_luminance(color) for color in (_SHADES(shade), "white", INK)]
    return (
        "white"
        if (luminance[1] + 0.05) * (luminance[2] + 0.05) > (luminance[0] + 0.05) ** 2
        else INK
    )


def _luminance(color: Any) -> float:
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _clock(seconds: float) -> tuple[float, str]:
    """Seconds in the unit of an axis of this length, and its name."""
    for unit, name in ((3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 3 * unit:
            return unit, name
    return 1.0, "seconds"
