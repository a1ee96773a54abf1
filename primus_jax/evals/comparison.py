"""Several encoders on several data sets under one few-shot protocol, and the files about it."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.features import dataset_features
from primus_jax.evals.fewshot import fewshot, summarize
from primus_jax.evals.plots import plot_shots
from primus_jax.provenance import provenance

METRICS = {"accuracy": "Accuracy", "macro_f1": "Macro-F1"}
FILES = ("results.jsonl", "table.md", "curves.png")


def compare(
    methods: Mapping[str, Sequence[Encoder]],
    folders: Iterable[DatasetFolder],
    *,
    shots: Sequence[int] = (1, 5, 10, 20, 50),
    seeds: int | Sequence[int] = 5,
    c: float = 1.0,
    people: str = "resampled",
    head: str = "emb",
    say: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Evaluate every method on every data set with the same people and the same shots.

    Args:
        methods: name -> encoders; several (initialisations, pretraining seeds) are averaged.
        folders: labelled data sets.
        shots, seeds, c, people: see `fewshot`.
        head: output of the encoders.
        say: takes progress lines.

    Returns:
        one row per method, data set and shot count, ready for results.jsonl.

    Raises:
        PrimusError: two data sets of one name, or what `dataset_features` and `fewshot` raise.
    """
    folders = list(folders)
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        raise PrimusError(f"data sets {names}: two have one name. Prepare one again with --name.")
    origin = provenance()
    rows = []
    for folder in folders:
        for method, encoders in methods.items():
            results = []
            for encoder in encoders:
                features = dataset_features(encoder, folder, head)
                try:
                    results.append(fewshot(features, shots, seeds, c, people))
                except PrimusError as error:
                    raise PrimusError(f"{folder.path}: {error}") from error
            about = {
                "method": method,
                "dataset": folder.name,
                "simulated": folder.simulated,
                "people_known": bool((features.subject != "unknown").all()),
                "head": head,
                "dataset_hash": folder.content_hash,
                "encoder_hashes": [encoder_hash(encoder) for encoder in encoders],
                "encoder_config": dataclasses.asdict(encoders[0].config),
            }
            rows += [{**about, **row, "provenance": origin} for row in summarize(results)]
            say(f"{folder.name}: {method}: {len(features.label)} windows embedded and probed")
    return rows


def write_comparison(rows: Sequence[Mapping[str, Any]], folder: Path) -> str:
    """Write results.jsonl, table.md and curves.png into an existing folder; return the table."""
    table = markdown_tables(rows)
    lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    (folder / FILES[0]).write_text(lines, encoding="utf-8")
    (folder / FILES[1]).write_text(table, encoding="utf-8")
    plot_shots(rows, folder / FILES[2])
    return table


def encoder_hash(encoder: Encoder) -> str:
    """blake2b of the architecture, the rate and every parameter, 32 hex digits."""
    digest = hashlib.blake2b(digest_size=16)
    config = json.dumps(dataclasses.asdict(encoder.config), sort_keys=True)
    digest.update(f"{config} {encoder.rate_hz}".encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(encoder.params):
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype}".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()


def table_cells(
    rows: Sequence[Mapping[str, Any]], dataset: str, metric: str
) -> tuple[list[str], list[list[str]]]:
    """Header and body of one table in per cent, methods down, shot counts across."""
    chosen = [row for row in rows if row["dataset"] == dataset]
    shots = sorted({row["shots"] for row in chosen})
    methods = list(dict.fromkeys(row["method"] for row in chosen))
    value = {(row["method"], row["shots"]): row for row in chosen}
    body = [
        [method, *(_per_cent(value.get((method, k)), metric) for k in shots)] for method in methods
    ]
    header = ["method", *(f"{k} shot" if k == 1 else f"{k} shots" for k in shots)]
    return header, body


def markdown_tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """One Markdown table per data set and metric; says what was drawn and what is simulated."""
    parts = []
    for dataset in dict.fromkeys(row["dataset"] for row in rows):
        row = next(row for row in rows if row["dataset"] == dataset)
        title = f"## {dataset}" + (" (simulated, not measured)" if row["simulated"] else "")
        how = "a quarter of the people" if row["people"] == "resampled" else "its own test people"
        if not row["people_known"]:
            how += " (some recordings name nobody: each of them counts as a person of its own)"
        spread = f"± standard error over {len(row['seeds'])} seeds of people and shots"
        if len(row["seeds"]) == 1:
            spread = "one seed, so no standard error"
        parts += [
            title,
            f"Per cent, {spread}. {row['classes']} classes; tested on {how}, "
            f"{min(row['windows_tested']):,} to {max(row['windows_tested']):,} windows; "
            f"logistic regression (C = {row['classifier']['c']:g}) on frozen features.",
        ]
        for metric, name in METRICS.items():
            header, body = table_cells(rows, dataset, metric)
            parts.append(_markdown([f"{name}: {header[0]}", *header[1:]], body))
    return "\n\n".join(parts) + "\n"


def _per_cent(row: Mapping[str, Any] | None, metric: str) -> str:
    if row is None:
        return ""
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
