"""A picture of a recording's predicted labels over time."""

from pathlib import Path

import numpy as np

from primus_jax.classify.predict import Prediction
from primus_jax.reports.confusion import SHADES, short_name
from primus_jax.reports.figure import COLORS, FAINT, INK, figure_file

# Columns of the timeline: more would be thinner than a pixel.
COLUMNS = 1200
_LETTERS = 60  # of a label's name


def plot_timeline(prediction: Prediction, path: Path, title: str) -> None:
    """Movement, the predicted label, and every label's probability over the recording.

    A window is drawn over its middle hop. Where there is no window (a gap) nothing is drawn; in a
    long recording neighbouring windows share a column, of which the commonest label and the mean
    probabilities are drawn.
    """
    names = [short_name(name, 1, _LETTERS) for name in prediction.labels]
    count = len(names)
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
        shade.imshow(probability, cmap=SHADES, vmin=0, vmax=1, aspect="auto",
                     extent=(*extent, count - 0.5, -0.5), interpolation="nearest")  # fmt: skip
        shade.set_title("Probability (white 0, blue 1)", fontsize=9.5)
        for axes in (strip, shade):
            axes.set_yticks(range(count), names, fontsize=9)
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


def _clock(seconds: float) -> tuple[float, str]:
    """Seconds in the unit of an axis of this length, and its name."""
    for unit, name in ((3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 3 * unit:
            return unit, name
    return 1.0, "seconds"
