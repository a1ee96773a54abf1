"""Several methods that predict one target of a dataset, and the files about them."""

import csv
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.features import Features, dataset_features, dataset_windows
from primus_jax.evals.fewshot.comparison import prefixed
from primus_jax.evals.fewshot.leaks import check_pretraining
from primus_jax.evals.fewshot.paper_config import PaperConfig
from primus_jax.evals.fewshot.protocol import SCRATCH
from primus_jax.evals.fewshot.sampling import Sides
from primus_jax.evals.identity import Method, encoder_description, encoder_hash, trained_encoder
from primus_jax.evals.regression.levels import LEVELS, level_pairs, summarise
from primus_jax.evals.regression.protocol import (
    Predictions,
    RegressionOptions,
    draw_sides,
    predict,
    predict_mean,
    target_of,
)
from primus_jax.evals.regression.table import agreement_tables
from primus_jax.evals.regression.tuning import Tuning, predict_tuned
from primus_jax.evals.resampled import ResampledEncoder
from primus_jax.provenance import provenance
from primus_jax.reports.agreement import Panel, plot_bland_altman, plot_scatter
from primus_jax.reports.rows import LeakCheck, write_rows

FILES = ("results.jsonl", "table.md", "predictions.csv", "scatter.png", "bland_altman.png")
MEAN = "mean of the training people"
FINE_TUNED = "fine-tuned"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The rows of every method and level, and the predictions behind them.

    Attributes:
        target: what is predicted.
        rows: ready for results.jsonl.
        features: of one encoder; people and recordings are those of every encoder.
        predictions: of the first encoder of every method.
    """

    target: str
    rows: list[dict[str, Any]]
    features: Features
    predictions: dict[str, Predictions]


def compare_regressions(
    methods: Mapping[str, Sequence[Method]],
    folder: DatasetFolder,
    target: str,
    options: RegressionOptions | None = None,
    *,
    head: str = "emb",
    leaks: str = "error",
    tunings: Mapping[str, PaperConfig] | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Predict a target by every method, for the same people in the same folds.

    Args:
        methods: name -> encoders; several (initialisations) are averaged. At least one.
        folder: a dataset with targets.
        target: name of one.
        options: people, seeds and penalty; None: the defaults.
        head: output of the encoders.
        leaks: "error" stops when something tested was in an encoder's pretraining; "report" only
            writes it into the rows.
        tunings: how encoders are trained for further rows. `FINE_TUNED` trains every pretrained
            encoder, `SCRATCH` the first encoder's architecture from a random start.
        log: takes progress lines.

    Raises:
        PrimusError: an unknown or constant target, fewer than three people who have it, a leak, or
            what `dataset_features`, `draw_sides`, `predict` and `predict_tuned` raise.
    """
    options = options or RegressionOptions()
    rows: list[dict[str, Any]] = []
    predictions: dict[str, Predictions] = {}
    origin = {"people": options.people or "default", "provenance": provenance()}
    for name, encoders in methods.items():
        found, checks = [], []
        for encoder in encoders:
            features = dataset_features(encoder, folder, head)
            values = target_of(features, target)
            sides = draw_sides(features, values, options)
            checks.append(_pretraining_check(encoder, folder, features, sides, leaks))
            found.append(predict(features, values, sides, options.penalty))
        predictions[name] = found[0]
        if not rows:
            mean = [predict_mean(values, sides)]
            rows += _rows(MEAN, folder, features, target, mean, origin)
        penalties = Counter(f"{p:g}" for one in found for p in one.penalties)
        about = {
            **_about(encoders, head),
            "pretraining_leaks": checks,
            "penalties": dict(sorted(penalties.items(), key=lambda item: float(item[0]))),
        }
        rows += _rows(name, folder, features, target, found, about | origin)
        known, total = len(found[0].rows), len(features.label)
        log(f"{name}: {known:,} windows predicted, {total - known:,} without {target} left out")
    for name, method, tuning in _tuned(methods, tunings or {}, folder, head):
        # What is drawn does not depend on the encoder, and no training reads the embedding.
        one = predict_tuned(features, values, sides, tuning, log=prefixed(log, name))
        predictions[name] = one
        check: LeakCheck = {"status": "untrained", "why": "from scratch"}
        if not tuning.from_scratch:
            check = _pretraining_check(method, folder, features, sides, leaks)
        about = {
            **_about([method], head),
            "pretraining_leaks": [check],
            "training": dataclasses.asdict(tuning.config),
            "best_epochs": list(one.epochs),
        }
        rows += _rows(name, folder, features, target, [one], about | origin)
    return Comparison(target, rows, features, predictions)


def _tuned(
    methods: Mapping[str, Sequence[Method]],
    tunings: Mapping[str, PaperConfig],
    folder: DatasetFolder,
    head: str,
) -> Iterator[tuple[str, Method, Tuning]]:
    """Name, method and training of every row in which an encoder is trained."""
    if not tunings:
        return
    imu = dataset_windows(folder)
    trained = {
        name: (encoders[0], own)
        for name, encoders in methods.items()
        if (own := trained_encoder(encoders[0])) is not None
    }
    if not trained:
        raise PrimusError("no encoder to train: hand-crafted statistics have no weights.")

    def tuning(method: Method, own: Encoder, kind: str) -> Tuning:
        windows = method.resampled(imu) if isinstance(method, ResampledEncoder) else imu
        return Tuning(own, head, windows, tunings[kind], kind == SCRATCH)

    if FINE_TUNED in tunings:
        for name, (method, own) in trained.items():
            if "random_seed" not in own.metadata:
                yield f"{name}, {FINE_TUNED}", method, tuning(method, own, FINE_TUNED)
    if SCRATCH in tunings:
        method, own = next(iter(trained.values()))
        yield SCRATCH, method, tuning(method, own, SCRATCH)


def _about(encoders: Sequence[Method], head: str) -> dict[str, Any]:
    return {
        "head": head,
        "encoder_hashes": [encoder_hash(encoder) for encoder in encoders],
        "encoder_config": encoder_description(encoders[0]),
    }


def write_regression(made: Comparison, folder: Path) -> str:
    """Write `FILES` into an existing folder; return the table."""
    table = agreement_tables(made.rows)
    write_rows(folder / FILES[0], made.rows)
    (folder / FILES[1]).write_text(table, encoding="utf-8")
    _write_predictions(made, folder / FILES[2])
    panels = []
    for name, found in made.predictions.items():
        true, predicted, group = level_pairs(made.features, found, 0, "window")
        by_person = level_pairs(made.features, found, 0, "person")
        panels.append(Panel(name, true, predicted, group, by_person[0], by_person[1]))
    plot_scatter(panels, made.target, folder / FILES[3])
    plot_bland_altman(panels, made.target, folder / FILES[4])
    return table


def _rows(
    name: str,
    folder: DatasetFolder,
    features: Features,
    target: str,
    found: Sequence[Predictions],
    about: Mapping[str, Any],
) -> list[dict[str, Any]]:
    return [
        {
            "method": name,
            "dataset": folder.name,
            "simulated": folder.simulated,
            "dataset_hash": folder.content_hash,
            "people_known": bool((features.subject != "unknown").all()),
            "target": target,
            "windows_without_target": len(features.label) - len(found[0].rows),
            "averaged_over": len(found),
            **summarise(features, found, level),
            **about,
        }
        for level in LEVELS
    ]


def _pretraining_check(
    method: Method, folder: DatasetFolder, features: Features, sides: Sides, leaks: str
) -> LeakCheck:
    encoder = trained_encoder(method)
    if encoder is None:
        return {"status": "untrained", "why": "no learning"}
    try:
        return check_pretraining(encoder.metadata, folder, features, np.asarray(sides.test.any(0)))
    except PrimusError as error:
        if leaks == "error":
            raise
        return {"status": "leak", "why": str(error)}


def _write_predictions(made: Comparison, path: Path) -> None:
    """Every window that the first seed tests, as CSV."""
    features, start = made.features, made.features.start
    assert start is not None  # `dataset_features` gives it
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "subject", "recording", "start_seconds", "true", "predicted"])
        for name, found in made.predictions.items():
            for i in np.flatnonzero(np.isfinite(found.predicted[0])):
                row = found.rows[i]
                numbers = (found.true[i], found.predicted[0, i])
                writer.writerow(
                    [name, features.subject[row], features.recording[row],
                     f"{start[row]:g}", *(f"{value:.6g}" for value in numbers)]
                )  # fmt: skip
