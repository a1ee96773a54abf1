"""What a benchmark writes: tables by method, by fold and by activity, a picture, a page."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from primus_jax.reports.confusion import Confusion, plot_confusions
from primus_jax.reports.html import Section, Table, write_report
from primus_jax.reports.markdown import markdown_table
from primus_jax.reports.rows import ResultRow, Rows, write_rows

FILES = ("results.jsonl", "table.md", "confusion.png", "report.html")
SCORES = {
    "macro_f1": "macro-F1",
    "kappa": "Cohen's kappa x 100",
    "accuracy": "accuracy",
    "auc": "AUC x 100",
}


def write_bench(rows: Rows, title: str, folder: Path) -> str:
    """Write `FILES` into an existing folder; return the tables.

    Args:
        rows: of one dataset, with every draw (`DrawOptions.detail`).
        title: of the benchmark.
        folder: which exists.
    """
    intro = _intro(rows)
    tables = bench_tables(rows)
    parts = [f"## {title}", intro]
    parts += [f"{table.caption}\n\n{markdown_table(table.header, table.rows)}" for table in tables]
    text = "\n\n".join(parts) + "\n"
    write_rows(folder / FILES[0], rows)
    (folder / FILES[1]).write_text(text, encoding="utf-8")
    plot_confusions(
        [Confusion.of_row(row) for row in rows], folder / FILES[2],
        f"{title}, per cent of the row",
    )  # fmt: skip
    sections = [
        Section("Scores", tables=tables[:1]),
        Section("Folds", tables=tables[1:2]),
        Section("Activities", tables=tables[2:], unscaled=[folder / FILES[2]]),
    ]
    notice = "These data are simulated, not measured." if rows[0]["simulated"] else ""
    write_report(folder / FILES[3], title, intro, sections, notice)
    return text


def bench_tables(rows: Rows) -> list[Table]:
    """Scores by method, macro-F1 by fold, AUC by activity; in per cent."""
    scores = [[row["method"], *(_spread(row, name) for name in SCORES)] for row in rows] + [
        [f"{row['method']}: 95 % over people", *(_interval(row, n) for n in SCORES)] for row in rows
    ]
    numbers = [str(i) for i in range(1, len(rows[0]["folds"]) + 1)]
    folds = [[row["method"], *(_cell(f["macro_f1"]) for f in row["folds"])] for row in rows]
    classes = [[row["method"], *map(_cell, row["auc_by_class"])] for row in rows]
    return [
        Table(["method", *SCORES.values()], scores, "Mean ± standard deviation over folds."),
        Table(["method", *numbers], folds, "Macro-F1 of every fold."),
        Table(
            ["method", *rows[0]["label_names"]],
            classes,
            "One-vs-rest AUC x 100 of every activity, mean over folds.",
        ),
    ]


def _intro(rows: Rows) -> str:
    row = rows[0]
    folds = row["folds"]
    simulated = ", simulated" if row["simulated"] else ""
    parts = [
        f"{row['dataset']}{simulated}: {row['classes']} activities, {row['people_tested']} people "
        f"tested, {len(folds)} folds of people ({row['people']}), {len(row['seeds'])} seeds. "
        f"Training sees all windows of its people; a fifth of them choose the epoch of what is "
        f"trained by gradient. Intervals are a bootstrap over people, of all folds together.",
        "; ".join(dict.fromkeys(f"{r['method']}: {r['classifier']['name']}" for r in rows)) + ".",
    ]
    leaked = [
        r["method"] for r in rows if any(c["status"] == "leak" for c in r["pretraining_leaks"])
    ]
    if leaked:
        parts.append(
            f"Leak: windows or people tested here were in the pretraining of {', '.join(leaked)}."
        )
    return "\n\n".join(parts)


def _spread(row: ResultRow, name: str) -> str:
    """Mean and standard deviation over folds."""
    values = [v for fold in row["folds"] if (v := cast(dict[str, Any], fold)[name]) is not None]
    mean, deviation = mean_and_deviation(values)
    return _cell(mean) if deviation is None else f"{_cell(mean)} ± {100 * deviation:.1f}"


def mean_and_deviation(values: Sequence[float]) -> tuple[float | None, float | None]:
    """The mean, and the deviation with n - 1; None where there are too few values."""
    if not values:
        return None, None
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, None
    return mean, math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1))


def _interval(row: ResultRow, name: str) -> str:
    found = cast(dict[str, Any], row)[f"{name}_interval"]
    return "" if found is None else f"{100 * found[0]:.1f} to {100 * found[1]:.1f}"


def _cell(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
