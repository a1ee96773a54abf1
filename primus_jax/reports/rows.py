"""The rows of results.jsonl, which a few-shot evaluation writes and tables and figures read."""

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, cast

from primus_jax.files import new_folder

Metric = Literal["accuracy", "macro_f1", "balanced_accuracy", "kappa"]


class LeakCheck(TypedDict):
    """`status` is "clean", "untrained", "leak" or "not verified"; `why` is a sentence."""

    status: str
    why: str


class FittedClassifier(TypedDict):
    """What was fitted. The probe has `c`, a number or words; the paper's protocol has the rest.

    `hidden` to `head_lr` are those of `evals/fewshot/paper_config.py`.
    """

    protocol: str
    name: str
    c: NotRequired[float | str]
    head_init: NotRequired[str]
    lr: NotRequired[float]
    weight_decay: NotRequired[float]
    epochs: NotRequired[int]
    batch_size: NotRequired[int]
    hidden: NotRequired[int]
    inputs: NotRequired[str]
    layers: NotRequired[int | None]
    patience: NotRequired[int]
    class_weights: NotRequired[bool]
    chosen_by: NotRequired[str]
    validation_share: NotRequired[float]
    optimizer: NotRequired[str]
    schedule: NotRequired[str]
    warmup_epochs: NotRequired[int]
    lr_start: NotRequired[float]
    lr_end: NotRequired[float]
    head_epochs: NotRequired[int]
    head_lr: NotRequired[float]


class FitDetails(TypedDict, total=False):
    """What the fits of one shot count report, a value per draw: of the probe the first three."""

    c: list[float]
    c_chosen_by_windows: list[int]
    gradient_norm: float  # the largest of all draws
    best_epoch: list[int]
    validation_accuracy: list[float]  # or validation_macro_f1, by what chooses the epoch
    validation_macro_f1: list[float]
    trained_epochs: list[int]


class FoldRow(TypedDict):
    """One draw: its seed, its people by side, its windows, and its scores between 0 and 1."""

    seed: int
    people: dict[str, list[str]]  # test, validation, train
    windows_tested: int
    accuracy: float
    macro_f1: float
    balanced_accuracy: float
    kappa: float
    auc: float | None  # the mean over classes
    auc_by_class: list[float | None]  # None: not one window of the class, or no other


class ScoreRow(TypedDict):
    """The scores of one method at one shot count, before the method and the dataset are named.

    Every metric has five entries: the mean, and with these endings `_se` the standard error over
    seeds (None for one seed), `_per_seed` the values, and `_interval` the 95 % bootstrap interval
    over people (None for one person). All scores lie between 0 and 1.
    """

    shots: int
    accuracy: float
    accuracy_se: float | None
    accuracy_per_seed: list[float]
    accuracy_interval: list[float] | None
    macro_f1: float
    macro_f1_se: float | None
    macro_f1_per_seed: list[float]
    macro_f1_interval: list[float] | None
    balanced_accuracy: float
    balanced_accuracy_se: float | None
    balanced_accuracy_per_seed: list[float]
    balanced_accuracy_interval: list[float] | None
    kappa: float
    kappa_se: float | None
    kappa_per_seed: list[float]
    kappa_interval: list[float] | None
    seeds: list[int]
    windows_shown: list[int]  # labelled training windows of every draw
    windows_tested: list[int]
    people_tested: int
    classes: int
    label_names: list[str]
    confusion: list[list[int]]  # rows true, columns predicted
    people: str
    classifier: FittedClassifier
    fits: list[FitDetails]
    averaged_over: int
    # Where every draw is reported: the one-vs-rest area under the ROC curve, mean over draws.
    auc: NotRequired[float | None]
    auc_interval: NotRequired[list[float] | None]
    auc_by_class: NotRequired[list[float | None]]
    folds: NotRequired[list[FoldRow]]


class ResultRow(ScoreRow):
    """A line of results.jsonl.

    "role" is that of the dataset in a study; "condition", "strengths" and "change_seed" tell how
    `evals.fewshot.robustness` changed the tested windows.
    """

    method: str
    dataset: str
    simulated: bool
    people_known: bool
    head: str
    dataset_hash: str
    encoder_hashes: list[str]
    encoder_config: dict[str, Any]
    pretraining_leaks: list[LeakCheck]
    provenance: dict[str, Any]
    role: NotRequired[str]
    condition: NotRequired[str]
    strengths: NotRequired[dict[str, float]]
    change_seed: NotRequired[int]


Rows = Sequence[ResultRow]


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one line of JSON per row; NaN is refused with a ValueError."""
    lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    path.write_text(lines, encoding="utf-8")


def results_folder(
    out: Path | None, overwrite: bool, files: Sequence[str]
) -> contextlib.AbstractContextManager[Path | None]:
    """`new_folder(out)`, or None without `out`; only a folder of `files` is replaced.

    Raises:
        PrimusError: the folder exists and is not to be replaced.
    """
    if out is None:
        return contextlib.nullcontext()
    return new_folder(out, overwrite=overwrite, own=files)


def standard_error_of(row: ScoreRow, metric: Metric) -> float | None:
    """The standard error of a metric over seeds; None for one seed."""
    return cast(Mapping[str, Any], row)[f"{metric}_se"]


def per_seed_of(row: ScoreRow, metric: Metric) -> list[float]:
    """The values of a metric, one per seed."""
    return cast(Mapping[str, Any], row)[f"{metric}_per_seed"]


def interval_of(row: ScoreRow, metric: Metric) -> list[float] | None:
    """The bootstrap interval of a metric over people; None for one person."""
    return cast(Mapping[str, Any], row)[f"{metric}_interval"]


def datasets_of(rows: Rows) -> dict[str, list[ResultRow]]:
    """The rows of each dataset, in the order in which the datasets come."""
    found: dict[str, list[ResultRow]] = {}
    for row in rows:
        found.setdefault(row["dataset"], []).append(row)
    return found


def methods_of(rows: Rows) -> list[str]:
    """The methods in the order in which they come."""
    return list(dict.fromkeys(row["method"] for row in rows))


def shots_of(rows: Rows) -> list[int]:
    """The shot counts, ascending."""
    return sorted({row["shots"] for row in rows})
