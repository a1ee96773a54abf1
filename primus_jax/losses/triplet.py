"""The triplet loss over the global batch: a window is nearer to its own target than to another."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from primus_jax.errors import PrimusError
from primus_jax.losses.pairs import (
    ALL_PAIRS,
    AxisName,
    Batch,
    Pairs,
    gather,
    make_batch,
    own_places,
    total,
)
from primus_jax.losses.pairs import negatives as different
from primus_jax.numerics import dot, normalize

NEGATIVES = ("cyclic", "random", "hardest", "all")
REDUCTIONS = ("sum", "mean")


def triplet(
    a: ArrayLike,
    b: ArrayLike,
    pairs: Pairs = ALL_PAIRS,
    *,
    margin: float = 1.0,
    negatives: str = "cyclic",
    unit: bool = False,
    reduction: str = "sum",
    key: jax.Array | None = None,
) -> jax.Array:
    """Sum over rows of max(0, |a - p|^2 - |a - n|^2 + margin); p is the row's target, n another.

    Equation 13 of the Ambient AI report, which states neither the margin nor how n is chosen. No
    negative is absent, or equal to the row's own target (`pairs.equal`). A row without target, or
    for which no negative is left, adds nothing.

    Args:
        a: `[batch, dim]`, the embedding that is trained; any float dtype.
        b: `[batch, dim]`, its target.
        pairs: mask, equal targets and mesh axes; its other fields do not matter here.
        margin: by which the squared distances should differ.
        negatives: "cyclic": the target of the row before, in cyclic order, or of the nearest row
            before with another target. "random": one of the targets, all alike. "hardest": the one
            nearest to the row. "all": every one, each with a term of its own.
        unit: scale the rows of both sides to unit norm first.
        reduction: "sum" over rows, as printed, or "mean" over the rows that have a negative.
        key: draws the negatives of "random"; row i of the global batch uses `fold_in(key, i)`.

    Returns:
        The scalar loss: float32, or float64 if `a` or `b` is.

    Raises:
        PrimusError: a name that is not known, no key for "random", or shapes that disagree.
    """
    if negatives not in NEGATIVES or reduction not in REDUCTIONS:
        raise PrimusError(
            f"triplet loss with negatives {negatives!r} and reduction {reduction!r}; expected one "
            f"of {NEGATIVES} and of {REDUCTIONS}."
        )
    batch, axis_name = make_batch(a, b, pairs), pairs.axis_name
    if unit:
        batch = batch._replace(a=normalize(batch.a), b=normalize(batch.b))
    own = own_places(batch.a.shape[0], axis_name)
    others, keep = _candidates(batch, own, axis_name)
    positive = jnp.sum(jnp.square(batch.a - batch.b), -1)
    if negatives == "all":
        short = positive[:, None] - _squared_distances(batch.a, others) + margin
        terms = jnp.where(keep, jnp.maximum(short, 0), 0).sum(1)
    else:
        chosen = others[_choose(negatives, batch.a, others, own, keep, key)]
        short = positive - jnp.sum(jnp.square(batch.a - chosen), -1) + margin
        terms = jnp.where(keep.any(1), jnp.maximum(short, 0), 0)
    value = total(terms, axis_name)
    if reduction == "sum":
        return value
    return value / jnp.maximum(total(keep.any(1).astype(value.dtype), axis_name), 1)


def _candidates(batch: Batch, own: jax.Array, axis_name: AxisName) -> tuple[jax.Array, jax.Array]:
    """Targets of the global batch `[batch, dim]`, and which are negatives, bool `[rows, batch]`."""
    others, there, equal = gather((batch.b, batch.mask, batch.equal), axis_name)
    same = own[:, None] == jnp.arange(len(there), dtype=own.dtype)
    _, keep = different(same, batch.equal, equal, None)
    return others, keep & there & batch.mask[:, None]


def _choose(
    negatives: str,
    a: jax.Array,
    others: jax.Array,
    own: jax.Array,
    keep: jax.Array,
    key: jax.Array | None,
) -> jax.Array:
    """The place of one negative for each row, int `[rows]`; any place where none is left."""
    count = keep.shape[1]
    if negatives == "cyclic":
        cost = ((own[:, None] - jnp.arange(count, dtype=own.dtype)) % count).astype(a.dtype)
    elif negatives == "random":
        if key is None:
            raise PrimusError("triplet loss with negatives 'random' needs a key to draw them.")
        draw = lambda place: jax.random.uniform(jax.random.fold_in(key, place), (count,))  # noqa: E731
        cost = jax.vmap(draw)(own).astype(a.dtype)
    else:
        cost = lax.stop_gradient(_squared_distances(a, others))
    return jnp.argmin(jnp.where(keep, cost, jnp.inf), 1)


def _squared_distances(a: jax.Array, b: jax.Array) -> jax.Array:
    """Squared distance of each row of `a` to each of `b`, `[rows, batch]`."""
    return jnp.square(a).sum(1)[:, None] + jnp.square(b).sum(1) - 2 * dot(a, b.T)
