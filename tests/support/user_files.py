"""Recordings as a user has them: CSV files in g and deg/s, with gaps, labels and people."""

from pathlib import Path

import numpy as np

from primus_jax.classify.classifier import Classifier
from primus_jax.encoder import Encoder
from primus_jax.models.motion import MotionConfig

# Cadence in Hz, swing in g, tilt in degrees and turning in deg/s.
ACTIVITIES = {
    "walk": (1.9, 0.25, 5.0, 60.0),
    "stairs": (1.2, 0.45, 25.0, 110.0),
    "sit": (0.2, 0.01, 70.0, 3.0),
}
CONFIG = MotionConfig(channels=4)


def tiny_encoder(rate_hz: float = 50.0, window_seconds: float = 3.0) -> Encoder:
    """An untrained encoder that does not say so: its statistics tell activities apart."""
    encoder = Encoder.random(CONFIG, 0, rate_hz, window_seconds)
    encoder.metadata = {}
    return encoder


def moving(activity: str, seconds: float, rate_hz: float, seed: int) -> np.ndarray:
    """Somebody who does one thing, float64 `[time, 6]` in g and deg/s."""
    rng = np.random.default_rng(seed)
    cadence, swing, tilt, turn = ACTIVITIES[activity]
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    phase = 2 * np.pi * cadence * rng.normal(1, 0.05) * t + rng.uniform(0, 6)
    angle = np.radians(tilt + rng.normal(0, 2))
    swing, turn = swing * rng.normal(1, 0.1), turn * rng.normal(1, 0.1)
    acc = np.stack(
        [
            np.sin(angle) + 0.3 * swing * np.cos(phase),
            np.cos(angle) + swing * np.sin(phase),
            0.4 * swing * np.sin(2 * phase),
        ],
        1,
    )
    gyro = turn * np.stack([np.cos(phase), 0.5 * np.sin(phase), 0.3 * np.cos(2 * phase)], 1)
    return np.concatenate([acc, gyro], 1) + rng.normal(0, [0.01] * 3 + [1.0] * 3, (len(t), 6))


def write_user_csv(
    path: Path,
    people: tuple[str, ...] = ("anna", "ben", "carl"),
    rate_hz: float = 25.0,
    bouts: int = 3,
    seconds: float = 15.0,
    seed: int = 0,
    labelled: bool = True,
) -> Path:
    """One file of all people, each its own recording: time, six channels in g and deg/s, then
    recording, subject and activity. Bouts follow one another; the second of each person starts
    after a gap of 2 s."""
    rows = []
    for i, person in enumerate(people):
        clock = 0.0
        for bout in range(bouts):
            for j, activity in enumerate(ACTIVITIES):
                signal = moving(activity, seconds, rate_hz, seed + 100 * i + 10 * bout + j)
                clock += 2.0 * (bout == 1 and j == 0)
                for sample in signal:
                    values = ",".join(f"{value:.4f}" for value in sample)
                    tail = f",{person},{person},{activity}" if labelled else ""
                    rows.append(f"{clock:.3f},{values}{tail}")
                    clock += 1 / rate_hz
    header = "time,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z"
    header += ",recording,subject,activity" if labelled else ""
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def write_classifier(
    path: Path, encoder: Encoder, labels: tuple[str, ...], rates_hz: list[float]
) -> None:
    """The folder of a classifier with random weights, as `adapt` would write it."""
    width = encoder.config.width("emb")
    rng = np.random.default_rng(0)
    path.mkdir()
    Classifier(
        labels=labels,
        mean=np.zeros(width, np.float32),
        deviation=np.ones(width, np.float32),
        kernel=rng.normal(size=(width, len(labels))).astype(np.float32),
        bias=np.zeros(len(labels), np.float32),
        description={
            "window_seconds": encoder.window_seconds,
            "hop_seconds": encoder.window_seconds / 2,
            "head": "emb",
            "gyro": True,
            "rates_hz": rates_hz,
        },
    ).save(path, encoder)
