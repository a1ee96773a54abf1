"""What a study writes: results.jsonl, table.md, figures, study.json and one HTML page."""

import dataclasses
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from primus_jax.config import config_hash, to_dict
from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder
from primus_jax.evals.features import dataset_features
from primus_jax.evals.fewshot.protocol import SCRATCH
from primus_jax.evals.hand_features import NAME as HAND
from primus_jax.evals.identity import Method
from primus_jax.models.heads import cross_modal_head
from primus_jax.provenance import provenance
from primus_jax.reports.confusion import Confusion, plot_confusions
from primus_jax.reports.curves import plot_shots
from primus_jax.reports.html import Section, Table, write_report
from primus_jax.reports.rows import ResultRow, Rows, write_rows
from primus_jax.reports.tables import METRICS, interval_cells, table_cells
from primus_jax.study.figures import plot_ablation, plot_maps, plot_method_maps
from primus_jax.study.retrieval import retrieval_markdown, retrieval_section
from primus_jax.study.retrieved import RetrievedRow
from primus_jax.study.study import RANDOM, Log, Study
from primus_jax.study.tables import REPORTED, difference_cells, study_markdown

CONFUSION_SHOTS = 5
Methods = Mapping[str, Sequence[Method]]
Folders = Sequence[tuple[str, DatasetFolder]]  # (role, dataset)


def write_results(
    study: Study,
    rows: Rows,
    retrieved: Sequence[RetrievedRow],
    methods: Methods,
    folders: Folders,
    out: Path,
    log: Log,
) -> None:
    """Write everything into a temporary folder, then put each file, whole, in its place.

    Args:
        study: what was run.
        rows: of `comparison.compare`, with "role".
        retrieved: of `study.retrieval.retrieval_rows`.
        methods: name -> its encoders.
        folders: (role, dataset) pairs.
        out: the study's folder.
        log: takes progress lines.
    """
    seeds = len(study.pretraining_seeds)
    count = "1 pretraining seed" if seeds == 1 else f"{seeds} pretraining seeds"
    heading = f"{', '.join(study.methods)}: {count} each"
    table = study_markdown(rows, study.lead, heading)
    with tempfile.TemporaryDirectory(prefix=".results.", dir=out) as name:
        new = Path(name)
        write_rows(new / "results.jsonl", rows)
        (new / "table.md").write_text(table, encoding="utf-8")
        description = json.dumps(_description(study, methods, folders), indent=1)
        (new / "study.json").write_text(description + "\n", encoding="utf-8")
        log("drawing figures")
        sections = _draw(study, rows, methods, folders, new)
        if retrieved:
            sections.append(retrieval_section(study, retrieved, new))
            write_rows(new / "retrieval.jsonl", retrieved)
            text = retrieval_markdown(study, retrieved)
            (new / "retrieval.md").write_text(text, encoding="utf-8")
        write_report(
            new / "report.html", "A study of pretrained IMU encoders", _intro(study), sections,
            _notice(rows),
        )  # fmt: skip
        for path in sorted(new.iterdir()):
            os.replace(path, out / path.name)
    log(f"\n{table}\nreport: {out / 'report.html'}")


def _draw(study: Study, rows: Rows, methods: Methods, folders: Folders, new: Path) -> list[Section]:
    """Every figure, and the sections of the page that show them."""
    plain = [name for name in methods if name in (HAND, SCRATCH) or name.startswith(RANDOM)]
    curves = {metric: new / f"curves_{metric}.png" for metric in REPORTED}
    for metric, path in curves.items():
        plot_shots(rows, path, metric, lead=study.lead, plain=plain, svg=True)
    sections = [
        Section(
            "Accuracy over shots",
            "Every method gets the same labelled windows of the same people and is tested on the "
            "same other people. Encoders of several pretraining seeds are averaged. Dashed: "
            "nothing was pretrained.",
            images=list(curves.values()),
        )
    ]
    if study.ablation:
        parts = {metric: new / f"ablation_{metric}.png" for metric in REPORTED}
        for metric, path in parts.items():
            plot_ablation(rows, path, study.ablation, metric)
        sections.append(
            Section(
                "Ablation",
                f"The line at zero is {study.ablation[0]}. Below it, leaving the part out costs "
                f"accuracy. Differences are taken seed by seed of people and shots.",
                images=list(parts.values()),
            )
        )
    if study.mapped:
        sections.append(_map_section(study, methods, folders, new))
    for role, folder in folders:
        own = [row for row in rows if row["dataset"] == folder.name]
        sections.append(_dataset_section(study, own, methods, role, folder, new))
    return sections


def _map_section(study: Study, methods: Methods, folders: Folders, new: Path) -> Section:
    """One map for each of `study.mapped`, a figure for each dataset, and what they show."""
    images, notes = [], []
    for _, folder in folders:
        short = "".join(c if c.isalnum() else "_" for c in folder.name)
        images.append(new / f"methods_{short}.png")
        encoders = {name: cast(Encoder, methods[name][0]) for name in study.mapped}
        features = {
            name: dataset_features(encoder, folder, cross_modal_head(encoder.config.heads, {}).name)
            for name, encoder in encoders.items()
        }
        agreement = plot_method_maps(features, images[-1], folder.name)
        order = sorted(agreement, key=lambda name: -agreement[name])
        shares = ", ".join(f"{name} {100 * agreement[name]:.0f} %" for name in order)
        notes.append(f"{folder.name}, same activity among the ten nearest windows: {shares}.")
    return Section(
        "Maps of the methods",
        "t-SNE of the embeddings that are compared with sentences, first pretraining seed of each "
        "method, coloured by activity. Clusters and distances of such a map mean little. The "
        "shares are counted in the embedding itself.\n\n" + "\n\n".join(notes),
        images=images,
    )


def _dataset_section(
    study: Study, rows: Rows, methods: Methods, role: str, folder: DatasetFolder, new: Path
) -> Section:
    """Confusion matrices, maps and tables of one dataset, whose rows are given."""
    short = "".join(c if c.isalnum() else "_" for c in folder.name)
    confusion = new / f"confusion_{short}.png"
    compared = _compared(rows, study.lead)
    plot_confusions(
        [Confusion.of_row(row) for row in compared], confusion,
        f"{folder.name}, {compared[0]['shots']} labelled windows per class, per cent of the row",
        svg=True,
    )  # fmt: skip
    maps: list[Path] = []
    for name in _mapped(study, methods):
        encoder = methods[name][0]
        if encoder.rate_hz == folder.rate_hz:
            maps.append(new / f"map_{short}_{len(maps)}.png")
            plot_maps(dataset_features(encoder, folder), maps[-1], f"{name} on {folder.name}")
    simulated = " Simulated, not measured." if folder.simulated else ""
    return Section(
        f"{folder.name} ({role})",
        f"{rows[0]['classes']} classes, {sum(folder.splits.values()):,} windows, "
        f"{rows[0]['people_tested']} people tested; {rows[0]['people']} people.{simulated} "
        f"± is the standard error over {len(rows[0]['seeds'])} draws of people and shots. "
        f"The maps are drawn before any label is used. They tell whether an encoder separates "
        f"activities or people.",
        _tables(study, rows, folder.name),
        unscaled=[confusion],
        images=maps,
    )


def _tables(study: Study, rows: Rows, dataset: str) -> list[Table]:
    """Scores of every metric, intervals over people, and differences to the lead."""
    tables = [
        Table(*table_cells(rows, dataset, metric), caption=f"{METRICS[metric]}, per cent")
        for metric in METRICS
    ]
    tables += [
        Table(
            *interval_cells(rows, dataset, metric),
            caption=f"{METRICS[metric]}, per cent: 95 % bootstrap interval over people",
        )
        for metric in REPORTED
    ]
    tables += [
        Table(*difference_cells(rows, study.lead, metric), caption=f"{METRICS[metric]}, points")
        for metric in REPORTED
    ]
    return tables


def _compared(rows: Rows, lead: str) -> list[ResultRow]:
    """The lead's row and the best other method's, at the shot count nearest to five."""
    shots = min({row["shots"] for row in rows}, key=lambda k: (abs(k - CONFUSION_SHOTS), k))
    at = [row for row in rows if row["shots"] == shots]
    own = [row for row in at if row["method"] == lead]
    others = sorted((r for r in at if r["method"] != lead), key=lambda r: -r["macro_f1"])
    return own + others[:1]


def _mapped(study: Study, methods: Methods) -> list[str]:
    """The lead, one untrained encoder, and hand-crafted statistics."""
    untrained = [name for name in methods if name.startswith(RANDOM)]
    hand = [HAND] if HAND in methods else []
    return [study.lead, *untrained[:1], *hand]


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


def _description(study: Study, methods: Methods, folders: Folders) -> dict[str, Any]:
    """study.json: what made the results."""
    return {
        "methods": {
            name: {
                "config": to_dict(config),
                "config_hash": config_hash(config),
                "steps_exported": [
                    encoder.metadata["step"]
                    for encoder in methods[name]
                    if isinstance(encoder, Encoder)
                ],
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
        "retrieval": dataclasses.asdict(study.retrieval),
        "external": dict(study.external),
        "provenance": provenance(),
    }
