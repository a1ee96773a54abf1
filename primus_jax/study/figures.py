"""Figures of a study, as PNG and SVG: the ablation, and maps of embeddings."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from primus_jax.evals.features import Features
from primus_jax.numerics import unit_rows
from primus_jax.reports.curves import AXIS, draw_line, shot_legend, shot_panels, sideways
from primus_jax.reports.figure import COLORS, FAINT, INK, MARKERS, figure_file
from primus_jax.reports.rows import Metric, Rows
from primus_jax.reports.tsne import standardised_tsne
from primus_jax.study.tables import differences

MAP_WINDOWS = 1000
MOST_NAMES = 18
NEAREST = 10


def plot_ablation(rows: Rows, path: Path, ablation: Sequence[str], metric: Metric) -> None:
    """What leaving out each part changes, in points, with the standard error of the differences.

    The whole method is the line at zero; a value below it means that the part helps.

    Args:
        rows: of results.jsonl.
        path: the PNG.
        ablation: the whole method, then those with a part left out.
        metric: "accuracy" or "macro_f1".
    """
    whole, *parts = ablation
    with shot_panels(rows, path, len(parts), svg=True) as (figure, panels):
        for axes, chosen in panels:
            axes.axhline(0, color=INK, linewidth=1.4)
            for i, method in enumerate(parts):
                line = differences(chosen, method, whole, metric)
                draw_line(
                    axes,
                    list(line),
                    [mean for mean, _ in line.values()],
                    [error or 0 for _, error in line.values()],
                    sideways(i, len(parts)),
                    {
                        "label": method,
                        "color": COLORS[i % len(COLORS)],
                        "marker": MARKERS[i % len(MARKERS)],
                    },
                )
            axes.set_ylabel(f"{AXIS[metric].split(' (')[0]} minus {whole}'s (points)")
        shot_legend(figure, panels[0][0], len(rows[0]["seeds"]))


def plot_maps(features: Features, path: Path, title: str) -> None:
    """One t-SNE map of labelled windows, coloured by activity, by person and by placement.

    Args:
        features: of the dataset; a seeded choice of at most 1,000 windows is drawn.
        path: the PNG; the SVG lies beside it.
        title: above the map.
    """
    rows = np.random.default_rng(0).permutation(np.flatnonzero(features.label >= 0))[:MAP_WINDOWS]
    place = standardised_tsne(features.embedding[rows])
    placement = features.placement[rows]
    columns = {
        "activity": np.asarray(features.label_names)[features.label[rows]],
        "person": features.subject[rows],
        "placement": np.where(placement == "", "not stated", placement),
    }
    with figure_file(path, (13.5, 6.6), svg=True) as figure:
        for axes, (what, names) in zip(figure.subplots(1, 3), columns.items(), strict=True):
            _scatter(axes, place, _most_common(names))
            axes.set_title(f"by {what}")
            axes.tick_params(labelbottom=False, labelleft=False, length=0)
            axes.grid(visible=False)
        figure.suptitle(f"{title}: t-SNE of {len(rows):,} windows", fontsize=12, fontweight="bold")


def plot_method_maps(features: Mapping[str, Features], path: Path, title: str) -> dict[str, float]:
    """One t-SNE map for each method, of the same labelled windows, coloured by activity.

    Args:
        features: method -> features of one dataset; a seeded choice of at most 1,000 windows is
            drawn.
        path: the PNG; the SVG lies beside it.
        title: above the maps.

    Returns:
        method -> share of the ten nearest windows, by cosine, that have the window's own activity.
    """
    columns = min(3, len(features))
    lines = math.ceil(len(features) / columns)
    agreement = {}
    with figure_file(path, (4.5 * columns, 0.8 + 5.2 * lines), svg=True) as figure:
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes, (name, found) in zip(panels, features.items(), strict=False):
            labelled = np.flatnonzero(found.label >= 0)
            rows = np.random.default_rng(0).permutation(labelled)[:MAP_WINDOWS]
            embedding, label = unit_rows(found.embedding[rows]), found.label[rows]
            agreement[name] = _agreement(embedding, label)
            _scatter(
                axes,
                standardised_tsne(embedding),
                _most_common(np.asarray(found.label_names)[label]),
            )
            axes.set_title(f"{name}: {100 * agreement[name]:.0f} %")
            axes.tick_params(labelbottom=False, labelleft=False, length=0)
            axes.grid(visible=False)
        for axes in panels[len(features) :]:
            axes.set_axis_off()
        figure.suptitle(
            f"{title}: t-SNE by method, and same activity among the ten nearest",
            fontsize=12, fontweight="bold",
        )  # fmt: skip
    return agreement


def _agreement(embedding: np.ndarray, label: np.ndarray) -> float:
    """Share of the nearest rows of each unit row that have its label; the row itself is not one."""
    cosine = embedding @ embedding.T
    np.fill_diagonal(cosine, -np.inf)
    nearest = np.argsort(-cosine, axis=1, kind="stable")[:, : min(NEAREST, len(label) - 1)]
    return float((label[nearest] == label[:, None]).mean())


def _scatter(axes: Axes, place: np.ndarray, names: np.ndarray) -> None:
    for k, name in enumerate([*sorted(set(names) - {"others"}), "others"]):
        marked = names == name
        if marked.any():
            x, y = place[marked].T
            axes.scatter(
                x, y, s=13, alpha=0.75, linewidths=0, label=name,
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
