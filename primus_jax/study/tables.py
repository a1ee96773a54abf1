"""Tables of a study: differences between methods, seed by seed of people and shots."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from primus_jax.evals.fewshot.fewshot import standard_error
from primus_jax.reports.tables import METRICS, markdown_tables

Rows = Sequence[Mapping[str, Any]]


def differences(
    rows: Rows, method: str, other: str, metric: str
) -> dict[int, tuple[float, float | None]]:
    """`method` minus `other` on one dataset, in points.

    Both were tested on the same people with the same shots, so they are subtracted seed by seed.
    Returns shots -> (mean, standard error over seeds, or None for a single one).
    """
    value = {(row["method"], row["shots"]): row[f"{metric}_per_seed"] for row in rows}
    shots = sorted({k for name, k in value if name == method} & {k for n, k in value if n == other})
    found = {}
    for k in shots:
        change = 100 * (np.asarray(value[method, k]) - np.asarray(value[other, k]))
        found[k] = float(change.mean()), standard_error(change)
    return found


def difference_cells(rows: Rows, lead: str, metric: str) -> tuple[list[str], list[list[str]]]:
    """Header and body of "the lead minus each other method", on the rows of one dataset."""
    shots = sorted({row["shots"] for row in rows})
    others = [name for name in dict.fromkeys(row["method"] for row in rows) if name != lead]
    body = []
    for other in others:
        found = differences(rows, lead, other, metric)
        body.append([other, *(_signed(found.get(k)) for k in shots)])
    return [f"{lead} minus", *(f"{k} shot" if k == 1 else f"{k} shots" for k in shots)], body


def study_markdown(rows: Rows, lead: str, heading: str) -> str:
    """The whole of table.md: every metric, then differences, development and test apart."""
    parts = [f"# {heading}\n"]
    for role in dict.fromkeys(row["role"] for row in rows):
        chosen = [row for row in rows if row["role"] == role]
        parts += [f"# {role.capitalize()} datasets\n", markdown_tables(chosen)]
        for dataset in dict.fromkeys(row["dataset"] for row in chosen):
            own = [row for row in chosen if row["dataset"] == dataset]
            parts.append(f"## {dataset}: {lead} minus each other method, points\n")
            for metric in ("accuracy", "macro_f1"):
                header, body = difference_cells(own, lead, metric)
                lines = [[f"{METRICS[metric]}: {header[0]}", *header[1:]]]
                lines += [["---", *["---:"] * (len(header) - 1)], *body]
                parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n")
    return "\n".join(parts)


def _signed(found: tuple[float, float | None] | None) -> str:
    if found is None:
        return ""
    mean, error = found
    return f"{mean:+.1f}" + ("" if error is None else f" ± {error:.1f}")
