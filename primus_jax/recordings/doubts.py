"""What the numbers of a recording say against its stated units, gravity and sign."""

import math
from typing import NamedTuple

import numpy as np

from primus_jax.recordings.plausible import (
    MEAN_OF_CALM,
    Magnitudes,
    Stretches,
    is_gravity,
    magnitudes,
)
from primus_jax.window import ACC_UNITS, GRAVITY, GYRO_UNITS

# A mean vector this long, beside the median of |acc|, is gravity and not movement.
STEADY = 0.6
NEAR_ONE = (0.7, 1.3)
# A reading of 1 g in any unit is below this; larger ones are counts of a converter.
_COUNTS = 1500.0
COUNTS = (
    "state what a count is: --acc-unit g --scale-acc 1/N, where the sensor reads N counts for 1 g"
)
ADD_GRAVITY = (
    "record the accelerometer with gravity, or name the columns of gravity: --gravity GX GY GZ"
)


class Doubt(NamedTuple):
    """What was found and expected, what it looks like, and what to do."""

    found: str
    likely: str
    advice: str

    def __str__(self) -> str:
        """As an error for a person."""
        return f"{self.found}. {self.likely}: {self.advice}."

    def kept(self, unit: str) -> str:
        """As a warning that the numbers are taken as stated."""
        return f"{self.found}. {self.likely}; the numbers are taken as {unit}, as stated."


def of_accelerometer(found: Magnitudes, parts: Stretches, acc_unit: str) -> Doubt | None:
    """Doubt the unit of an accelerometer, or that gravity is in it.

    The mean vector over seconds decides between the two: movement averages out, gravity does not.
    Magnitudes alone cannot: linear acceleration of 3 m/s^2 reads like 3 g.

    Args:
        found: magnitudes by the stated unit.
        parts: stretches by the stated unit; without any, magnitudes alone decide.
        acc_unit: the stated unit.

    Returns:
        None where nothing is wrong, or no row is whole.
    """
    if math.isnan(found.acc):
        return None
    removed = parts.no_gravity(found.acc)
    calm = parts.calm
    odd = not math.isnan(calm) and not MEAN_OF_CALM[0] < calm < MEAN_OF_CALM[1]
    if found.gravity and not removed and not odd:
        return None
    scale = ACC_UNITS[acc_unit]
    says = f"the median accelerometer magnitude is {found.acc / scale:.3g} {acc_unit}; expected "
    says += f"about {GRAVITY / scale:.3g} at rest"
    mean = found.acc if math.isnan(parts.middle) else parts.middle
    mean = mean if math.isnan(calm) else calm
    for other, factor in ACC_UNITS.items():
        ones = mean / scale * factor / GRAVITY
        steady = mean >= STEADY * found.acc and NEAR_ONE[0] <= ones <= NEAR_ONE[1]
        if other != acc_unit and steady and is_gravity(found.acc / scale * factor):
            return Doubt(says, f"It looks like {other}", f"pass --acc-unit {other}")
    if found.acc / scale > _COUNTS and not math.isnan(calm):
        return Doubt(says, "It looks like counts of the sensor", COUNTS)
    if not math.isnan(parts.middle):
        says += f", and its mean vector over 2 s is {parts.middle / scale:.3g} long"
    if mean > MEAN_OF_CALM[1] and odd:
        likely = "Gravity is in the accelerometer twice, or the unit is another"
        return Doubt(says, likely, "leave --gravity out, or convert the numbers to m/s2 or g")
    if removed or odd or found.acc < GRAVITY:
        likely = "Gravity seems to have been removed (userAcceleration, linear acceleration)"
        return Doubt(says, likely, ADD_GRAVITY)
    return Doubt(says, "No unit that is known fits", "convert the numbers to m/s2 or g")


def of_gyroscope(found: Magnitudes, gyro_unit: str) -> Doubt | None:
    """Doubt the unit of a gyroscope that turns faster than people do."""
    if found.turns or math.isnan(found.gyro):
        return None
    scale = GYRO_UNITS[gyro_unit]
    says = (
        f"half of the gyroscope magnitudes exceed {found.gyro / scale:.3g} {gyro_unit} and one in "
        f"a hundred {found.gyro_high / scale:.3g}, faster than people turn"
    )
    for other, factor in GYRO_UNITS.items():
        ratio = factor / scale
        if ratio < 1 and Magnitudes(0.0, found.gyro * ratio, found.gyro_high * ratio).turns:
            return Doubt(says, f"It looks like {other}", f"pass --gyro-unit {other}")
    return Doubt(says, "The unit is another", "convert the numbers to deg/s or rad/s")


def of_sign(parts: Stretches) -> str:
    """The warning that a sensor at rest reads -1 g where +1 g is usual, or ""."""
    axis = parts.opposite()
    if not axis:
        return ""
    return (
        f"at rest the accelerometer reads about -1 g along {axis}. The convention here is +1 g "
        f"upwards at rest; Apple's exports have the other sign: pass --invert-acc for those. If "
        f"the sensor was upside down, nothing is wrong."
    )


def doubts(
    si: np.ndarray, parts: Stretches, acc_unit: str, gyro_unit: str
) -> list[tuple[Doubt, str]]:
    """All doubts of `[..., 6]` in SI by the stated units, each with the unit it is about."""
    found = magnitudes(si)
    both = (
        (of_accelerometer(found, parts, acc_unit), acc_unit),
        (of_gyroscope(found, gyro_unit), gyro_unit),
    )
    return [(doubt, unit) for doubt, unit in both if doubt is not None]
