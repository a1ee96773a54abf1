"""The events of both feet -> strides with their times; and the numbers to predict from them."""

from typing import NamedTuple

import numpy as np

from data_prep.gait.events import FootEvents, foot_events
from primus_jax.errors import PrimusError

TARGETS = ("stride_time", "stance_time", "double_support_time")
# Seconds; nobody walks with longer or shorter strides.
_SHORTEST, _LONGEST = 0.5, 2.5
# From the median of the recording; a sensor that loses samples shortens a stride.
_UNUSUAL = 0.3
# Seconds by which two sensors that were started together may end apart.
_APART = 0.5


class Strides(NamedTuple):
    """Strides in the order of their middles, float64 `[strides]` in seconds.

    Attributes:
        middle: of the stride, after the first sample.
        stride_time: from a heel strike to the next one of the same foot.
        stance_time: from the heel strike to the toe off of that foot.
        double_support_time: both feet on the ground, at the beginning and at the end of the stance.
    """

    middle: np.ndarray
    stride_time: np.ndarray
    stance_time: np.ndarray
    double_support_time: np.ndarray


def strides(left: FootEvents, right: FootEvents) -> Strides:
    """Pair the events of both feet, on one clock, to the strides of both.

    A stride counts where the events alternate as in walking: heel strike, toe off and heel strike
    of the other foot, own toe off, heel strike. Strides that differ by more than 30 % from the
    median of the recording are left out.
    """
    found = np.concatenate([_of_one_foot(left, right), _of_one_foot(right, left)])
    time = found[:, 1]
    if len(found):
        middle = np.median(time)
        usual = (np.abs(time - middle) <= _UNUSUAL * middle) & (time >= _SHORTEST)
        found = found[usual & (time <= _LONGEST)]
    return Strides(*found[np.argsort(found[:, 0], kind="stable")].T)


def stride_targets(left: np.ndarray, right: np.ndarray, rate_hz: float) -> dict[str, np.ndarray]:
    """Numbers for `Recording.targets`, from sensors on both feet that were sampled together.

    Args:
        left: `[time, 6]` of the left foot or shoe, m/s^2 and rad/s.
        right: of the right foot, from the same first sample on.
        rate_hz: samples a second of both.

    Returns:
        `TARGETS` -> float64 `[strides, 2]`: the middle of each stride in seconds after the first
        sample, and its value in seconds.

    Raises:
        PrimusError: signals of different length, or what `foot_events` raises.
    """
    if not sampled_together(left, right, rate_hz):
        raise PrimusError(
            f"{len(left)} samples of the left and {len(right)} of the right foot; expected sensors "
            f"that were sampled together, and lost nothing."
        )
    found = strides(foot_events(left, rate_hz), foot_events(right, rate_hz))
    return {name: np.stack([found.middle, getattr(found, name)], 1) for name in TARGETS}


def sampled_together(left: np.ndarray, right: np.ndarray, rate_hz: float) -> bool:
    """Whether two signals `[time, 6]` that begin together end together, within half a second."""
    return abs(len(left) - len(right)) <= _APART * rate_hz


def _of_one_foot(own: FootEvents, other: FootEvents) -> np.ndarray:
    """Float64 `[strides, 4]`, as the fields of `Strides`."""
    start, end, off = own.heel_strike[:-1], own.heel_strike[1:], own.toe_off[1:]
    if not len(start) or not len(other.toe_off):
        return np.empty((0, 4))
    # The first swing of the other foot after the heel strike.
    swing = np.searchsorted(other.toe_off, start)
    known = swing < len(other.toe_off)
    swing = np.minimum(swing, len(other.toe_off) - 1)
    away, back = other.toe_off[swing], other.heel_strike[swing]
    alternate = known & (start < away) & (back < off) & (off < end)
    columns = [(start + end) / 2, end - start, off - start, (away - start) + (off - back)]
    return np.stack(columns, 1)[alternate]
