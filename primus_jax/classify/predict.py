"""A classifier over a recording: a label and its probability for every window."""

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from primus_jax.classify.classifier import Classifier
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.recordings.arrays import warn
from primus_jax.recordings.clock import RATE_TOLERANCE
from primus_jax.recordings.embedding import no_window
from primus_jax.recordings.report import Report, name_of
from primus_jax.recordings.stream import recording_windows
from primus_jax.recordings.table_format import TableFormat


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Predictions for n windows of one recording.

    `start_seconds` float64 `[n]`, after the first row; `window_seconds`; `hop_seconds`, the time
    that a window stands for: the hop, or the window where the hop is longer;
    `probability` float32 `[n, classes]`; `movement` float32 `[n]`, the standard deviation of the
    accelerometer's magnitude in the window, m/s^2.
    """

    labels: tuple[str, ...]
    start_seconds: np.ndarray
    window_seconds: float
    hop_seconds: float
    probability: np.ndarray
    movement: np.ndarray
    report: Report

    @property
    def label(self) -> np.ndarray:
        """The most probable class of each window, int `[n]`."""
        return self.probability.argmax(1)

    def write_csv(self, path: Path) -> None:
        """A row per window: start, end, label, its probability, and that of every class."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["start_seconds", "end_seconds", "label", "probability"]
                + [f"p_{name}" for name in self.labels]
            )
            for start, k, row in zip(self.start_seconds, self.label, self.probability, strict=True):
                writer.writerow(
                    [f"{start:.3f}", f"{start + self.window_seconds:.3f}", self.labels[k]]
                    + [f"{row[k]:.4f}"]
                    + [f"{value:.4f}" for value in row]
                )

    def time_per_label(self) -> dict[str, float]:
        """Seconds for which each label was predicted, one hop for each window."""
        counts = np.bincount(self.label, minlength=len(self.labels))
        times = {
            name: float(n * self.hop_seconds) for name, n in zip(self.labels, counts, strict=True)
        }
        return dict(sorted(times.items(), key=lambda item: -item[1]))


def predict(
    classifier: Classifier,
    encoder: Encoder,
    recording: Any,
    layout: TableFormat,
    hop_seconds: float,
) -> Prediction:
    """Classify the windows of a recording of any length, read in pieces.

    Args:
        classifier: and encoder: of `load_classifier`.
        recording: see `Encoder.embed_recording`.
        layout: its rate, units and columns, such as `Classifier.layout`; without gyroscope
            (`gyro=()`) for a classifier that was adapted without.
        hop_seconds: between the starts of windows.

    Raises:
        PrimusError: a gyroscope where the classifier was adapted without, or none where it was
            adapted with; numbers that contradict the units; anything wrong with the recording; no
            whole window in it.
    """
    gyro = classifier.description["gyro"]
    if gyro != bool(layout.gyro):
        raise PrimusError(
            "the classifier was adapted with a gyroscope; without one it would be wrong. Adapt "
            "again with --no-gyro."
            if gyro
            else "the classifier was adapted without gyroscope; pass --no-gyro here too."
        )
    seconds = classifier.description["window_seconds"]
    window = round(seconds * encoder.rate_hz)
    report = Report()
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for starts, imu in recording_windows(
        recording, layout, encoder.rate_hz, window, hop_seconds, report, strict=True
    ):
        embedding = encoder.encode_windows(imu, classifier.description["head"])
        magnitude = np.linalg.norm(imu[..., :3], axis=-1)
        parts.append((starts, classifier.probabilities(embedding), magnitude.std(1)))
    if not parts:
        raise PrimusError(no_window(report, seconds, name_of(recording)))
    _compare_rates(report.rate_hz, classifier.description.get("rates_hz", ()))
    starts, probability, movement = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Prediction(
        classifier.labels,
        starts,
        seconds,
        min(hop_seconds, seconds),
        probability,
        movement,
        report,
    )


def _compare_rates(rate_hz: float, known: Sequence[float]) -> None:
    """Warn of a rate unlike all that the classifier was adapted on."""
    if known and all(abs(rate_hz / other - 1) > RATE_TOLERANCE for other in known):
        warn(
            f"the recording has {rate_hz:g} samples a second; the classifier was adapted on "
            f"{', '.join(f'{other:g}' for other in known)}. All are resampled, yet the band that "
            f"they hold differs."
        )
