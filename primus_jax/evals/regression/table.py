"""Rows of a regression as Markdown tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from primus_jax.reports.markdown import markdown_table

_TITLES = {"window": "By window", "recording": "By recording", "person": "By person"}
_ERRORS = {"mse": "MSE", "sdse": "SDSE", "mae": "MAE", "sdae": "SDAE"}
_SHARES = {"correlation": "correlation", "icc": "ICC(2,1)"}


def agreement_tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """One table per level, with intervals over people, under a heading with what was left out."""
    first = rows[0]
    simulated = " (simulated, not measured)" if first["simulated"] else ""
    without = first["windows_without_target"]
    parts = [
        f"## {first['dataset']}: {first['target']}{simulated}",
        f"{first['people_tested']} people, none in training and test at once. ± is the standard "
        f"error over seeds, brackets hold 95 % of a bootstrap over people. "
        f"{without:,} windows without the target were left out.",
    ]
    if not first["people_known"]:
        parts.append("Some subjects are not known: their recordings count as people of their own.")
    leaks = [row for row in rows if _leak(row)]
    parts += dict.fromkeys(f"LEAK of {row['method']}: {_leak(row)}" for row in leaks)
    for level, title in _TITLES.items():
        chosen = [row for row in rows if row["level"] == level]
        header = [f"{title}: method", *_ERRORS.values(), "MAE over people", *_SHARES.values()]
        header += ["correlation over people", "bias", "limits of agreement"]
        parts.append(markdown_table(header, [_cells(row) for row in chosen]))
    return "\n\n".join(parts) + "\n"


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [
        row["method"],
        *(_number(row[name], row[f"{name}_se"]) for name in _ERRORS),
        _span(row["mae_interval"]),
        *(_number(row[name], row[f"{name}_se"]) for name in _SHARES),
        _span(row["correlation_interval"]),
        _number(row["bias"]),
        _span([row["lower_limit"], row["upper_limit"]]),
    ]


def _leak(row: Mapping[str, Any]) -> str:
    checks = row.get("pretraining_leaks", ())
    return next((check["why"] for check in checks if check["status"] == "leak"), "")


def _number(value: float | None, error: float | None = None) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if error is None else f"{value:.3g} ± {error:.1g}"


def _span(bounds: Sequence[float | None] | None) -> str:
    if bounds is None or None in bounds:
        return "-"
    return f"[{bounds[0]:.3g}, {bounds[1]:.3g}]"
