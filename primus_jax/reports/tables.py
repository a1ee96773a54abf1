"""Tables of results.jsonl: scores with standard errors, intervals over people."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

METRICS = {
    "accuracy": "Accuracy",
    "macro_f1": "Macro-F1",
    "balanced_accuracy": "Balanced accuracy",
    "kappa": "Cohen's kappa x 100",
}
INTERVALS = ("accuracy", "macro_f1")


def table_cells(
    rows: Sequence[Mapping[str, Any]], dataset: str, metric: str
) -> tuple[list[str], list[list[str]]]:
    """Header and body of one table in per cent, methods down, shot counts across."""
    return _cells(rows, dataset, lambda row: _per_cent(row, metric))


def interval_cells(
    rows: Sequence[Mapping[str, Any]], dataset: str, metric: str
) -> tuple[list[str], list[list[str]]]:
    """The same of the bootstrap intervals over people; empty where one person was tested."""

    def interval(row: Mapping[str, Any]) -> str:
        found = row[f"{metric}_interval"]
        return "" if found is None else f"{100 * found[0]:.1f} to {100 * found[1]:.1f}"

    return _cells(rows, dataset, interval)


def _cells(
    rows: Sequence[Mapping[str, Any]], dataset: str, cell: Callable[[Mapping[str, Any]], str]
) -> tuple[list[str], list[list[str]]]:
    chosen = [row for row in rows if row["dataset"] == dataset]
    shots = sorted({row["shots"] for row in chosen})
    value = {(row["method"], row["shots"]): cell(row) for row in chosen}
    methods = dict.fromkeys(row["method"] for row in chosen)
    body = [[method, *(value.get((method, k), "") for k in shots)] for method in methods]
    return ["method", *(f"{k} shot" if k == 1 else f"{k} shots" for k in shots)], body


def markdown_tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """One Markdown table per dataset and metric; says what was drawn and what is simulated."""
    parts = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        chosen = [row for row in rows if row["dataset"] == dataset]
        row, most = chosen[0], max(chosen, key=lambda r: r["shots"])
        title = f"## {dataset}" + (" (simulated, not measured)" if row["simulated"] else "")
        how = _PEOPLE.get(row["people"], f"everybody once per seed ({row['people']})")
        if not row["people_known"]:
            how += " (some recordings name nobody: each of them counts as a person of its own)"
        spread = f"± standard error over {len(row['seeds'])} seeds of people and shots"
        if len(row["seeds"]) == 1:
            spread = "one seed, so no standard error"
        parts += [
            title,
            f"Per cent, {spread}. {row['classes']} classes; tested on {how}, "
            f"{_range(row['windows_tested'])} windows; "
            f"{'; '.join(dict.fromkeys(map(_classifier, chosen)))}. A class with fewer windows "
            f"than shots gives all it has: {_range(most['windows_shown'])} windows are shown at "
            f"{most['shots']}.",
        ]
        leaked = [r["method"] for r in chosen if _leaks(r)]
        if leaked:
            names = ", ".join(dict.fromkeys(leaked))
            parts.append(
                f"**Leak: windows or people tested here were in the pretraining of {names}.**"
            )
        for metric, name in METRICS.items():
            header, body = table_cells(rows, dataset, metric)
            parts.append(_markdown([f"{name}: {header[0]}", *header[1:]], body))
        for metric in INTERVALS:
            header, body = interval_cells(rows, dataset, metric)
            name = f"{METRICS[metric]}, 95 % over people"
            parts.append(_markdown([f"{name}: {header[0]}", *header[1:]], body))
    return "\n\n".join(parts) + "\n"


_PEOPLE = {"resampled": "a quarter of the people", "folder": "its own test people"}


def _classifier(row: Mapping[str, Any]) -> str:
    about = row["classifier"]
    if about["protocol"] == "probe":
        c = about["c"] if isinstance(about["c"], str) else f"{about['c']:g}"
        return f"{about['name']} (C {c})"
    return (
        f"{row['method']}: {about['name']}, {about['head_init']} head, AdamW {about['lr']:g}, "
        f"best of {about['epochs']} epochs on validation people"
    )


def _leaks(row: Mapping[str, Any]) -> bool:
    return any(check["status"] == "leak" for check in row["pretraining_leaks"])


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _per_cent(row: Mapping[str, Any], metric: str) -> str:
    error = row[f"{metric}_se"]
    return f"{100 * row[metric]:.1f}" + ("" if error is None else f" ± {100 * error:.1f}")


def _markdown(header: list[str], body: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in [header, *body]) for i in range(len(header))]

    def line(cells: list[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(header), line(rule), *map(line, body)])
