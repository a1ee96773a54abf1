"""Tables of a study: differences between methods, seed by seed of people and shots."""

import numpy as np

from primus_jax.evals.fewshot.scores import standard_error
from primus_jax.reports.rows import Metric, Rows, datasets_of, methods_of, per_seed_of, shots_of
from primus_jax.reports.tables import METRICS, Cells, markdown_tables, shot_header, titled_table

REPORTED: tuple[Metric, ...] = ("accuracy", "macro_f1")


def differences(
    rows: Rows, method: str, other: str, metric: Metric
) -> dict[int, tuple[float, float | None]]:
    """`method` minus `other` on one dataset, in points.

    Both were tested on the same people with the same shots, so they are subtracted seed by seed.
    Returns shots -> (mean, standard error over seeds, or None for a single one).
    """
    value = {(row["method"], row["shots"]): per_seed_of(row, metric) for row in rows}
    shots = sorted({k for name, k in value if name == method} & {k for n, k in value if n == other})
    found = {}
    for k in shots:
        change = 100 * (np.asarray(value[method, k]) - np.asarray(value[other, k]))
        found[k] = float(change.mean()), standard_error(change)
    return found


def difference_cells(rows: Rows, lead: str, metric: Metric) -> Cells:
    """Header and body of "the lead minus each other method", on the rows of one dataset."""
    shots = shots_of(rows)
    body = []
    for other in (name for name in methods_of(rows) if name != lead):
        found = differences(rows, lead, other, metric)
        body.append([other, *(_signed(found.get(k)) for k in shots)])
    return shot_header(f"{lead} minus", shots), body


def study_markdown(rows: Rows, lead: str, heading: str) -> str:
    """The whole of table.md: every metric, then differences, development and test apart."""
    parts = [f"# {heading}\n"]
    for role in dict.fromkeys(row["role"] for row in rows):
        chosen = [row for row in rows if row["role"] == role]
        parts += [f"# {role.capitalize()} datasets\n", markdown_tables(chosen)]
        for dataset, own in datasets_of(chosen).items():
            parts.append(f"## {dataset}: {lead} minus each other method, points\n")
            for metric in REPORTED:
                table = titled_table(METRICS[metric], *difference_cells(own, lead, metric))
                parts.append(f"{table}\n")
    return "\n".join(parts)


def _signed(found: tuple[float, float | None] | None) -> str:
    if found is None:
        return ""
    mean, error = found
    return f"{mean:+.1f}" if error is None else f"{mean:+.1f} ± {error:.1f}"
