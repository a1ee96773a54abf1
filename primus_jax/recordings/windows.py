"""A recording becomes windows: resampled, cut on a hop or around narrations, never padded."""

import dataclasses
from collections import Counter

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.recording import Recording
from primus_jax.window import resample

TOO_SHORT = "recordings shorter than a window"
MISSING = "windows touching missing samples"
STUCK = "windows with a constant accelerometer"
OUTSIDE = "narrations outside their recording"
# m/s^2; noise of a living sensor is several times larger, ripple of resampling a constant smaller.
STILL = 5e-3


@dataclasses.dataclass(frozen=True)
class WindowSpec:
    """Which windows a dataset holds: rate in Hz, length and hop in seconds, and video frames.

    Lengths are rounded to whole samples. The hop is not used where narrations place the windows.
    Every window gets `frames` pictures of `frame_size` pixels a side from its recording's video.

    Raises:
        PrimusError: a value that is not positive (no frames are allowed), or less than two samples
            a window.
    """

    rate_hz: float = 50.0
    seconds: float = 5.0
    hop_seconds: float = 5.0
    frames: int = 0
    frame_size: int = 224

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not (np.isfinite(value) and (value > 0 or (name == "frames" and value == 0))):
                raise PrimusError(f"window {name} {value!r}; expected a positive number.")
        if self.samples < 2 or self.hop < 1:
            raise PrimusError(
                f"a window of {self.seconds} s with a hop of {self.hop_seconds} s at "
                f"{self.rate_hz} Hz is {self.samples} samples with a hop of {self.hop}; "
                f"expected at least 2 and 1."
            )

    @property
    def samples(self) -> int:
        """Samples of a window."""
        return round(self.seconds * self.rate_hz)

    @property
    def hop(self) -> int:
        """Samples between the starts of neighbouring windows."""
        return round(self.hop_seconds * self.rate_hz)


def cut(
    recording: Recording, spec: WindowSpec, drops: Counter[str]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Cut one recording into windows; what is left out is counted in `drops` by reason.

    With narrations, one window is centred on each (moved inside the recording at its ends) and
    carries its sentence; otherwise windows lie on the hop and carry the recording's sentence.

    Returns:
        imu float32 `[n, time, 6]` at `spec.rate_hz`, start int64 `[n]` in samples of it, n texts.
    """
    signal = resample(recording.signal, recording.rate_hz, spec.rate_hz)
    if len(signal) < spec.samples:
        drops[TOO_SHORT] += 1
        return np.empty((0, spec.samples, 6), np.float32), np.empty(0, np.int64), []
    last = len(signal) - spec.samples
    if recording.narrations:
        duration = len(recording.signal) / recording.rate_hz
        inside = [(t, text) for t, text in recording.narrations if 0 <= t < duration]
        drops[OUTSIDE] += len(recording.narrations) - len(inside)
        seconds = np.array([t for t, _ in inside], np.float64)
        starts = np.round(seconds * spec.rate_hz - spec.samples / 2).astype(np.int64).clip(0, last)
        texts = [text for _, text in inside]
    else:
        starts = np.arange(0, last + 1, spec.hop)
        texts = [recording.text] * len(starts)
    imu = np.lib.stride_tricks.sliding_window_view(signal, spec.samples, 0)[starts]
    imu = imu.swapaxes(1, 2)

    begin = starts / spec.rate_hz
    missing = np.zeros(len(starts), bool)
    for a, b in recording.bad_spans:
        missing |= (begin < b) & (begin + spec.samples / spec.rate_hz > a)
    acc = imu[:, :, :3]
    stuck = ~missing & (np.ptp(acc, axis=1) < STILL).all(1)
    drops[MISSING] += int(missing.sum())
    drops[STUCK] += int(stuck.sum())
    keep = np.flatnonzero(~(missing | stuck))
    return np.ascontiguousarray(imu[keep]), starts[keep], [texts[i] for i in keep]
