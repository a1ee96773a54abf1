"""The evidence for a class in a window, by a classifier or by classifiers of several encoders."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from primus_jax.classify.classifier import INNER, Classifier, fit
from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.features import dataset_features, dataset_windows
from primus_jax.evals.fewshot.probe import CLIP
from primus_jax.evals.gradcam import ClassScore, activation_maps, class_score
from primus_jax.models.vision.encoder import VisionConfig
from primus_jax.models.vision.spectrogram import spectrograms
from primus_jax.recordings.report import Report
from primus_jax.recordings.stream import recording_windows
from primus_jax.recordings.table_format import TableFormat
from primus_jax.reports.explanation import Explained

HOP_SECONDS = 0.5


def window_at(
    classifier: Classifier, encoder: Encoder, recording: Any, layout: TableFormat, seconds: float
) -> tuple[float, np.ndarray]:
    """The whole window whose middle is nearest to a moment: its start, and `[time, 6]`.

    Args:
        classifier: and encoder: of `load_classifier`; they state the length of the window.
        recording: see `Encoder.embed_recording`; read in pieces.
        layout: its rate, units and columns.
        seconds: after the first row.

    Raises:
        PrimusError: no window holds that moment (it is outside the recording, or in a gap), or
            anything wrong with the recording.
    """
    length = classifier.description["window_seconds"]
    report, best = Report(), (np.inf, 0.0, np.zeros((0, 6), np.float32))
    last = 0.0
    for starts, imu in recording_windows(
        recording, layout, encoder.rate_hz, round(length * encoder.rate_hz), HOP_SECONDS, report,
        strict=True,
    ):  # fmt: skip
        distance = np.abs(starts + length / 2 - seconds)
        k = int(distance.argmin())
        last = float(starts[-1]) + length
        if distance[k] < best[0]:
            best = float(distance[k]), float(starts[k]), imu[k].copy()
    if not best[0] <= length / 2:
        raise PrimusError(
            f"--at {seconds:g}: no window of {length:g} s holds that moment. The windows of the "
            f"recording end at {last:,.1f} s; gaps have none."
        )
    return best[1], best[2]


def explain_window(
    classifier: Classifier, encoder: Encoder, imu: np.ndarray, start: float, label: str | None
) -> tuple[Explained, str, np.ndarray]:
    """The evidence in one window `[time, 6]`, the class, and every class's probability.

    Args:
        classifier: and encoder: of `load_classifier`.
        imu: at the encoder's rate.
        start: seconds after the first row.
        label: the class; None: the most probable one.

    Raises:
        PrimusError: an unknown label, or an encoder without a map.
    """
    head = classifier.description["head"]
    probability = classifier.probabilities(encoder.encode_windows(imu[None], head))[0]
    if label is not None and label not in classifier.labels:
        raise PrimusError(f"--label {label!r}; the classifier knows {classifier.labels}.")
    name = classifier.labels[probability.argmax()] if label is None else label
    score = class_score(
        classifier.kernel, classifier.mean, classifier.deviation, classifier.labels.index(name),
        CLIP,
    )  # fmt: skip
    return _explained(encoder, imu, head, score, start), name, probability


def explain_classes(
    encoders: Mapping[str, Encoder],
    folder: DatasetFolder,
    seed: int = 0,
    log: Callable[[str], None] = lambda line: None,
) -> dict[str, list[Explained]]:
    """A test window of every class, and the evidence that each encoder finds in it.

    For each encoder a logistic regression is fitted on its embeddings of the labelled windows of
    the train split. Figure "Grad-CAM" of IMG2IMU: a row for each class, a column for each encoder.

    Args:
        encoders: name -> encoder.
        folder: a labelled dataset with train and test splits.
        seed: of the choice of windows.
        log: takes progress lines.

    Raises:
        PrimusError: no class with windows in both splits, or an encoder without a map.
    """
    windows = dataset_windows(folder)
    rows: dict[str, list[Explained]] = {}
    for name, encoder in encoders.items():
        log(f"{name}: embedding {len(windows):,} windows")
        features = dataset_features(encoder, folder)
        train = (features.label >= 0) & (features.split == "train")
        test = (features.label >= 0) & (features.split == "test")
        classes = np.intersect1d(features.label[train], features.label[test])
        if len(classes) < 2:
            raise PrimusError(
                f"{folder.path}: {len(classes)} classes have windows in both the train and the "
                f"test split; expected two or more. Prepare it with other --splits."
            )
        fold = np.unique(features.group, return_inverse=True)[1] % INNER
        mean, deviation, kernel, _, _ = fit(
            features.embedding, np.maximum(features.label, 0), len(features.label_names), train,
            fold,
        )  # fmt: skip
        for k in classes:
            chosen = np.random.default_rng([seed, int(k)]).choice(
                np.flatnonzero(test & (features.label == k))
            )
            score = class_score(kernel, mean, deviation, int(k), CLIP)
            found = _explained(encoder, windows[chosen], "emb", score, 0.0)
            rows.setdefault(features.label_names[k], []).append(found)
    return rows


def _explained(
    encoder: Encoder, imu: np.ndarray, head: str, score: ClassScore, start: float
) -> Explained:
    evidence = activation_maps(encoder, imu[None], head, score)[0]
    image = None
    if isinstance(encoder.config, VisionConfig):
        images = np.asarray(spectrograms(jnp.asarray(imu[None]), encoder.config.spectrogram))
        image = np.clip(images[0, 0] if images.ndim == 5 else images[0, ..., :3], 0, 1)
    return Explained(imu, encoder.rate_hz, start, evidence, image)
