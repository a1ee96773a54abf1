"""The learnable temperature that divides the cosines of a contrastive loss."""

import math

import jax
import jax.numpy as jnp

from primus_jax.errors import PrimusError

PARAMETERISATIONS = ("log", "raw")


def init_temperature(value: float, parameterisation: str) -> jax.Array:
    """The float32 scalar parameter that stands for temperature `value` at the start."""
    return jnp.asarray(math.log(value) if parameterisation == "log" else value, jnp.float32)


def temperature(parameter: jax.Array, parameterisation: str) -> jax.Array:
    """The temperature of a parameter: exp of it ("log"), or itself ("raw", as released).

    The raw scalar gets steps of the same size at 0.1 and at 0.01, where a step is a tenth of it,
    and can reach or cross zero, where the loss is not a number any more (PRIMUS released code).
    The logarithm is positive by construction and its steps are relative; `clamp` keeps it inside
    its bounds. So "log" is the default of new runs, and "raw" is there for parity.
    """
    return jnp.exp(parameter) if parameterisation == "log" else parameter


def clamp(parameter: jax.Array, parameterisation: str, low: float, high: float) -> jax.Array:
    """Bring a "log" parameter back into [low, high] after an update; "raw" stays as it is.

    Clamping the parameter, not the value inside the loss, keeps its gradient alive at the bound.
    """
    if parameterisation != "log":
        return parameter
    return jnp.clip(parameter, math.log(low), math.log(high))


def check_temperature(parameterisation: str, initial: float, low: float, high: float) -> None:
    """Raise PrimusError unless the parameterisation is known and 0 < low <= initial <= high."""
    if parameterisation not in PARAMETERISATIONS:
        raise PrimusError(
            f"temperature parameterisation {parameterisation!r}; expected one of "
            f"{list(PARAMETERISATIONS)}."
        )
    if not 0 < low <= initial <= high:
        raise PrimusError(
            f"temperature: minimum {low}, initial {initial}, maximum {high}; "
            f"expected 0 < minimum <= initial <= maximum."
        )
