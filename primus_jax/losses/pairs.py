"""What all forms of all contrastive losses agree on: which pairs count, and who wins a search."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from primus_jax.errors import PrimusError

FORMS = ("auto", "dense", "gathered", "ring")
# Logits on one device above which "auto" takes the ring: 128 MiB of float32.
GATHERED_LOGITS = 1 << 25

AxisName = str | tuple[str, ...] | None


class Batch(NamedTuple):
    """Rows of both sides, and what decides which pairs count; the first axis is the batch.

    a, b: `[n, dim]`, of one dtype, float32 or float64; row i of one belongs to row i of the other.
    mask: bool `[n]`, False where row i has no target.
    column: bool `[n]`, False where row i of `b` is nobody's negative; None: all are.
    equal: int32 `[n]`, numbers of equal targets; None: no two are equal.
    """

    a: jax.Array
    b: jax.Array
    mask: jax.Array
    column: jax.Array | None
    equal: jax.Array | None


def make_batch(a, b, mask, masked_negatives: bool, equal) -> Batch:
    """The arguments of a loss, checked; bfloat16 and float16 become float32.

    Raises:
        PrimusError: shapes that do not belong together.
    """
    a, b = jnp.asarray(a), jnp.asarray(b)
    if a.ndim != 2 or a.shape != b.shape or 0 in a.shape:
        raise PrimusError(
            f"contrastive loss of rows {a.shape} and {b.shape}; expected [batch, dim] twice, equal."
        )
    for name, x in (("mask", mask), ("equal", equal)):
        if x is not None and jnp.shape(x) != a.shape[:1]:
            raise PrimusError(f"{name} has shape {jnp.shape(x)}; expected {a.shape[:1]}.")
    dtype = jnp.float64 if jnp.float64 in (a.dtype, b.dtype) else jnp.float32
    column = None if mask is None or masked_negatives else jnp.asarray(mask, bool)
    return Batch(
        a.astype(dtype),
        b.astype(dtype),
        jnp.ones(a.shape[:1], bool) if mask is None else jnp.asarray(mask, bool),
        column,
        None if equal is None else jnp.asarray(equal, jnp.int32),
    )


def choose_form(form: str, rows: int, axis_name: AxisName) -> str:
    """ "dense", "gathered" or "ring", for `rows` rows of a device; see `info_nce`."""
    if form not in FORMS:
        raise PrimusError(f"contrastive form {form!r}; expected one of {FORMS}.")
    batch = rows if axis_name is None else rows * lax.axis_size(axis_name)
    if form == "auto":
        return "ring" if rows * batch > GATHERED_LOGITS else "gathered"
    return form


def gather(tree, axis_name: AxisName):
    """The rows of all devices, in the order of the global batch."""
    if axis_name is None:
        return tree
    return jax.tree.map(lambda x: lax.all_gather(x, axis_name, tiled=True), tree)


def own_places(rows: int, axis_name: AxisName) -> jax.Array:
    """Places of this device's rows in the global batch, int32 `[rows]`."""
    first = jnp.zeros((), jnp.int32) if axis_name is None else lax.axis_index(axis_name) * rows
    return first + jnp.arange(rows, dtype=jnp.int32)


def total(x: jax.Array, axis_name: AxisName) -> jax.Array:
    """The sum of `x` over its elements and over the devices."""
    return jnp.sum(x) if axis_name is None else lax.psum(jnp.sum(x), axis_name)


def negatives(own, equal_a, equal_b, column) -> tuple[jax.Array, jax.Array]:
    """Pairs `[n, m]` that are negatives of a row of `a`, and of a row of `b`.

    `own` bool `[n, m]` marks the pairs that belong together. Two rows of the same number >= 0 are
    no negatives; a row of `b` outside `column` is no negative of others.
    """
    keep = ~own
    if equal_a is not None:
        keep &= (equal_a[:, None] != equal_b) | (equal_a[:, None] < 0)
    return (keep if column is None else keep & column), keep


class Rank(NamedTuple):
    """How many negatives have a larger logit than the row's own pair, and how many the same."""

    above: jax.Array
    ties: jax.Array

    def add(self, logits, own, keep, tie) -> "Rank":
        """With the negatives of one more block; `own` `[n]` are the logits of the own pairs."""
        difference = logits - own[:, None]
        count = lambda x: jnp.sum(keep & x, 1, dtype=own.dtype)  # noqa: E731
        return Rank(
            self.above + count(difference > tie), self.ties + count(jnp.abs(difference) <= tie)
        )

    def correct(self) -> jax.Array:
        """1 where nobody is above, shared with the ties: a constant embedding scores chance."""
        share = 1 / (1 + self.ties)
        return lax.stop_gradient(jnp.where(self.above > 0, jnp.zeros_like(share), share))


def rank(logits, own, keep, tie) -> Rank:
    """`Rank` of a whole row of logits, `[n, m]`."""
    nothing = jnp.zeros_like(own)
    return Rank(nothing, nothing).add(logits, own, keep, tie)


def tie_width(dtype, dim: int, scale: jax.Array) -> jax.Array:
    """Logits nearer than this are equal but for rounding: 16 + sqrt(dim) roundings of a cosine."""
    return (16 + dim**0.5) * jnp.finfo(dtype).eps * jnp.abs(lax.stop_gradient(scale))
