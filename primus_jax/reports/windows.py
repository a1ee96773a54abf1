"""A picture of some windows of a dataset: signal, sentence, and frames where there are any."""

import textwrap
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from primus_jax.data.folder import DatasetFolder
from primus_jax.reports.figure import COLORS, FAINT, INK, check_drawing, figure_file

WINDOWS = 5
# More frames than this are too small to see; evenly spaced ones stand for them.
DRAWN = 6


def draw_windows(folder: DatasetFolder, path: Path, seed: int = 0) -> list[dict[str, Any]]:
    """Draw five random windows with text, label, person, time, signal and frames.

    Args:
        folder: a dataset.
        path: the PNG.
        seed: of the choice, among the windows of all splits.

    Returns:
        the windows, in the order of the picture, each with its `split`.

    Raises:
        PrimusError: a negative seed, or another kind of file.
    """
    check_drawing(path, seed)
    windows = _choose(folder, seed)
    frames = "frames" in folder.metadata.tensors
    size = (14.5 if frames else 10.5, 2.35 * len(windows) + 0.6)
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), figure_file(path, size) as figure:
        # A sentence in a script that the font lacks is drawn as boxes, which is enough.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.set_layout_engine("constrained", h_pad=0.08, w_pad=0.06)
        ratios = [1, 1, 1.25] if frames else [1, 1]
        rows = figure.subfigures(len(windows), 1, squeeze=False)[:, 0]
        for number, (row, window) in enumerate(zip(rows, windows, strict=True)):
            axes = row.subplots(1, len(ratios), gridspec_kw={"width_ratios": ratios})
            time = np.arange(len(window["imu"])) / folder.rate_hz
            _signal(axes[0], time, window["imu"][:, :3], "acceleration (m/s²)")
            if window["has_gyro"]:
                _signal(axes[1], time, window["imu"][:, 3:], "rotation (rad/s)")
            else:
                _nothing(axes[1], "no gyroscope")
            if frames:
                _frames(axes[2], window["frames"] if window["has_frames"] else None)
            if number == len(windows) - 1:
                for axis in axes[:2]:
                    axis.set_xlabel("time in the window (s)")
            width = 125 if frames else 90
            row.suptitle(_title(folder, window, width), x=0.01, ha="left", fontsize=10, color=INK)
        lines = [Line2D([], [], color=COLORS[i], label="xyz"[i]) for i in range(3)]
        simulated = ", SIMULATED" if folder.simulated else ""
        figure.legend(
            handles=lines,
            loc="outside upper left",
            ncols=3,
            title=f"{folder.name}{simulated}: {len(windows)} random windows (seed {seed}), "
            f"{folder.rate_hz:g} Hz; axes of the sensor:",
            alignment="left",
        )
    return windows


def _choose(folder: DatasetFolder, seed: int) -> list[dict[str, Any]]:
    total = sum(folder.splits.values())
    chosen = np.random.default_rng(seed).choice(total, min(WINDOWS, total), replace=False)
    windows = []
    for index in sorted(chosen.tolist()):
        for split, size in folder.splits.items():
            if index < size:
                windows.append({**folder.source(split)[index], "split": split})
                break
            index -= size
    return windows


def _title(folder: DatasetFolder, window: dict[str, Any], width: int) -> str:
    label = folder.label_names[window["label"]] if window["label"] >= 0 else "no label"
    facts = [
        window["split"],
        label,
        f"person {window['subject']}",
        window["placement"],
        f"{window['recording']} at {window['start_seconds']:.1f} s",
    ]
    text = f"“{window['text']}”" if window["text"] else "(no sentence)"
    # A dollar sign would begin mathematics.
    lines = [textwrap.shorten(text, width, placeholder=" …”"), " · ".join(filter(None, facts))]
    return "\n".join(lines).replace("$", r"\$")


def _signal(axes: Axes, time: np.ndarray, values: np.ndarray, name: str) -> None:
    for channel, color in zip(values.T, COLORS, strict=False):
        axes.plot(time, channel, color=color, linewidth=1.1)
    axes.set_ylabel(name)
    axes.set_xlim(time[0], time[-1])


def _frames(axes: Axes, frames: np.ndarray | None) -> None:
    if frames is None:
        _nothing(axes, "no frames")
        return
    chosen = np.linspace(0, len(frames) - 1, min(DRAWN, len(frames))).round().astype(int)
    gap = np.full((frames.shape[1], max(2, frames.shape[2] // 30), 3), 255, np.uint8)
    parts = [part for index in chosen for part in (frames[index], gap)][:-1]
    axes.imshow(np.concatenate(parts, 1), interpolation="antialiased")
    axes.set_axis_off()


def _nothing(axes: Axes, words: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, words, ha="center", va="center", color=FAINT)
