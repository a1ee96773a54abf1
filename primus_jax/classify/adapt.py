"""A user's labelled recordings -> windows, a classifier, and what to expect of it."""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from primus_jax.classify.classifier import INNER, Classifier, fit
from primus_jax.classify.folds import Held, hold_out, training_rows
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.metrics import METRICS, bootstrap_interval, confusion_by_person
from primus_jax.recordings.arrays import check_rate, warn
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.windows import WindowSpec, cut

UNLABELLED = "recordings without a label"
LEAST = 2
# With ten units the 95 % bootstrap interval of a mean covers 88 to 90 %, with three 72 to 75 %.
LEAST_UNITS = 10


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Embeddings of n labelled windows: `embedding` float32 `[n, dim]`, `label` int `[n]`, an index
    into `names`; `subject`, `recording` and `bout` str `[n]`; `start` int `[n]`, their first
    samples in the bout; `window`: samples of one; `gyro`: all had a gyroscope."""

    embedding: np.ndarray
    label: np.ndarray
    names: tuple[str, ...]
    subject: np.ndarray
    recording: np.ndarray
    bout: np.ndarray
    start: np.ndarray
    window: int
    gyro: bool


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """`confusion` int `[units, classes, classes]`, rows true, summed over windows held out."""

    held: Held
    confusion: np.ndarray
    names: tuple[str, ...]

    def row(self) -> dict[str, Any]:
        """The figures for classifier.json."""
        total = self.confusion.sum(0)
        scores = {name: float(metric(total)) for name, metric in METRICS.items()}
        tested = self.confusion.sum((1, 2)) > 0
        interval = None
        if tested.sum() >= LEAST_UNITS:
            interval = bootstrap_interval(self.confusion[None], METRICS["accuracy"])
        units = zip(self.held.names, METRICS["accuracy"](self.confusion), tested, strict=True)
        return {
            "held_out_by": self.held.by,
            "meaning": self.held.meaning,
            "folds": self.held.folds,
            "windows": int(total.sum()),
            **scores,
            "accuracy_interval_95": None if interval is None else list(interval),
            "largest_class": float(total.sum(1).max() / total.sum()),
            "accuracy_of": {name: float(value) for name, value, there in units if there},
            "confusion": total.tolist(),
        }


def labelled_windows(
    recordings: Iterable[Recording],
    encoder: Encoder,
    drops: Counter[str],
    *,
    window_seconds: float,
    hop_seconds: float,
    head: str,
    shots: int | None = None,
) -> Labelled:
    """Cut and embed labelled recordings.

    Args:
        recordings: of `data_prep.user.tables.Tables`; a change of label begins a new one, `id#k`.
        encoder: what embeds.
        drops: counts what was left out, by reason.
        window_seconds: length of the windows.
        hop_seconds: between their starts.
        head: of the encoder.
        shots: most windows of each label, spread evenly over all that there are.

    Raises:
        PrimusError: fewer than two labels with two windows each.
    """
    spec = WindowSpec(encoder.rate_hz, window_seconds, hop_seconds)
    windows, columns, starts, rates, gyro = [], [], [], set(), []
    for recording in recordings:
        if not recording.label:
            drops[UNLABELLED] += 1
            continue
        if recording.rate_hz not in rates:
            check_rate(recording.rate_hz, encoder.rate_hz)
            rates.add(recording.rate_hz)
        imu, start, _ = cut(recording, spec, drops)
        row = (recording.label, recording.subject, recording.id.partition("#")[0], recording.id)
        windows.append(imu)
        columns += [row] * len(imu)
        starts.append(start)
        gyro.append(recording.has_gyro)
    counts = Counter(row[0] for row in columns)
    few = sorted(name for name, count in counts.items() if count < LEAST)
    if len(counts) - len(few) < 2:
        reasons = "; ".join(f"{count} {reason}" for reason, count in drops.items() if count)
        left_out = f"Left out: {reasons}. " if reasons else ""
        raise PrimusError(
            f"labelled windows of {window_seconds:g} s: {dict(counts)}; expected at least two "
            f"labels with {LEAST} windows each. {left_out}"
            f"Check the label column, or take shorter windows (--window, --hop)."
        )
    for name in few:
        warn(f"label {name!r} has a single window and is left out.")
    names = tuple(sorted(counts.keys() - few))
    table = np.array(columns, dtype=str)
    rows = np.flatnonzero(np.isin(table[:, 0], names))
    if shots is not None:
        rows = np.concatenate([_spread(rows[table[rows, 0] == name], shots) for name in names])
        rows.sort()
    label = np.searchsorted(np.array(names), table[rows, 0])
    embedding = encoder.encode_windows(np.concatenate(windows)[rows], head)
    start = np.concatenate(starts)[rows]
    subject, recorded, bout = table[rows, 1:].T
    return Labelled(
        embedding, label, names, subject, recorded, bout, start, spec.samples, all(gyro)
    )


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of `rows`, evenly spread."""
    if len(rows) <= most:
        return rows
    return rows[np.arange(most) * len(rows) // most]


def evaluate(data: Labelled) -> Evaluation:
    """Hold out every window once (see `folds.hold_out`), predicted by a classifier of the others.

    Raises:
        PrimusError: fewer than two labels are left to learn from.
    """
    held = hold_out(data.label, data.subject, data.recording, data.bout)
    classes = len(data.names)
    predicted = np.empty_like(data.label)
    for fold in range(held.folds):
        rows = training_rows(held, fold, data.bout, data.start, data.window)
        left = np.unique(data.label[rows])
        if len(left) < 2:
            raise PrimusError(
                f"{len(data.label)} windows, held out by {held.by}: {len(left)} of {classes} "
                f"labels have windows that touch no tested one; expected at least 2. "
                f"Record longer, or take shorter windows (--window)."
            )
        inner = (held.fold - fold - 1) % held.folds % INNER
        mean, deviation, kernel, bias, _ = fit(data.embedding, data.label, classes, rows, inner)
        model = Classifier(data.names, mean, deviation, kernel, bias, {})
        test = held.fold == fold
        predicted[test] = model.probabilities(data.embedding[test]).argmax(1)
    confusion = confusion_by_person(predicted, data.label, held.unit, len(held.names), classes)
    return Evaluation(held, confusion, data.names)


def train(data: Labelled, held: Held, description: dict[str, Any]) -> Classifier:
    """The classifier of all windows, its penalty chosen over the folds of `held`."""
    everything = np.ones(len(data.label), bool)
    mean, deviation, kernel, bias, c = fit(
        data.embedding, data.label, len(data.names), everything, held.fold % INNER
    )
    return Classifier(data.names, mean, deviation, kernel, bias, description | {"c": c})
