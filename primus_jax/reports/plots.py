"""Figures: losses over steps, accuracy over shots, a map of embeddings, retrieved sentences."""

import contextlib
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from primus_jax.files import replace_file
from primus_jax.reports.tsne import tsne

# Okabe and Ito's colours, told apart with every common colour-vision deficiency; no yellow on white
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#333333")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, FAINT = "#222222", "#8a8a8a"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": "#555555",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "savefig.facecolor": "white",
}
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
DPI = 160


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


def plot_shots(rows: Sequence[Mapping[str, Any]], path: Path, metric: str = "accuracy") -> None:
    """`metric` over labelled windows per class with standard error, one panel per dataset.

    Args:
        rows: of results.jsonl (`comparison.compare`).
        path: the PNG.
        metric: "accuracy" or "macro_f1".
    """
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    across = min(3, len(datasets))
    down = -(-len(datasets) // across)
    legend = 0.3 + 0.22 * -(-len(methods) // (across + 1))
    with figure_file(path, (1.2 + 3.6 * across, 3.3 * down + legend)) as figure:
        grid = figure.subplots(down, across, squeeze=False)
        for axes in grid.flat[len(datasets) :]:
            axes.set_visible(False)
        for axes, dataset in zip(grid.flat, datasets, strict=False):
            chosen = [row for row in rows if row["dataset"] == dataset]
            shots = sorted({row["shots"] for row in chosen})
            for i, method in enumerate(methods):
                line = sorted((r for r in chosen if r["method"] == method), key=_shots)
                # a small sideways shift keeps error bars of different methods apart
                shift = 1.025 ** (i - (len(methods) - 1) / 2)
                axes.errorbar(
                    [row["shots"] * shift for row in line],
                    [100 * row[metric] for row in line],
                    [100 * (row[f"{metric}_se"] or 0) for row in line],
                    color=COLORS[i % len(COLORS)],
                    marker=MARKERS[i % len(MARKERS)],
                    markersize=5.5,
                    capsize=2.5,
                    elinewidth=1.2,
                    label=method,
                )
            if metric == "accuracy":
                chance = 100 / chosen[0]["classes"]
                axes.axhline(chance, color=FAINT, linestyle=":", linewidth=1.2)
                axes.annotate(
                    "1 / classes", (1, chance), (-2, 3), xycoords=("axes fraction", "data"),
                    textcoords="offset points", ha="right", fontsize=8, color=FAINT,
                )  # fmt: skip
            axes.set_xscale("log")
            axes.set_xticks(shots, [str(k) for k in shots])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_ylim(bottom=0)
            simulated = " (simulated)" if chosen[0].get("simulated") else ""
            axes.set_title(f"{dataset}{simulated}")
            axes.set_xlabel("labelled windows per class")
        for axes in grid[:, 0]:
            axes.set_ylabel({"accuracy": "accuracy (%)", "macro_f1": "macro-F1 (%)"}[metric])
        seeds = len(rows[0]["seeds"])
        handles, labels = grid.flat[0].get_legend_handles_labels()
        title = f"bars: ± standard error over {seeds} draws of people and shots"
        figure.legend(
            handles, labels, loc="outside lower center", ncols=min(len(labels), across + 1),
            title=title if seeds > 1 else None, title_fontsize=8.5, fontsize=9.5,
        )  # fmt: skip


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
    x, label = np.asarray(embedding, np.float64)[rows], label[rows]
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-9 + 1e-4 * x.std())
    place = tsne(np.clip(x, -8, 8))
    with figure_file(path, (8.4, 5.4)) as figure:
        axes = figure.subplots()
        size = float(np.clip(16000 / max(len(rows), 1), 10, 34))
        for k in np.unique(label):
            color, marker = _class_style(int(k))
            axes.scatter(
                *place[label == k].T, s=size, color=color, marker=marker, alpha=0.75, linewidths=0
            )
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


def _shots(row: Mapping[str, Any]) -> int:
    return row["shots"]


@contextlib.contextmanager
def figure_file(path: Path, size: tuple[float, float]) -> Iterator[Figure]:
    """A figure in this module's style that becomes the PNG `path` when the block ends."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        with replace_file(path) as temporary:
            figure.savefig(temporary, dpi=DPI, format="png")
