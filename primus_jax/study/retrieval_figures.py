"""Figures of a study's retrieval: recall over k as lines, the mean reciprocal rank as bars."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from primus_jax.reports.curves import method_styles
from primus_jax.reports.figure import COLORS, FAINT, figure_file
from primus_jax.study.retrieved import KS, RetrievedRow, by_pool, half_interval, table_methods
from primus_jax.study.study import RANDOM, Study, slug


def plot_retrieval(study: Study, rows: Sequence[RetrievedRow], folder: Path) -> list[Path]:
    """Draw `recall_*.png` and `mrr_*.png` of every table, and an SVG beside each.

    Source: Figures 7 to 12 of "Ambient AI: Multimodal Sensor Understanding". The report draws one
    run of each row; here a point is the mean over pretraining seeds.

    Args:
        study: what was compared; its first method is drawn in front.
        rows: of `retrieval_rows`.
        folder: where the figures are written.

    Returns:
        The PNG files.
    """
    paths = []
    for (dataset, pool, target), chosen in by_pool(rows).items():
        for title, methods in table_methods(study, chosen).items():
            name = slug(f"{title} {dataset} {pool} {target}")
            about = f"{title}: {dataset}, pool of {pool:,}"
            recall, mrr = folder / f"recall_{name}.png", folder / f"mrr_{name}.png"
            _plot_recall(chosen, methods, study.lead, recall, about)
            _plot_mrr(chosen, methods, study.lead, mrr, about)
            paths += [recall, mrr]
    return paths


def _plot_recall(
    rows: Sequence[RetrievedRow], methods: Sequence[str], lead: str, path: Path, title: str
) -> None:
    """A panel per direction, a line per method, chance dotted."""
    ways = _directions(rows)
    plain = [name for name in methods if name.startswith(RANDOM)]
    styles = method_styles(methods, lead, plain)
    size = (1.2 + 4.4 * len(ways), 3.8 + 0.22 * -(-len(methods) // 2))
    with figure_file(path, size, svg=True) as figure:
        panels = figure.subplots(1, len(ways), squeeze=False)[0]
        for axes, way in zip(panels, ways, strict=True):
            for name in methods:
                means = [_mean(rows, name, way, f"recall_at_{k}") for k in KS]
                axes.plot(KS, 100 * np.array(means), label=name, **styles[name])
            chance = [_chance(rows, way, f"recall_at_{k}") for k in KS]
            axes.plot(KS, 100 * np.array(chance), label="chance", color=FAINT, linestyle=":")
            axes.set_xscale("log")
            axes.set_xticks(KS, [str(k) for k in KS])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlabel("k")
            axes.set_title(way)
        panels[0].set_ylabel("recall at k (%)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8.5)
        figure.suptitle(title, fontsize=12, fontweight="bold")


def _plot_mrr(
    rows: Sequence[RetrievedRow], methods: Sequence[str], lead: str, path: Path, title: str
) -> None:
    """A panel per direction, a bar per method with its interval, the lead last, chance dotted."""
    ways = _directions(rows)
    order = [*(name for name in methods if name != lead), *({lead} & set(methods))][::-1]
    with figure_file(path, (4.2 + 3.4 * len(ways), 1.3 + 0.3 * len(order)), svg=True) as figure:
        panels = figure.subplots(1, len(ways), squeeze=False, sharey=True)[0]
        for axes, way in zip(panels, ways, strict=True):
            _bars(axes, rows, order, way, lead)
            axes.axvline(_chance(rows, way, "mrr"), color=FAINT, linestyle=":")
            axes.set_xlabel("mean reciprocal rank")
            axes.set_title(way)
        figure.suptitle(title, fontsize=12, fontweight="bold")


def _bars(
    axes: Axes, rows: Sequence[RetrievedRow], order: Sequence[str], way: str, lead: str
) -> None:
    values = [_values(rows, name, way, "mrr") for name in order]
    axes.barh(
        order,
        [value.mean() for value in values],
        xerr=[half_interval(value) or 0.0 for value in values],
        color=[COLORS[1] if name == lead else COLORS[0] for name in order],
        error_kw={"elinewidth": 1.0, "capsize": 2},
    )
    axes.grid(visible=False, axis="y")


def _directions(rows: Sequence[RetrievedRow]) -> list[str]:
    return list(dict.fromkeys(row["direction"] for row in rows))


def _values(rows: Sequence[RetrievedRow], method: str, way: str, score: str) -> np.ndarray:
    return np.array([r[score] for r in rows if (r["method"], r["direction"]) == (method, way)])


def _mean(rows: Sequence[RetrievedRow], method: str, way: str, score: str) -> float:
    return float(_values(rows, method, way, score).mean())


def _chance(rows: Sequence[RetrievedRow], way: str, score: str) -> float:
    return next(row["chance"][score] for row in rows if row["direction"] == way)
