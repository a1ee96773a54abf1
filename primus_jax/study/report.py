"""What a study writes: results.jsonl, table.md, figures, study.json and one HTML page."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from primus_jax.config import config_hash, to_dict
from primus_jax.data.folder import DatasetFolder
from primus_jax.evals.features import dataset_features
from primus_jax.evals.fewshot.comparison import SCRATCH
from primus_jax.evals.hand_features import NAME as HAND
from primus_jax.provenance import provenance
from primus_jax.reports.html import Section, Table, write_report
from primus_jax.reports.tables import METRICS, interval_cells, table_cells
from primus_jax.study.figures import plot_ablation, plot_confusions, plot_curves, plot_maps
from primus_jax.study.study import RANDOM, Study
from primus_jax.study.tables import difference_cells, study_markdown

REPORTED = ("accuracy", "macro_f1")
CONFUSION_SHOTS = 5
Rows = Sequence[Mapping[str, Any]]


def write_results(
    study: Study,
    rows: Rows,
    methods: Mapping[str, Sequence[Any]],
    folders: Sequence[tuple[str, DatasetFolder]],
    out: Path,
    log: Callable[[str], None],
) -> None:
    """Write everything into a temporary folder, then put each file, whole, in its place.

    Args:
        study: what was run.
        rows: of `comparison.compare`, with "role".
        methods: name -> its encoders.
        folders: (role, dataset) pairs.
        out: the study's folder.
        log: takes progress lines.
    """
    seeds = len(study.pretraining_seeds)
    heading = f"{', '.join(study.methods)}: {seeds} pretraining seed{'s' * (seeds > 1)} each"
    table = study_markdown(rows, study.lead, heading)
    with tempfile.TemporaryDirectory(prefix=".results.", dir=out) as name:
        new = Path(name)
        lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
        (new / "results.jsonl").write_text(lines, encoding="utf-8")
        (new / "table.md").write_text(table, encoding="utf-8")
        description = json.dumps(_description(study, methods, folders), indent=1)
        (new / "study.json").write_text(description + "\n", encoding="utf-8")
        log("drawing figures")
        sections = _draw(study, rows, methods, folders, new)
        write_report(
            new / "report.html", "A study of pretrained IMU encoders", _intro(study), sections,
            _notice(rows),
        )  # fmt: skip
        for path in sorted(new.iterdir()):
            os.replace(path, out / path.name)
    log(f"\n{table}\nreport: {out / 'report.html'}")


def _draw(study: Study, rows: Rows, methods, folders, new: Path) -> list[Section]:
    """Every figure, and the sections of the page that show them."""
    plain = [name for name in methods if name in (HAND, SCRATCH) or name.startswith(RANDOM)]
    for metric in REPORTED:
        plot_curves(rows, new / f"curves_{metric}", study.lead, plain, metric)
    sections = [
        Section(
            "Accuracy over shots",
            "Every method is shown the same labelled windows of the same people and tested on the "
            "same other people. Encoders of several pretraining seeds are averaged. Dashed: "
            "nothing was pretrained.",
            images=[new / f"curves_{metric}.png" for metric in REPORTED],
        )
    ]
    if study.ablation:
        for metric in REPORTED:
            plot_ablation(rows, new / f"ablation_{metric}", study.ablation, metric)
        sections.append(
            Section(
                "Ablation",
                f"The line at zero is {study.ablation[0]}. Below it, leaving the part out costs "
                f"accuracy. Differences are taken seed by seed of people and shots.",
                images=[new / f"ablation_{metric}.png" for metric in REPORTED],
            )
        )
    for role, folder in folders:
        own = [row for row in rows if row["dataset"] == folder.name]
        short = "".join(c if c.isalnum() else "_" for c in folder.name)
        compared = _compared(own, study.lead)
        confusion = new / f"confusion_{short}"
        plot_confusions(
            compared, confusion,
            f"{folder.name}, {compared[0]['shots']} labelled windows per class, per cent",
        )  # fmt: skip
        maps = []
        for name in _mapped(study, methods):
            encoder = methods[name][0]
            if getattr(encoder, "rate_hz", None) != folder.rate_hz:
                continue
            maps.append(new / f"map_{short}_{len(maps)}")
            plot_maps(dataset_features(encoder, folder), maps[-1], f"{name} on {folder.name}")
        tables = [
            Table(*table_cells(own, folder.name, metric), caption=f"{METRICS[metric]}, per cent")
            for metric in METRICS
        ]
        tables += [
            Table(
                *interval_cells(own, folder.name, metric),
                caption=f"{METRICS[metric]}, per cent: 95 % bootstrap interval over people",
            )
            for metric in REPORTED
        ]
        tables += [
            Table(*difference_cells(own, study.lead, metric), caption=f"{METRICS[metric]}, points")
            for metric in REPORTED
        ]
        simulated = " Simulated, not measured." if folder.simulated else ""
        sections.append(
            Section(
                f"{folder.name} ({role})",
                f"{own[0]['classes']} classes, {sum(folder.splits.values()):,} windows, "
                f"{own[0]['people_tested']} people tested; {own[0]['people']} people.{simulated} "
                f"± is the standard error over {len(own[0]['seeds'])} draws of people and shots. "
                f"The maps show embeddings before any label was used: an encoder that separates "
                f"people rather than activities shows it here.",
                tables,
                [Path(f"{stem}.png") for stem in (confusion, *maps)],
            )
        )
    return sections


def _compared(rows: Rows, lead: str) -> list[Mapping[str, Any]]:
    """The lead's row and the best other method's, at the shot count nearest to five."""
    shots = min({row["shots"] for row in rows}, key=lambda k: (abs(k - CONFUSION_SHOTS), k))
    at = [row for row in rows if row["shots"] == shots]
    own = [row for row in at if row["method"] == lead]
    others = sorted((r for r in at if r["method"] != lead), key=lambda r: -r["macro_f1"])
    return own + others[:1]


def _mapped(study: Study, methods) -> list[str]:
    """The lead, one untrained encoder, and hand-crafted statistics."""
    untrained = [name for name in methods if name.startswith(RANDOM)]
    return [study.lead, *untrained[:1], *([HAND] if HAND in methods else [])]


def _intro(study: Study) -> str:
    steps = sorted({config.steps for config in study.methods.values()})
    lengths = " or ".join(f"{n:,}" for n in steps)
    return (
        f"{', '.join(study.methods)}: each pretrained {len(study.pretraining_seeds)} times for "
        f"{lengths} steps, then frozen. Choices were made on "
        f"{', '.join(map(str, study.development)) or 'no dataset'}; "
        f"{', '.join(map(str, study.test)) or 'no dataset'} had no part in them."
    )


def _notice(rows: Rows) -> str:
    simulated = sorted({row["dataset"] for row in rows if row["simulated"]})
    unsure: dict[str, None] = {}
    for row in rows:
        if any(check["status"] == "not verified" for check in row["pretraining_leaks"]):
            unsure[row["method"]] = None
    parts = []
    if simulated:
        parts.append(f"Simulated, not measured: {', '.join(simulated)}.")
    if unsure:
        parts.append(
            f"What was pretrained on could not be compared with the tested windows for "
            f"{', '.join(unsure)}."
        )
    return " ".join(parts)


def _description(study: Study, methods, folders) -> dict[str, Any]:
    """study.json: what made the results."""
    return {
        "methods": {
            name: {
                "config": to_dict(config),
                "config_hash": config_hash(config),
                "steps_exported": [encoder.metadata["step"] for encoder in methods[name]],
            }
            for name, config in study.methods.items()
        },
        "pretraining_seeds": list(study.pretraining_seeds),
        "data": {
            folder.name: {
                "role": role,
                "path": str(folder.path),
                "content_hash": folder.content_hash,
                "simulated": folder.simulated,
            }
            for role, folder in folders
        },
        "shots": list(study.shots),
        "evaluation_seeds": study.seeds,
        "people": study.people,
        "protocol": study.protocol.name,
        "ablation": list(study.ablation),
        "external": dict(study.external),
        "provenance": provenance(),
    }
