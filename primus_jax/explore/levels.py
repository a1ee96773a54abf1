"""A long signal in few values: the least and the largest of every stretch, so no peak is lost."""

import dataclasses
from collections.abc import Sequence

import numpy as np

# Stretches of a page: with six channels 7.7 MB as text.
MOST = 240_000
MISSING = -32768


@dataclasses.dataclass(frozen=True)
class Envelope:
    """The least and the largest value of every stretch of a signal.

    Attributes:
        seconds: length of a stretch.
        low: and high, float32 `[stretches, channels]`, NaN where there is no sample.
        high: see low.
    """

    seconds: float
    low: np.ndarray
    high: np.ndarray


def envelope(
    starts: Sequence[float], pieces: Sequence[np.ndarray], rate_hz: float, most: int = MOST
) -> Envelope:
    """Reduce the pieces of a signal, which gaps may part, to at most `most` stretches.

    Args:
        starts: seconds of the first sample of each piece, rising.
        pieces: float32 `[time, channels]` each, at `rate_hz`; at least one sample in all.
        rate_hz: of the samples.
        most: stretches; a recording of fewer samples keeps them all.
    """
    first = np.round(np.asarray(starts) * rate_hz).astype(np.int64)
    place = np.concatenate([k + np.arange(len(x)) for k, x in zip(first, pieces, strict=True)])
    values = np.concatenate(pieces)
    per = -(-int(place[-1] + 1) // most)
    stretch = place // per
    cuts = np.flatnonzero(np.diff(stretch, prepend=-1))
    shape = (int(stretch[-1]) + 1, values.shape[1])
    low, high = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    low[stretch[cuts]] = np.minimum.reduceat(values, cuts)
    high[stretch[cuts]] = np.maximum.reduceat(values, cuts)
    return Envelope(per / rate_hz, low, high)


def as_int16(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Values as int16 and what one of these stands for; NaN is `MISSING`."""
    known = np.isfinite(values)
    unit = float(np.abs(values[known]).max(initial=0)) / 32_767 or 1.0
    whole = np.where(known, np.round(np.where(known, values, 0) / unit), MISSING)
    return whole.astype(np.int16), unit
