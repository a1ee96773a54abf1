"""Which stretches of a recording cannot be trusted: stuck, saturated or implausible signals."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.plausible import (
    ACC_RANGE,
    GYRO_RANGE,
    MEAN_ACC,
    MEAN_GYRO,
    MEAN_SECONDS,
    beyond_range,
)

CONSTANT_ACC = "a constant accelerometer axis"
CONSTANT_GYRO = "a constant gyroscope"
SATURATED = "saturation (flat tops at the range limit)"
NOT_GRAVITY = "a mean |acc| far from gravity"
SPINNING = "a mean |gyro| that no person reaches"
IMPOSSIBLE = "samples beyond the range of any body-worn sensor, treated as missing"

# A living sensor repeats a value exactly for a few samples, never for this long.
CONSTANT_SECONDS = 1.0
CONSTANT_SAMPLES = 20
# A peak of human movement is round; flat tops are those beyond the smallest range that is sold.
FLAT_SECONDS = 0.01
FLAT_SAMPLES = 3

_LISTED = re.compile(r"(.+)_(\d+(?:\.\d+)?)_(\d+(?:\.\d+)?)")


def bad_spans(
    signal: np.ndarray, rate_hz: float, *, has_gyro: bool = True
) -> list[tuple[float, float, str]]:
    """Find the stretches that cannot be trusted, on the samples as the sensor gave them.

    To be called before any anti-aliased resampling, which rounds flat tops. An accelerometer axis
    or the whole gyroscope that repeats one value for a second is stuck; three or more samples (10
    ms or more) at an axis's own extreme, beyond the smallest range that is sold, are cut-off peaks;
    a mean |acc| over 5 s outside 0.7 to 2.5 g, or a mean |gyro| above 20 rad/s, is no person. A
    rule of this project: the published lists name windows without saying why.

    Args:
        signal: float `[time, 6]`, m/s^2 and rad/s, finite, on a uniform grid.
        rate_hz: of the grid.
        has_gyro: False leaves the gyroscope's columns out.

    Returns:
        (start, end, reason) in seconds after the first sample, ordered by start.
    """
    signal = np.asarray(signal, np.float64)
    shortest = max(CONSTANT_SAMPLES, math.ceil(CONSTANT_SECONDS * rate_hz))
    spans: list[tuple[int, int, str]] = []
    repeats = signal[1:] == signal[:-1]
    for axis in range(3):
        spans += _named(_runs(repeats[:, axis], shortest - 1, 1), CONSTANT_ACC)
    if has_gyro:
        spans += _named(_runs(repeats[:, 3:].all(1), shortest - 1, 1), CONSTANT_GYRO)

    flat = max(FLAT_SAMPLES, math.ceil(FLAT_SECONDS * rate_hz))
    for axis in range(6 if has_gyro else 3):
        smallest = ACC_RANGE if axis < 3 else GYRO_RANGE
        for side in (signal[:, axis], -signal[:, axis]):
            if (top := side.max()) >= smallest:
                spans += _named(_runs(side >= top * (1 - 1e-6), flat), SATURATED)

    samples = min(len(signal), round(MEAN_SECONDS * rate_hz))
    acc = _moving_mean(np.linalg.norm(signal[:, :3], axis=1), samples)
    far = (acc < MEAN_ACC[0]) | (acc > MEAN_ACC[1])
    spans += _named(_runs(far, 1, samples - 1), NOT_GRAVITY)
    if has_gyro:
        fast = _moving_mean(np.linalg.norm(signal[:, 3:], axis=1), samples) > MEAN_GYRO
        spans += _named(_runs(fast, 1, samples - 1), SPINNING)
    # a sample stands for the period around it
    return sorted(
        ((first - 0.5) / rate_hz, (last + 0.5) / rate_hz, why) for first, last, why in spans
    )


def without_impossible(signal: np.ndarray, drops: Counter[str]) -> np.ndarray:
    """Return float64 `[time, 6]` with NaN where a sensor reads what no body-worn one does.

    The three axes of that sensor become NaN; such samples are counted in `drops`.
    """
    signal = np.array(signal, np.float64)
    for part, beyond in zip((signal[:, :3], signal[:, 3:]), beyond_range(signal), strict=True):
        drops[IMPOSSIBLE] += int(beyond.sum())
        part[beyond] = np.nan
    return signal


def reason_of(start: float, end: float, spans: Sequence[tuple[float, float, str]]) -> str | None:
    """The reason of the first span that the window [start, end) in seconds touches, or None."""
    return next((why for a, b, why in spans if start < b and end > a), None)


def read_bad_windows(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Read a published list of bad windows, in seconds of the video, sorted by start.

    Two forms exist: lines `uid_start_end` (PRIMUS, dataset/egoexo4d/bad_imu.txt), and JSON
    `[[uid, start, end], ...]` (IMU2CLIP, dataset/ego4d/bad_imu_windows_2.5.json). Entries may
    repeat, as the published ones do; empty lines are passed over.

    Raises:
        PrimusError: the file cannot be read, or an entry of another form.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        entries = json.loads(text) if text.lstrip().startswith("[") else None
    except (OSError, ValueError) as error:
        raise PrimusError(f"{path}: not a readable list of bad windows ({error}).") from error
    if entries is None:
        matches = [(f"line {n}", line, _LISTED.fullmatch(line.strip())) for n, line in _lines(text)]
        windows = [(where, line, match and match.groups()) for where, line, match in matches]
    else:
        windows = [(f"entry {n}", entry, entry) for n, entry in enumerate(entries, 1)]
    found: dict[str, set[tuple[float, float]]] = {}
    for where, entry, window in windows:
        try:
            uid, start, end = window or ()
            span = float(start), float(end)
        except (TypeError, ValueError):
            uid, span = None, (0.0, 0.0)
        if not (isinstance(uid, str) and 0 <= span[0] < span[1] < math.inf):
            raise PrimusError(
                f"{path}, {where}: {entry!r}; expected uid_start_end with seconds, such as "
                f"e769336a-ac30-4eb4-9a47-607aff166242_1342_1347, or JSON [[uid, start, end], ...]."
            )
        found.setdefault(uid, set()).add(span)
    return {uid: sorted(spans) for uid, spans in found.items()}


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return ((n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip())


def _named(runs: Iterator[tuple[int, int]], why: str) -> Iterator[tuple[int, int, str]]:
    return ((first, last, why) for first, last in runs)


def _runs(flags: np.ndarray, shortest: int, more: int = 0) -> Iterator[tuple[int, int]]:
    """First and last index of every run of true flags; the last is moved by `more`."""
    edges = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    long = last - first + 1 >= shortest
    return zip(first[long].tolist(), (last[long] + more).tolist(), strict=True)


def _moving_mean(values: np.ndarray, samples: int) -> np.ndarray:
    total = np.cumsum(np.concatenate([[0.0], values]))
    return (total[samples:] - total[:-samples]) / samples
