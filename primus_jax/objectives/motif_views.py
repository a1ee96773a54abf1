"""The augmented copies from which the motif distance learns: two of eight changes, in any order.

RelCon, released recipe, section "learnable distance". Each change is a pure function (key, window)
-> window `[time, channels]`, made of a draw and of a function of that draw. With six channels the
gyroscope turns, flips and warps with the accelerometer, and no axis changes its sensor.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy.interpolate import CubicSpline

from primus_jax import augment
from primus_jax.errors import PrimusError

VIEWS = ("noise", "scale", "rotation", "negation", "flip", "shuffle", "permutation", "warp")
CUTS = 5  # with replacement, so that there are at most six pieces
KNOTS = 6  # of the speed, at even times, the ends among them
# The five orders of three axes that change something, in the order of itertools.permutations.
ORDERS = np.array([[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]])


@dataclasses.dataclass
class ViewConfig:
    """How strong the changes are, and which there are.

    Attributes:
        noise: standard deviation, m/s^2 and rad/s. The released 0.1 is taken as 0.1 g.
        scale: standard deviation of the gain of each channel about 1.
        warp: standard deviation of the speed about 1.
        of: from which changes `drawn` different ones are drawn.
        drawn: changes of one copy.
    """

    noise: float = 0.980665
    scale: float = 0.25
    warp: float = 0.2
    of: tuple[str, ...] = VIEWS
    drawn: int = 2

    def validate(self) -> None:
        """Raise PrimusError for values that mean nothing."""
        if unknown := set(self.of) - set(VIEWS):
            raise PrimusError(
                f"objective.views.of names {sorted(unknown)}; expected some of {VIEWS}."
            )
        if len(set(self.of)) != len(self.of) or not 1 <= self.drawn <= len(self.of):
            raise PrimusError(
                f"objective.views: drawn is {self.drawn} of {self.of}; expected 1 to "
                f"{len(set(self.of))} of different names."
            )
        for name in ("noise", "scale", "warp"):
            if not 0 < getattr(self, name) < math.inf:
                raise PrimusError(
                    f"objective.views.{name} is {getattr(self, name)}; expected more than 0."
                )


def view(key: jax.Array, window: jax.Array, config: ViewConfig) -> jax.Array:
    """Return a copy of a window `[time, channels]` after `drawn` different changes."""
    changes = _changes(config)
    keys = jax.random.split(key, config.drawn + 1)
    chosen = jax.random.permutation(keys[0], len(changes))[: config.drawn]
    for i in range(config.drawn):
        window = lax.switch(chosen[i], changes, keys[i + 1], window)
    return window


def _changes(config: ViewConfig) -> list[Callable[[jax.Array, jax.Array], jax.Array]]:
    """The functions of `config.of`."""
    named: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
        "noise": functools.partial(augment.noise, sigma=config.noise),
        "scale": functools.partial(augment.scale, sigma=config.scale),
        "rotation": rotate,
        "negation": lambda key, window: -window,
        "flip": lambda key, window: window[::-1],
        "shuffle": shuffle_axes,
        "permutation": permute,
        "warp": functools.partial(warp, sigma=config.warp),
    }
    return [named[name] for name in config.of]


def rotate(key: jax.Array, window: jax.Array) -> jax.Array:
    """Turn by any angle about an axis drawn from a cube, as released."""
    axis_key, angle_key = jax.random.split(key)
    axis = jax.random.uniform(axis_key, (3,), window.dtype, -1, 1)
    angle = jax.random.uniform(angle_key, (), window.dtype, -math.pi, math.pi)
    return by_sensor(lambda vectors: vectors @ rotation(axis, angle), window)


def rotation(axis: jax.Array, angle: jax.Array) -> jax.Array:
    """Return the matrix M `[3, 3]` of a rotation, applied to rows as x @ M (Rodrigues)."""
    x, y, z = axis / jnp.maximum(jnp.linalg.norm(axis), 1e-12)
    zero = jnp.zeros_like(x)
    cross = jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
    square = jnp.matmul(cross, cross, precision="highest")
    return jnp.eye(3, dtype=axis.dtype) + jnp.sin(angle) * cross + (1 - jnp.cos(angle)) * square


def shuffle_axes(key: jax.Array, window: jax.Array) -> jax.Array:
    """Put the axes of each sensor in one of the five other orders."""
    return reorder(jax.random.randint(key, (), 0, len(ORDERS)), window)


def reorder(index: jax.Array, window: jax.Array) -> jax.Array:
    """Put the axes into the order `ORDERS[index]`."""
    return by_sensor(lambda vectors: vectors[..., jnp.asarray(ORDERS)[index]], window)


def permute(key: jax.Array, window: jax.Array) -> jax.Array:
    """Cut at five places, drawn with replacement, and shuffle the pieces."""
    cut_key, order_key = jax.random.split(key)
    cuts = jax.random.randint(cut_key, (CUTS,), 0, window.shape[0])
    return arrange(cuts, jax.random.permutation(order_key, CUTS + 1), window)


def arrange(cuts: jax.Array, order: jax.Array, window: jax.Array) -> jax.Array:
    """Cut a window before the samples `cuts` `[n]`; piece `order[0]` comes first, and so on."""
    samples = jnp.arange(window.shape[0], dtype=cuts.dtype)
    piece = jnp.sum(samples[:, None] >= cuts, 1)
    rank = jnp.argsort(order)[piece]
    # A stable sort moves whole pieces and keeps the order inside each.
    return window[jnp.argsort(rank, stable=True)]


def warp(key: jax.Array, window: jax.Array, sigma: float) -> jax.Array:
    """Play each channel at a speed that varies smoothly about 1."""
    shape = (window.shape[1], KNOTS)
    return play(1 + sigma * jax.random.normal(key, shape, window.dtype), window)


def play(knots: jax.Array, window: jax.Array) -> jax.Array:
    """Put the samples of each channel at the summed speeds of a spline through `knots`, and read.

    The cubic spline goes through `knots` `[channels, n]` at even times; the last sample keeps its
    time, and the window is read at whole ones, as released.
    """
    time = window.shape[0]
    samples = jnp.arange(time, dtype=window.dtype)
    spline = jnp.asarray(spline_matrix(time, knots.shape[1]), window.dtype)
    passed = jnp.cumsum(jnp.matmul(knots, spline.T, precision="highest"), -1)
    clock = passed * ((time - 1) / passed[:, -1:])
    return jax.vmap(lambda at, x: jnp.interp(samples, at, x), (0, 1), 1)(clock, window)


@functools.lru_cache(maxsize=8)
def spline_matrix(time: int, knots: int) -> np.ndarray:
    """The cubic spline (not-a-knot) through even knots, as a matrix `[time, knots]`."""
    places = np.linspace(0, time - 1, knots)
    return CubicSpline(places, np.eye(knots))(np.arange(time))


def by_sensor(change: Callable[[jax.Array], jax.Array], window: jax.Array) -> jax.Array:
    """Apply a change of vectors `[..., 3]` to each sensor of `[time, channels]`."""
    return change(window.reshape(window.shape[0], -1, 3)).reshape(window.shape)
