"""A picture of some windows of each activity as the images that a vision encoder sees."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.patches import Patch

from primus_jax.data.folder import DatasetFolder
from primus_jax.models.vision.spectrogram import NFFTS, SpectrogramConfig, spectrograms
from primus_jax.reports.figure import check_drawing, figure_file

WINDOWS = 3
ACTIVITIES = 8
# Windows that are read to find some of every activity; a dataset can have a million.
MOST_READ = 2000
HOP = 4
AXES = {"x": "#ff0000", "y": "#00ff00", "z": "#0000ff"}


def draw_spectrograms(folder: DatasetFolder, path: Path, seed: int = 0) -> dict[str, int]:
    """Draw up to three windows of up to eight activities, the accelerometer, in the paper's form.

    Args:
        folder: a dataset.
        path: the PNG.
        seed: of the choice, among the windows of all splits.

    Returns:
        the number of windows drawn of each activity, in the order of the picture.

    Raises:
        PrimusError: a negative seed, another kind of file, or windows too short for a spectrogram.
    """
    check_drawing(path, seed)
    chosen = _choose(folder, seed)
    config = fitting(folder.window_samples)
    windows = [window["imu"] for row in chosen.values() for window in row]
    images = iter(np.clip(spectrograms(jnp.asarray(np.stack(windows)), config), 0, 1))
    # Every column is drawn around the middle of its frame.
    frames = (folder.window_samples - config.nfft) // config.hop + 1
    begin = (config.nfft - config.hop) / 2
    times = begin / folder.rate_hz, (begin + frames * config.hop) / folder.rate_hz
    extent = (*times, 0.0, folder.rate_hz / 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    with figure_file(path, (10.5, 1.75 * len(chosen) + 0.9)) as figure:
        figure.set_layout_engine("constrained", h_pad=0.05, w_pad=0.05)
        grid = figure.subplots(len(chosen), WINDOWS, squeeze=False, sharex=True, sharey=True)
        for axes, (name, row) in zip(grid, chosen.items(), strict=True):
            for place in axes[len(row) :]:
                place.set_axis_off()
            for place, window in zip(axes, row, strict=False):
                place.imshow(next(images), extent=extent, aspect="auto", interpolation="nearest")
                place.grid(visible=False)
                title = f"{name} · subject {window['subject']}"
                place.set_title(title.replace("$", r"\$"), fontsize=9, fontweight="normal")
            axes[0].set_ylabel("Hz")
        for place in grid[-1]:
            place.set_xlabel("time in the window (s)")
        simulated = ", SIMULATED" if folder.simulated else ""
        figure.legend(
            handles=[Patch(color=color, label=axis) for axis, color in AXES.items()],
            loc="outside upper left",
            ncols=3,
            title=f"{folder.name}{simulated}: spectrograms of the accelerometer (seed {seed}), "
            f"frames of {config.nfft} samples at {folder.rate_hz:g} Hz; axes of the sensor:",
            alignment="left",
        )
    return {name: len(row) for name, row in chosen.items()}


def fitting(samples: int) -> SpectrogramConfig:
    """Return the paper's form with the longest frame that fits three times into a window."""
    fits = [nfft for nfft in NFFTS if 3 * nfft <= samples]
    nfft = max(fits, default=NFFTS[0])
    return SpectrogramConfig(nfft=nfft, overlap=nfft - HOP)


def _choose(folder: DatasetFolder, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Random windows by activity, in the order of the dataset's labels; unlabelled ones last."""
    places = [(split, index) for split, size in folder.splits.items() for index in range(size)]
    order = np.random.default_rng(seed).permutation(len(places))[:MOST_READ]
    sources = {split: folder.source(split) for split in folder.splits}
    names = [*folder.label_names, "no label"]
    found: dict[int, list[dict[str, Any]]] = {}
    for number in order.tolist():
        if sum(len(row) == WINDOWS for row in found.values()) == len(names):
            break
        split, index = places[number]
        window = sources[split][index]
        row = found.setdefault(window["label"] % len(names), [])
        if len(row) < WINDOWS:
            row.append(window)
    return {names[label]: found[label] for label in sorted(found)[:ACTIVITIES]}
