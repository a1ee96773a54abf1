"""Tables of results.jsonl: scores with standard errors, intervals over people."""

from collections.abc import Callable, Sequence

from primus_jax.reports.markdown import markdown_table
from primus_jax.reports.rows import (
    Metric,
    ResultRow,
    Rows,
    datasets_of,
    interval_of,
    methods_of,
    shots_of,
    standard_error_of,
)

METRICS: dict[Metric, str] = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro-F1",
    "balanced_accuracy": "Balanced accuracy",
    "kappa": "Cohen's kappa x 100",
}
INTERVALS: tuple[Metric, ...] = ("accuracy", "macro_f1")
Cells = tuple[list[str], list[list[str]]]


def table_cells(rows: Rows, dataset: str, metric: Metric) -> Cells:
    """Header and body of one table in per cent, methods down, shot counts across."""
    return _cells(rows, dataset, lambda row: per_cent(row[metric], standard_error_of(row, metric)))


def interval_cells(rows: Rows, dataset: str, metric: Metric) -> Cells:
    """The same of the bootstrap intervals over people; empty where one person was tested."""

    def interval(row: ResultRow) -> str:
        found = interval_of(row, metric)
        return "" if found is None else f"{100 * found[0]:.1f} to {100 * found[1]:.1f}"

    return _cells(rows, dataset, interval)


def shot_header(first: str, shots: Sequence[int]) -> list[str]:
    """The header of a table with shot counts across."""
    return [first, *(f"{k} shot" if k == 1 else f"{k} shots" for k in shots)]


def _cells(rows: Rows, dataset: str, cell: Callable[[ResultRow], str]) -> Cells:
    chosen = [row for row in rows if row["dataset"] == dataset]
    shots = shots_of(chosen)
    value = {(row["method"], row["shots"]): cell(row) for row in chosen}
    body = [[method, *(value.get((method, k), "") for k in shots)] for method in methods_of(chosen)]
    return shot_header("method", shots), body


def markdown_tables(rows: Rows) -> str:
    """One Markdown table per dataset and metric, with what was drawn and what is simulated."""
    parts = []
    for dataset, chosen in datasets_of(rows).items():
        parts += _heading(dataset, chosen)
        for metric, name in METRICS.items():
            parts.append(titled_table(name, *table_cells(rows, dataset, metric)))
        for metric in INTERVALS:
            name = f"{METRICS[metric]}, 95 % over people"
            parts.append(titled_table(name, *interval_cells(rows, dataset, metric)))
    return "\n\n".join(parts) + "\n"


def titled_table(title: str, header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table with its title in the first cell of the header."""
    return markdown_table([f"{title}: {header[0]}", *header[1:]], body)


def _heading(dataset: str, rows: Rows) -> list[str]:
    """The heading of one dataset, how its rows were drawn, and any leak."""
    row, most = rows[0], max(rows, key=lambda r: r["shots"])
    title = f"## {dataset}"
    if row["simulated"]:
        title += " (simulated, not measured)"
    people = _PEOPLE.get(row["people"], f"everybody once per seed ({row['people']})")
    if not row["people_known"]:
        people += " (some recordings name nobody: each of them counts as a person of its own)"
    spread = f"± standard error over {len(row['seeds'])} seeds of people and shots"
    if len(row["seeds"]) == 1:
        spread = "one seed, so no standard error"
    parts = [
        title,
        f"Per cent, {spread}. {row['classes']} classes; tested on {people}, "
        f"{_range(row['windows_tested'])} windows; "
        f"{'; '.join(dict.fromkeys(map(_classifier, rows)))}. A class with fewer windows "
        f"than shots gives all it has: {_range(most['windows_shown'])} windows are labelled at "
        f"{most['shots']} shots.",
    ]
    leaked = dict.fromkeys(r["method"] for r in rows if _leaks(r))
    if leaked:
        parts.append(
            f"**Leak: windows or people tested here were in the pretraining of "
            f"{', '.join(leaked)}.**"
        )
    return parts


_PEOPLE = {"resampled": "a quarter of the people", "folder": "its own test people"}


def _classifier(row: ResultRow) -> str:
    about = row["classifier"]
    if about["protocol"] == "probe":
        c = about["c"] if isinstance(about["c"], str) else f"{about['c']:g}"
        return f"{about['name']} (C {c})"
    return (
        f"{row['method']}: {about['name']}, {about['head_init']} head, AdamW {about['lr']:g}, "
        f"best of {about['epochs']} epochs on validation people"
    )


def _leaks(row: ResultRow) -> bool:
    return any(check["status"] == "leak" for check in row["pretraining_leaks"])


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def per_cent(score: float, error: float | None) -> str:
    """A score between 0 and 1, and its standard error where it has one, in per cent."""
    return f"{100 * score:.1f}" if error is None else f"{100 * score:.1f} ± {100 * error:.1f}"
