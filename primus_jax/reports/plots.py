"""Figures: losses over steps, a map of embeddings, retrieved sentences."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from primus_jax.reports.figure import COLORS, INK, figure_file
from primus_jax.reports.tsne import standardised_tsne

TERMS = {
    "loss": "total",
    "validation_loss": "total, validation",
    "loss_text": "IMU and text",
    "loss_video": "IMU and video",
    "loss_view": "two views (self-supervised)",
    "loss_neighbor_text": "neighbour's text",
    "loss_neighbor_video": "neighbour's video",
    "loss_neighbor_imu": "neighbour's IMU",
}


def plot_losses(rows: Sequence[Mapping[str, float]], path: Path, title: str = "") -> None:
    """Loss terms over steps, smoothed over a twentieth of the run, raw values faint behind.

    Args:
        rows: of metrics.jsonl: "step", "loss", "loss_<term>" and "validation_loss" where present.
        path: the PNG.
        title: above the figure.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    terms = [name for name in names if name.startswith("loss_")]
    with figure_file(path, (8.2, 4.2)) as figure:
        left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1, 1.25]})
        for axes, chosen in ((left, ["loss", "validation_loss"]), (right, terms)):
            for i, name in enumerate(chosen):
                points = [(row["step"], row[name]) for row in rows if name in row]
                if not points:
                    continue
                step, value = np.asarray(points, np.float64).T
                color = INK if name == "loss" else COLORS[i % len(COLORS)]
                label = TERMS.get(name, name.removeprefix("loss_").replace("_", " "))
                if name == "validation_loss":
                    axes.plot(step, value, "o", color=COLORS[1], markersize=5, label=label)
                    continue
                axes.plot(step, value, color=color, alpha=0.2, linewidth=0.9)
                axes.plot(step, _smooth(value), color=color, label=label)
            axes.set_xlabel("step")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.legend(fontsize=8.5, loc="upper right")
            axes.margins(x=0.02)
            low, high = axes.get_ylim()
            axes.set_ylim(low, high + 0.06 * (high - low) * max(1, len(axes.get_lines()) / 2))
        left.set_ylabel("loss (nats)")
        left.set_title("Total loss")
        right.set_title("Its terms, before weighting")
        figure.suptitle(title, fontsize=12, fontweight="bold")


def plot_embedding_map(
    embedding: np.ndarray,
    label: np.ndarray,
    label_names: Sequence[str],
    path: Path,
    title: str = "Embeddings",
    most: int = 1200,
) -> None:
    """A t-SNE map of standardised embeddings, coloured by activity.

    Args:
        embedding: float `[n, dim]`.
        label: int `[n]`; -1 (unlabelled) is left out.
        label_names: names of the labels.
        path: the PNG.
        title: above the map.
        most: no more windows than this are drawn, a seeded choice.
    """
    rows = np.flatnonzero(label >= 0)
    rows = np.random.default_rng(0).permutation(rows)[:most]
    place, label = standardised_tsne(embedding[rows]), label[rows]
    with figure_file(path, (8.4, 5.4)) as figure:
        axes = figure.subplots()
        size = float(np.clip(16000 / max(len(rows), 1), 10, 34))
        for k in np.unique(label):
            color, marker = _class_style(int(k))
            x, y = place[label == k].T
            axes.scatter(x, y, s=size, color=color, marker=marker, alpha=0.75, linewidths=0)
            axes.scatter([], [], s=36, color=color, marker=marker, label=label_names[k])
        axes.set_xlabel(f"t-SNE of {len(rows):,} windows: neighbours are alike, axes mean nothing")
        axes.tick_params(labelbottom=False, labelleft=False, length=0)
        axes.grid(visible=False)
        axes.set_title(title)
        figure.legend(loc="outside right upper", fontsize=9, labelspacing=0.55)


def plot_retrieved(
    imu: np.ndarray,
    rate_hz: float,
    sentences: Sequence[str],
    retrieved: Sequence[Sequence[tuple[str, float]]],
    path: Path,
    title: str = "Windows and the sentences nearest to them",
) -> None:
    """Windows with their own sentence and those retrieved for them.

    Args:
        imu: float32 `[n, time, 6]`, m/s^2 and rad/s.
        rate_hz: samples per second.
        sentences: `[n]`, the true sentence of each window.
        retrieved: `[n]` lists of (sentence, cosine), best first; a sentence equal to the true one
            is marked.
        path: the PNG.
        title: above the figure.
    """
    count = len(imu)
    seconds = np.arange(imu.shape[1]) / rate_hz
    with figure_file(path, (11, 0.8 + 1.75 * count)) as figure:
        grid = figure.subplots(count, 3, squeeze=False, width_ratios=[1, 1, 1.25])
        for i, (acc, gyro, words) in enumerate(grid):
            for axes, part, unit in ((acc, imu[i, :, :3], "m/s²"), (gyro, imu[i, :, 3:], "rad/s")):
                for channel, name in enumerate("xyz"):
                    axes.plot(
                        seconds, part[:, channel], color=COLORS[channel], linewidth=1.1, label=name
                    )
                axes.set_ylabel(unit, fontsize=9)
                axes.tick_params(labelsize=8, labelbottom=i == count - 1)
                axes.yaxis.set_major_locator(MaxNLocator(4))
                axes.margins(x=0)
            _write_sentences(words, sentences[i], retrieved[i])
        grid[0, 0].set_title("Accelerometer")
        grid[0, 1].set_title("Gyroscope")
        grid[0, 2].set_title("Sentences (cosine)")
        for axes in grid[-1, :2]:
            axes.set_xlabel("seconds", fontsize=9)
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=3, fontsize=9)
        figure.suptitle(title, fontsize=12, fontweight="bold")


def _write_sentences(axes: Axes, true: str, found: Sequence[tuple[str, float]]) -> None:
    axes.set_axis_off()
    lines = [(f"true: {true}", INK, "bold")]
    for sentence, cosine in found:
        same = sentence == true
        lines.append(
            (f"{cosine:.2f}  {sentence}", COLORS[2] if same else INK, "bold" if same else "normal")
        )
    height = 1.0
    for text, color, weight in lines:
        wrapped = textwrap.wrap(text, 58, subsequent_indent="         ", max_lines=2) or [""]
        axes.text(
            0.03, height, "\n".join(wrapped), color=color, weight=weight, fontsize=8.5, va="top",
            transform=axes.transAxes, linespacing=1.25, parse_math=False,
        )  # fmt: skip
        height -= 0.15 * len(wrapped) + 0.06


def _class_style(k: int) -> tuple[str, str]:
    """Colour and marker of class `k`: 7 colours, then again with another marker."""
    return COLORS[k % len(COLORS)], ("o", "^", "s", "D", "v", "P")[k // len(COLORS) % 6]


def _smooth(value: np.ndarray) -> np.ndarray:
    """Centred mean over a twentieth of the points, shorter at the ends."""
    half = len(value) // 40
    total = np.cumsum(np.concatenate([[0.0], value]))
    index = np.arange(len(value))
    reach = np.minimum(half, np.minimum(index, len(value) - 1 - index))
    return (total[index + reach + 1] - total[index - reach]) / (2 * reach + 1)
