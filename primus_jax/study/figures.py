"""Figures of a study, as PNG and SVG: curves, ablation, confusion matrices, embedding maps."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from primus_jax.evals.features import Features
from primus_jax.files import replace_file
from primus_jax.reports.confusion import draw_confusion, matrix_side
from primus_jax.reports.plots import COLORS, FAINT, INK, MARKERS, figure_file
from primus_jax.reports.tsne import tsne
from primus_jax.study.tables import differences

AXIS = {"accuracy": "accuracy (%)", "macro_f1": "macro-F1 (%)"}
MAP_WINDOWS = 1000
MOST_NAMES = 18


@contextlib.contextmanager
def both_files(stem: Path, size: tuple[float, float]) -> Iterator[Figure]:
    """A figure that becomes `stem`.png and `stem`.svg when the block ends."""
    with figure_file(stem.with_suffix(".png"), size) as figure:
        yield figure
        with (
            matplotlib.rc_context({"svg.hashsalt": stem.name}),
            replace_file(stem.with_suffix(".svg")) as temporary,
        ):
            figure.savefig(temporary, format="svg", metadata={"Date": None})


def plot_curves(
    rows: Sequence[Mapping[str, Any]], stem: Path, lead: str, plain: Sequence[str], metric: str
) -> None:
    """`metric` over labelled windows per class with standard error, one panel per dataset.

    Args:
        rows: of results.jsonl.
        stem: of the two files.
        lead: the method drawn in front.
        plain: baselines without pretraining, drawn dashed and grey.
        metric: "accuracy" or "macro_f1".
    """
    methods = list(dict.fromkeys(row["method"] for row in rows))
    styles = _styles(methods, lead, plain)
    with _panels(rows, stem, len(methods)) as (figure, panels):
        for axes, chosen in panels:
            for i, method in enumerate(methods):
                line = [row for row in chosen if row["method"] == method]
                value = [100 * row[metric] for row in line]
                error = [100 * (row[f"{metric}_se"] or 0) for row in line]
                _bars(axes, line, value, error, _shift(i, methods), styles[method], method)
            axes.set_ylabel(AXIS[metric])
        _legend(figure, panels[0][0], rows)


def plot_ablation(
    rows: Sequence[Mapping[str, Any]], stem: Path, ablation: Sequence[str], metric: str
) -> None:
    """What leaving out each part changes, in points, with the standard error of the differences.

    The whole method is the line at zero; a value below it means that the part helps.

    Args:
        rows: of results.jsonl.
        stem: of the two files.
        ablation: the whole method, then those with a part left out.
        metric: "accuracy" or "macro_f1".
    """
    whole, *parts = ablation
    with _panels(rows, stem, len(parts)) as (figure, panels):
        for axes, chosen in panels:
            axes.axhline(0, color=INK, linewidth=1.4)
            for i, method in enumerate(parts):
                line = differences(chosen, method, whole, metric)
                style = {"color": COLORS[i % len(COLORS)], "marker": MARKERS[i % len(MARKERS)]}
                value, error = [d for d, _ in line.values()], [e or 0 for _, e in line.values()]
                points = [{"shots": k} for k in line]
                _bars(axes, points, value, error, _shift(i, parts), style, method)
            axes.set_ylabel(f"{AXIS[metric].split(' (')[0]} minus {whole}'s (points)")
        _legend(figure, panels[0][0], rows)


def plot_confusions(rows: Sequence[Mapping[str, Any]], stem: Path, title: str) -> None:
    """Confusion matrices side by side, per cent of each true class, one per row given."""
    side = matrix_side(len(rows[0]["label_names"]))
    with both_files(stem, (1.2 + side * len(rows), side + 1.3)) as figure:
        panels = figure.subplots(1, len(rows), squeeze=False)[0]
        for axes, row in zip(panels, rows, strict=True):
            draw_confusion(axes, row)
        panels[0].set_ylabel("true")
        figure.suptitle(title, fontsize=12, fontweight="bold")


def plot_maps(features: Features, stem: Path, title: str) -> None:
    """One t-SNE map of labelled windows, coloured by activity, by person and by placement.

    Args:
        features: of the dataset; a seeded choice of at most 1,000 windows is drawn.
        stem: of the two files.
        title: above the map.
    """
    rows = np.random.default_rng(0).permutation(np.flatnonzero(features.label >= 0))[:MAP_WINDOWS]
    x = features.embedding[rows].astype(np.float64)
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-9 + 1e-4 * x.std())
    place = tsne(np.clip(x, -8, 8))
    placement = features.placement[rows]
    columns = {
        "activity": np.asarray(features.label_names)[features.label[rows]],
        "person": features.subject[rows],
        "placement": np.where(placement == "", "not stated", placement),
    }
    with both_files(stem, (13.5, 6.6)) as figure:
        for axes, (what, names) in zip(figure.subplots(1, 3), columns.items(), strict=True):
            _scatter(axes, place, _most_common(names))
            axes.set_title(f"by {what}")
            axes.tick_params(labelbottom=False, labelleft=False, length=0)
            axes.grid(visible=False)
        figure.suptitle(f"{title}: t-SNE of {len(rows):,} windows", fontsize=12, fontweight="bold")


def _scatter(axes: Axes, place: np.ndarray, names: np.ndarray) -> None:
    for k, name in enumerate([*sorted(set(names) - {"others"}), "others"]):
        marked = names == name
        if marked.any():
            axes.scatter(
                *place[marked].T, s=13, alpha=0.75, linewidths=0, label=name,
                color=FAINT if name == "others" else COLORS[k % len(COLORS)],
                marker="." if name == "others" else MARKERS[k // len(COLORS) % len(MARKERS)],
            )  # fmt: skip
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=3, fontsize=7.5, markerscale=1.6,
        columnspacing=0.8, handletextpad=0.2,
    )  # fmt: skip


def _most_common(names: np.ndarray) -> np.ndarray:
    """The names, all but the `MOST_NAMES` most common replaced by "others"."""
    found, count = np.unique(names, return_counts=True)
    kept = found[np.argsort(-count, kind="stable")][:MOST_NAMES]
    return np.where(np.isin(names, kept), names, "others")


@contextlib.contextmanager
def _panels(rows, stem: Path, lines: int):
    """A panel per dataset, its shot counts on a logarithmic axis, and room for a legend."""
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    across = min(3, len(datasets))
    down = -(-len(datasets) // across)
    legend = 0.35 + 0.22 * -(-lines // across)
    with both_files(stem, (1.2 + 3.8 * across, 3.4 * down + legend)) as figure:
        grid = figure.subplots(down, across, squeeze=False)
        for axes in grid.flat[len(datasets) :]:
            axes.set_visible(False)
        panels = []
        for axes, dataset in zip(grid.flat, datasets, strict=False):
            chosen = sorted((r for r in rows if r["dataset"] == dataset), key=lambda r: r["shots"])
            shots = sorted({row["shots"] for row in chosen})
            axes.set_xscale("log")
            axes.set_xticks(shots, [str(k) for k in shots])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlabel("labelled windows per class")
            about = chosen[0]["role"] + (", simulated" if chosen[0]["simulated"] else "")
            axes.set_title(f"{dataset} ({about})")
            panels.append((axes, chosen))
        yield figure, panels


def _bars(axes: Axes, line, value, error, shift: float, style: dict, label: str) -> None:
    axes.errorbar(
        [row["shots"] * shift for row in line], value, error, label=label, markersize=4.5,
        capsize=2, elinewidth=1.0, **style,
    )  # fmt: skip


def _shift(i: int, lines: Sequence[str]) -> float:
    """A small sideways factor that keeps error bars of different lines apart."""
    return 1.018 ** (i - (len(lines) - 1) / 2)


def _styles(methods: Sequence[str], lead: str, plain: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and marker of every method: the lead thick, baselines without pretraining grey."""
    greys = ("#8a8a8a", "#222222", "#a6763c")
    styles: dict[str, dict[str, Any]] = {}
    trained = [name for name in methods if name not in plain and name != lead]
    for i, name in enumerate(trained):
        marker = MARKERS[(i + i // 6 + 1) % len(MARKERS)]
        styles[name] = {"color": COLORS[1 + i % 5], "marker": marker, "linewidth": 1.4}
    for i, name in enumerate(plain):
        styles[name] = {
            "color": greys[i % 3], "marker": MARKERS[-1 - i % 3], "linestyle": "--",
            "linewidth": 1.4,
        }  # fmt: skip
    styles[lead] = {"color": COLORS[0], "marker": MARKERS[0], "linewidth": 2.6, "zorder": 5}
    return styles


def _legend(figure: Figure, axes: Axes, rows) -> None:
    handles, labels = axes.get_legend_handles_labels()
    # 9 points: a letter is about 0.07 inches wide, a marker with its gaps 0.6
    wide = 0.6 + 0.07 * max(map(len, labels))
    columns = max(1, int(figure.get_size_inches()[0] / wide))
    seeds = len(rows[0]["seeds"])
    title = f"bars: ± standard error over {seeds} draws of people and shots"
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(len(labels), columns),
        title=title if seeds > 1 else None, title_fontsize=8.5, fontsize=9,
    )  # fmt: skip
