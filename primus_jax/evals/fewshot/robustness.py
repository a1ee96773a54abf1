"""Few-shot scores on changed test windows: what a shift, a gap, noise or a turned sensor costs."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.evals.fewshot.comparison import compare
from primus_jax.evals.fewshot.draws import DrawOptions
from primus_jax.evals.identity import Method
from primus_jax.evals.perturbations import ORIGINAL, Strengths, changed_windows, changes
from primus_jax.reports.markdown import markdown_table
from primus_jax.reports.rows import ResultRow, Rows, datasets_of, methods_of, shots_of, write_rows
from primus_jax.reports.tables import per_cent

FILES = ("results.jsonl", "table.md")


def robustness(
    methods: Mapping[str, Sequence[Method]],
    folders: Sequence[DatasetFolder],
    draws: DrawOptions,
    strengths: Strengths,
    *,
    seed: int = 0,
    leaks: str = "error",
    log: Callable[[str], None] = lambda line: None,
) -> list[ResultRow]:
    """Classifiers of unchanged windows, tested on changed ones: Table I of IMG2IMU, any encoder.

    Frozen features and the probe of `probe_fewshot`. Labelled windows and the features' scale come
    from unchanged windows; only what is tested changes.

    Args:
        methods: name -> encoders, as `compare` takes them.
        folders: labelled datasets.
        draws: shots, seeds and people, the same for every condition.
        strengths: of the changes.
        seed: of the changes; the seeds of people and shots are those of `draws`.
        leaks: as `compare` takes it.
        log: takes progress lines.

    Returns:
        rows of results.jsonl with "condition" and "strengths".

    Raises:
        PrimusError: a strength out of its range, a negative seed, or what `compare` raises.
    """
    strengths.validate()
    if seed < 0:
        raise PrimusError(f"--seed {seed}; expected a whole number from 0.")
    rows: list[ResultRow] = []
    for name, change in changes(strengths).items():
        log(f"{name} test windows")
        altered = None if change is None else lambda imu, c=change: changed_windows(imu, c, seed)
        found = compare(methods, folders, draws, leaks=leaks, altered=altered, log=log)
        for row in found:
            row["condition"], row["change_seed"] = name, seed
            row["strengths"] = dataclasses.asdict(strengths)
        rows += found
    return rows


def write_robustness(rows: Rows, folder: Path) -> str:
    """Write `FILES` into an existing folder; return the table."""
    table = robustness_markdown(rows)
    write_rows(folder / FILES[0], rows)
    (folder / FILES[1]).write_text(table, encoding="utf-8")
    return table


def robustness_markdown(rows: Rows) -> str:
    """Macro-F1 by method and condition, a table for each dataset and shot count.

    The last column is the mean loss in points over the four changes.
    """
    parts = []
    for dataset, own in datasets_of(rows).items():
        for shots in shots_of(own):
            at = [row for row in own if row["shots"] == shots]
            conditions = list(dict.fromkeys(row["condition"] for row in at))
            header = ["Macro-F1: method", *conditions, "mean loss"]
            body = [_line(at, method, conditions) for method in methods_of(at)]
            words = "1 labelled window" if shots == 1 else f"{shots} labelled windows"
            parts.append(f"## {dataset}, {words} per class\n\n{markdown_table(header, body)}")
    return "\n\n".join(parts) + "\n"


def _line(rows: Rows, method: str, conditions: Sequence[str]) -> list[str]:
    own = {row["condition"]: row for row in rows if row["method"] == method}
    cells = [per_cent(own[name]["macro_f1"], own[name]["macro_f1_se"]) for name in conditions]
    changed = [own[name]["macro_f1"] for name in conditions if name != ORIGINAL]
    loss = own[ORIGINAL]["macro_f1"] - sum(changed) / len(changed)
    return [method, *cells, f"{100 * loss:.1f}"]
