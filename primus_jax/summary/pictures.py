"""A picture of a recording's bouts over time."""

from pathlib import Path

import numpy as np

from primus_jax.reports.confusion import short_name
from primus_jax.reports.figure import COLORS, FAINT, INK, figure_file
from primus_jax.summary.activity import Activity
from primus_jax.summary.bouts import UNSURE

# Columns of the line: more would be thinner than a pixel.
_COLUMNS = 1200
_LETTERS = 60  # of a label's name


def plot_bouts(activity: Activity, path: Path) -> None:
    """Bouts of every label, of unsure ones a grey row, above the probability of the best label.

    Time that no window covers is shaded.

    Args:
        activity: of a recording.
        path: the PNG.
    """
    found, bouts = activity.prediction, activity.bouts
    rows = [*found.labels, UNSURE]
    length = max(bouts[-1].end_seconds, found.report.seconds)
    unit, unit_name = next(
        (size, name)
        for size, name in ((3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))
        if length >= 3 * size or size == 1.0
    )
    with figure_file(path, (11, 2.6 + 0.3 * len(rows))) as figure:
        strip, line = figure.subplots(2, 1, sharex=True, height_ratios=[0.3 * len(rows), 1.1])
        for k, name in enumerate(rows):
            chosen = [bout for bout in bouts if bout.name == name]
            spans = [(bout.start_seconds / unit, bout.seconds / unit) for bout in chosen]
            color = FAINT if name == UNSURE else COLORS[k % len(COLORS)]
            strip.broken_barh(spans, (k - 0.4, 0.8), color=color)
        strip.set_yticks(range(len(rows)), [short_name(n, 1, _LETTERS) for n in rows], fontsize=9)
        strip.set_ylim(len(rows) - 0.5, -0.5)
        strip.tick_params(axis="y", length=0)
        strip.grid(visible=False, axis="y")
        strip.set_title("Bouts", fontsize=9.5)
        edges, mean = _binned(found.start_seconds + found.window_seconds / 2,
                              found.probability.max(1), length)  # fmt: skip
        line.stairs(mean, edges / unit, color=INK, linewidth=1.1, baseline=None)
        for level in (activity.rule.enter, activity.rule.stay):
            line.axhline(level, color=FAINT, linewidth=0.9, linestyle=":")
        line.set_ylim(0, 1.03)
        line.set_title("Probability of the best label (dotted: to enter and to stay)", fontsize=9.5)
        covered = [(0.0, bouts[0].start_seconds), *activity.gaps, (bouts[-1].end_seconds, length)]
        for begin, end in covered:
            for axes in (strip, line):
                axes.axvspan(begin / unit, end / unit, color=FAINT, alpha=0.25, linewidth=0)
        line.set_xlim(0, length / unit)
        line.set_xlabel(f"{unit_name} after the first sample (grey: no window)")
        figure.suptitle(activity.name, fontsize=12, fontweight="bold", parse_math=False)


def _binned(seconds: np.ndarray, value: np.ndarray, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Edges `[columns + 1]`, and the mean of `value` `[n]` in each column; NaN where none lies."""
    columns = int(min(_COLUMNS, max(len(seconds), 1)))
    place = np.clip((seconds / length * columns).astype(int), 0, columns - 1)
    count = np.bincount(place, minlength=columns)
    total = np.bincount(place, value, columns)
    mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return np.linspace(0, length, columns + 1), mean
