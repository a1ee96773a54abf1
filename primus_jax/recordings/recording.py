"""The one intermediate between any source of recordings and the dataset writer."""

import dataclasses
import os
from collections.abc import Mapping

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.window import check_imu


@dataclasses.dataclass(frozen=True)
class Video:
    """A video of a recording.

    Attributes:
        path: the file.
        start_seconds: time in the file at which the recording's first sample was taken. Time in a
            file counts from its first picture, whatever its first timestamp is.
    """

    path: str | os.PathLike[str]
    start_seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Recording:
    """One uninterrupted stretch of one sensor, in SI units (law 1).

    Attributes:
        id: unique within the dataset.
        signal: float32 `[time, 6]`, m/s^2 with gravity and rad/s, all finite.
        rate_hz: samples a second, uniform.
        subject: person, unique over all sources; "unknown" if nobody knows.
        group: what must stay on one side of a split; "" means the subject, or the recording itself
            if the subject is unknown.
        placement: where the sensor sits, or "".
        label: activity, or "" for unlabelled.
        text: one sentence for the whole recording, or "".
        narrations: (seconds after the first sample, sentence); windows are centred on them.
        text_embedding: float `[dim]`, of `text`.
        video_embedding: float `[dim]`, of the video of the whole recording.
        has_gyro: False means that the gyroscope columns are zeros.
        start_seconds: when the first sample was taken, after the start of the original recording.
        bad_spans: (from, to) in seconds after the first sample, where the signal was filled in;
            no window may touch them.
        video: what a camera saw meanwhile, or None.
        targets: numbers to predict, by name: float `[known, 2]`, seconds after the first sample and
            the value there; `[0, 2]` where none is known. Every recording of a dataset has the same
            names.

    Raises:
        PrimusError: not a signal in SI units (`primus_jax.window.check_imu`), a rate that is not a
            positive number, an embedding that is not a finite vector, or targets that are not
            finite pairs.
    """

    id: str
    signal: np.ndarray
    rate_hz: float
    subject: str = "unknown"
    group: str = ""
    placement: str = ""
    label: str = ""
    text: str = ""
    narrations: tuple[tuple[float, str], ...] = ()
    text_embedding: np.ndarray | None = None
    video_embedding: np.ndarray | None = None
    has_gyro: bool = True
    start_seconds: float = 0.0
    bad_spans: tuple[tuple[float, float], ...] = ()
    video: Video | None = None
    targets: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"recording {self.id!r}"
        if not self.id:
            raise PrimusError("a recording without an id; expected a name unique in the dataset.")
        signal = check_imu(self.signal, where)
        if signal.ndim != 2:
            raise PrimusError(f"{where}: shape {signal.shape}; expected [time, 6].")
        object.__setattr__(self, "signal", signal)
        if not (np.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise PrimusError(f"{where}: rate {self.rate_hz!r} Hz; expected a positive number.")
        for name in ("text_embedding", "video_embedding"):
            vector = getattr(self, name)
            if vector is not None and (np.ndim(vector) != 1 or not np.isfinite(vector).all()):
                raise PrimusError(f"{where}: {name} must be a vector of finite numbers.")
        for name, known in self.targets.items():
            if known.ndim != 2 or known.shape[1] != 2 or not np.isfinite(known).all():
                raise PrimusError(
                    f"{where}: target {name!r} {known.shape}; expected finite [known, 2]: seconds "
                    f"after the first sample, and values."
                )

    @property
    def split_group(self) -> str:
        """The unit that a split may not divide."""
        return self.group or (self.subject if self.subject != "unknown" else self.id)
