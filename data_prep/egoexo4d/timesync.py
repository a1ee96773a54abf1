"""`timesync.csv` of a capture: the clock of every camera for every frame."""

import functools
from pathlib import Path

import numpy as np

from data_prep.egoexo4d.annotations import version_of
from data_prep.egoexo4d.takes import Take
from primus_jax.errors import PrimusError
from primus_jax.recordings.columns import open_table, read_columns


def frame_stamps(take: Take) -> np.ndarray:
    """Device time in ns of the frames of a take's videos, float64 `[frames]`; NaN is unknown.

    The array is empty if the capture has no timesync, or a timesync without the glasses. Timesyncs
    are the part `captures` of the download.

    Raises:
        PrimusError: a damaged file, or one with fewer rows than the take refers to.
    """
    if take.frames is None or not take.timesync.is_file():
        return np.empty(0)
    if take.rgb_column not in open_table(take.timesync).names:
        return np.empty(0)
    stamps = _column(take.timesync, take.rgb_column, version_of(take.timesync))
    first, last = take.frames
    if not 0 <= first < last <= len(stamps):
        raise PrimusError(
            f"{take.timesync}: {len(stamps)} rows, but take {take.uid} refers to rows {first - 1} "
            f"to {last}. Download the part `captures` again."
        )
    return stamps[first:last]


@functools.lru_cache(maxsize=1)
def _column(path: Path, name: str, version: tuple[int, int]) -> np.ndarray:
    return read_columns(path, (name,)).numbers[name]
