"""Pictures of the evidence for a class: the signal, its spectrogram, and a Grad-CAM map on them."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from primus_jax.reports.confusion import short_name
from primus_jax.reports.figure import COLORS, figure_file

AXES = "xyz"
# From nothing to the most, readable with every colour-vision deficiency.
HEAT = "cividis"
LEGEND = "axes; background dark: no evidence for the class, bright: the most"


@dataclasses.dataclass(frozen=True)
class Explained:
    """One window and the evidence for a class in it.

    Attributes:
        imu: float32 `[time, 6]`, m/s^2 and rad/s.
        rate_hz: of it.
        start: seconds after the first row of the recording.
        evidence: Grad-CAM, `[steps]` or `[height, steps]`, 0 to 1.
        image: the spectrogram that a vision encoder sees, `[height, width, 3]`, 0 to 1, or None.
    """

    imu: np.ndarray
    rate_hz: float
    start: float
    evidence: np.ndarray
    image: np.ndarray | None

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Of the spectrogram: seconds, then hertz."""
        return self.start, self.start + len(self.imu) / self.rate_hz, 0.0, self.rate_hz / 2


def plot_explanation(found: Explained, path: Path, title: str) -> None:
    """Draw the sensors with the evidence behind them; with an image that, and the evidence on it.

    Args:
        found: the window.
        path: the PNG.
        title: above it.
    """
    gyroscope = bool(found.imu[:, 3:].any())
    panels = 1 + gyroscope + (2 if found.image is not None else 0)
    with figure_file(path, (9.5, 1.0 + 2.1 * panels)) as figure:
        axes = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
        _draw_signal(axes[0], found, slice(0, 3), "acceleration\n(m/s²)")
        if gyroscope:
            _draw_signal(axes[1], found, slice(3, 6), "rotation\n(rad/s)")
        if found.image is not None:
            _draw_image(axes[-2], found, evidence=False)
            _draw_image(axes[-1], found, evidence=True)
            for place, what in zip(axes[-2:], ("spectrogram", "evidence"), strict=True):
                place.set_ylabel(f"{what}\n(Hz)")
        axes[-1].set_xlabel("seconds after the first sample")
        axes[-1].set_xlim(*found.extent[:2])
        lines = [Line2D([], [], color=COLORS[i], label=AXES[i]) for i in range(3)]
        figure.legend(handles=lines, loc="outside lower center", ncols=3, title=LEGEND)
        figure.suptitle(title, fontsize=12, fontweight="bold")


def plot_grid(
    rows: Mapping[str, Sequence[Explained]], columns: Sequence[str], path: Path, title: str
) -> None:
    """A row for each class, its window first, then the evidence that each encoder finds in it.

    Args:
        rows: class -> the same window as explained with each encoder.
        columns: names of the encoders.
        path: the PNG.
        title: above it.
    """
    size = (2.0 + 2.6 * (len(columns) + 1), 1.2 + 1.5 * len(rows))
    with figure_file(path, size) as figure:
        grid = figure.subplots(len(rows), len(columns) + 1, squeeze=False)
        for line, (name, found) in zip(grid, rows.items(), strict=True):
            first = next((one for one in found if one.image is not None), None)
            if first is None:
                _draw_lines(line[0], found[0], slice(0, 3))
            else:
                _draw_image(line[0], first, evidence=False)
            for axes, one in zip(line[1:], found, strict=True):
                if one.image is None:
                    _draw_signal(axes, one, slice(0, 3), "")
                else:
                    _draw_image(axes, one, evidence=True)
            line[0].set_ylabel(short_name(name, 2, 18), fontsize=9)
        for axes, name in zip(grid[0], ("original", *columns), strict=True):
            axes.set_title(short_name(name, 2, 26), fontsize=10)
        for axes in grid.flat:
            axes.tick_params(labelleft=False, labelbottom=False, length=0)
            axes.grid(visible=False)
        figure.suptitle(title, fontsize=12, fontweight="bold")


def _draw_signal(axes: Axes, found: Explained, channels: slice, label: str) -> None:
    """Three axes of a sensor with the evidence over time behind them."""
    _draw_lines(axes, found, channels)
    over_time = found.evidence if found.evidence.ndim == 1 else found.evidence.max(0)
    low, high = axes.get_ylim()
    begin, end = found.extent[:2]
    axes.imshow(
        over_time[None], extent=(begin, end, low, high), aspect="auto", cmap=HEAT, alpha=0.45,
        vmin=0, vmax=1, interpolation="bilinear", zorder=0,
    )  # fmt: skip
    axes.set_xlim(begin, end)
    axes.set_ylim(low, high)
    axes.set_ylabel(label)


def _draw_lines(axes: Axes, found: Explained, channels: slice) -> None:
    times = found.start + np.arange(len(found.imu)) / found.rate_hz
    for k, values in enumerate(found.imu[:, channels].T):
        axes.plot(times, values, color=COLORS[k], linewidth=1.1)
    axes.set_xlim(*found.extent[:2])
    axes.grid(visible=False)


def _draw_image(axes: Axes, found: Explained, *, evidence: bool) -> None:
    """The spectrogram, and the evidence over it."""
    image = np.asarray(found.image)
    axes.imshow(image, extent=found.extent, aspect="auto", interpolation="nearest")
    if evidence:
        axes.imshow(
            found.evidence, extent=found.extent, aspect="auto", cmap=HEAT, alpha=0.6,
            vmin=0, vmax=1, interpolation="bilinear",
        )  # fmt: skip
    axes.grid(visible=False)
