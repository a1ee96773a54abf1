"""Scores over labelled windows per class: a panel per dataset, a line per method."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from primus_jax.reports.figure import COLORS, FAINT, MARKERS, figure_file
from primus_jax.reports.rows import (
    Metric,
    Rows,
    datasets_of,
    methods_of,
    shots_of,
    standard_error_of,
)

AXIS = {"accuracy": "accuracy (%)", "macro_f1": "macro-F1 (%)"}
_GREYS = ("#8a8a8a", "#222222", "#a6763c")
Style = Mapping[str, Any]


def plot_shots(
    rows: Rows,
    path: Path,
    metric: Metric = "accuracy",
    *,
    lead: str = "",
    plain: Sequence[str] = (),
    svg: bool = False,
) -> None:
    """Draw `metric` over labelled windows per class with its standard error.

    Args:
        rows: of results.jsonl.
        path: the PNG.
        metric: "accuracy" or "macro_f1".
        lead: the method drawn in front.
        plain: baselines without pretraining, drawn dashed and grey.
        svg: write an SVG beside the PNG.
    """
    methods = methods_of(rows)
    styles = method_styles(methods, lead, plain)
    with shot_panels(rows, path, len(methods), svg=svg) as (figure, panels):
        for axes, chosen in panels:
            for i, method in enumerate(methods):
                line = [row for row in chosen if row["method"] == method]
                draw_line(
                    axes,
                    [row["shots"] for row in line],
                    [100 * row[metric] for row in line],
                    [100 * (standard_error_of(row, metric) or 0) for row in line],
                    sideways(i, len(methods)),
                    {"label": method, **styles[method]},
                )
            if metric == "accuracy":
                _chance(axes, 100 / chosen[0]["classes"])
            axes.set_ylabel(AXIS[metric])
        shot_legend(figure, panels[0][0], len(rows[0]["seeds"]))


@contextlib.contextmanager
def shot_panels(
    rows: Rows, path: Path, lines: int, *, svg: bool = False
) -> Iterator[tuple[Figure, list[tuple[Axes, Rows]]]]:
    """A panel and the rows of each dataset, with shot counts on a logarithmic axis.

    Args:
        rows: of results.jsonl.
        path: the PNG.
        lines: in the legend, for which room is left.
        svg: write an SVG beside the PNG.
    """
    datasets = datasets_of(rows)
    across = min(3, len(datasets))
    down = -(-len(datasets) // across)
    legend = 0.35 + 0.22 * -(-lines // across)
    with figure_file(path, (1.2 + 3.8 * across, 3.4 * down + legend), svg=svg) as figure:
        grid = figure.subplots(down, across, squeeze=False)
        for axes in grid.flat[len(datasets) :]:
            axes.set_visible(False)
        panels: list[tuple[Axes, Rows]] = []
        for axes, (dataset, own) in zip(grid.flat, datasets.items(), strict=False):
            shots = shots_of(own)
            axes.set_xscale("log")
            axes.set_xticks(shots, [str(k) for k in shots])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlabel("labelled windows per class")
            facts = [own[0]["role"]] if "role" in own[0] else []
            facts += ["simulated"] if own[0]["simulated"] else []
            axes.set_title(f"{dataset} ({', '.join(facts)})" if facts else dataset)
            panels.append((axes, sorted(own, key=lambda row: row["shots"])))
        yield figure, panels


def draw_line(
    axes: Axes,
    shots: Sequence[int],
    value: Sequence[float],
    error: Sequence[float],
    shift: float,
    style: Style,
) -> None:
    """Draw points with error bars at `shots` times `shift`."""
    axes.errorbar(
        [k * shift for k in shots], value, error, markersize=4.5, capsize=2, elinewidth=1.0, **style
    )


def sideways(i: int, lines: int) -> float:
    """A small factor that keeps the error bars of line `i` apart from those of the others."""
    return 1.018 ** (i - (lines - 1) / 2)


def method_styles(
    methods: Sequence[str], lead: str = "", plain: Sequence[str] = ()
) -> dict[str, Style]:
    """Colour and marker of every method: the lead thick, baselines without pretraining grey."""
    styles: dict[str, Style] = {}
    first = 1 if lead in methods else 0  # the first colour is the lead's
    colors, markers = COLORS[first : 6 + first], MARKERS[first:]
    trained = [name for name in methods if name not in plain and name != lead]
    for i, name in enumerate(trained):
        marker = markers[(i + i // len(colors)) % len(markers)]
        styles[name] = {"color": colors[i % len(colors)], "marker": marker, "linewidth": 1.4}
    for i, name in enumerate(plain):
        styles[name] = {
            "color": _GREYS[i % 3], "marker": MARKERS[-1 - i % 3], "linestyle": "--",
            "linewidth": 1.4,
        }  # fmt: skip
    styles[lead] = {"color": COLORS[0], "marker": MARKERS[0], "linewidth": 2.6, "zorder": 5}
    return styles


def shot_legend(figure: Figure, axes: Axes, seeds: int) -> None:
    """Put the lines of `axes` into a legend below the panels."""
    handles, labels = axes.get_legend_handles_labels()
    # 9 points: a letter is about 0.07 inches wide, a marker with its gaps 0.6
    wide = 0.6 + 0.07 * max(map(len, labels))
    columns = max(1, int(figure.get_size_inches()[0] / wide))
    title = f"bars: ± standard error over {seeds} draws of people and shots"
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(len(labels), columns),
        title=title if seeds > 1 else None, title_fontsize=8.5, fontsize=9,
    )  # fmt: skip


def _chance(axes: Axes, chance: float) -> None:
    axes.axhline(chance, color=FAINT, linestyle=":", linewidth=1.2)
    axes.annotate(
        "1 / classes", (1, chance), (-2, 3), xycoords=("axes fraction", "data"),
        textcoords="offset points", ha="right", fontsize=8, color=FAINT,
    )  # fmt: skip
