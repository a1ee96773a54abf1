"""The rules that all forms of all contrastive losses share: which pairs count, who is found."""

import dataclasses
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from primus_jax.errors import PrimusError

FORMS = ("auto", "dense", "gathered", "ring")
DIRECTIONS = ("both", "a_to_b")
# Logits on one device above which "auto" takes the ring: 128 MiB of float32.
GATHERED_LOGITS = 1 << 25

AxisName = str | tuple[str, ...] | None
Tree = TypeVar("Tree")


def check_contrastive(form: str, block: int) -> None:
    """Raise PrimusError unless the form of a contrastive loss is known and its block positive."""
    if form not in FORMS or block < 1:
        raise PrimusError(
            f"objective.contrastive {form!r}, contrastive_block {block}; expected one of {FORMS}, "
            f"and a positive number."
        )


@dataclasses.dataclass(frozen=True)
class Pairs:
    """Which pairs of a batch a contrastive loss counts, and how the loss is computed.

    `mask` and `equal` are arrays: `Pairs` is a pytree of these two, and the rest is static. So it
    may be built inside a traced function or be an argument of `jax.jit`, `jax.grad` and
    `jax.shard_map`.

    Attributes:
        mask: bool `[batch]`; False where row i has no target. Its own pair is left out, and the
            mean is over the rows that count; if none counts, the loss is 0. None: all count.
        equal: int `[batch]`; targets of the same non-negative number are the same thing (equal
            texts, one video). Such a pair is not a negative. None: no two targets are equal.
        masked_negatives: whether an absent target stays as a negative of the other rows, as in
            the released PRIMUS code (a zero target then has logit 0 with everybody). Rows of `a`
            without a target are negatives either way.
        axis_name: mesh axis, or tuple of mesh axes, over which the batch is sharded inside
            `jax.shard_map`; None outside.
        form: how the loss is computed, never its value: "dense" (the reference: every device
            computes the whole matrix of pairs), "gathered" (this device's rows by all columns),
            "ring" (`losses/ring.py`: memory linear in the batch), or "auto": "gathered", and
            "ring" where the logits of one device are more than `GATHERED_LOGITS`.
        block: rows of a block of the ring.
        direction: of InfoNCE: "both" adds the cross-entropies of both searches, "a_to_b" is that of
            the rows of `a` alone. The sigmoid loss has no direction.
    """

    mask: ArrayLike | None = None
    equal: ArrayLike | None = None
    masked_negatives: bool = True
    axis_name: AxisName = None
    form: str = "auto"
    block: int = 1024
    direction: str = "both"


jax.tree_util.register_dataclass(
    Pairs,
    data_fields=["mask", "equal"],
    meta_fields=["masked_negatives", "axis_name", "form", "block", "direction"],
)
# Every row has a target, no two targets are equal, and one device holds the batch.
ALL_PAIRS = Pairs()


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


def make_batch(a: ArrayLike, b: ArrayLike, pairs: Pairs) -> Batch:
    """The arguments of a loss, checked; bfloat16 and float16 become float32.

    Raises:
        PrimusError: the shapes of `a`, `b`, `pairs.mask` and `pairs.equal` disagree.
    """
    a, b, mask, equal = jnp.asarray(a), jnp.asarray(b), pairs.mask, pairs.equal
    if a.ndim != 2 or a.shape != b.shape or 0 in a.shape:
        raise PrimusError(
            f"contrastive loss of rows {a.shape} and {b.shape}; expected [batch, dim] twice, equal."
        )
    for name, x in (("mask", mask), ("equal", equal)):
        if x is not None and jnp.shape(x) != a.shape[:1]:
            raise PrimusError(f"{name} has shape {jnp.shape(x)}; expected {a.shape[:1]}.")
    dtype = jnp.float64 if jnp.float64 in (a.dtype, b.dtype) else jnp.float32
    column = None if mask is None or pairs.masked_negatives else jnp.asarray(mask, bool)
    return Batch(
        a.astype(dtype),
        b.astype(dtype),
        jnp.ones(a.shape[:1], bool) if mask is None else jnp.asarray(mask, bool),
        column,
        None if equal is None else jnp.asarray(equal, jnp.int32),
    )


def choose_form(form: str, rows: int, axis_name: AxisName) -> str:
    """The form that computes `rows` rows of a device: "dense", "gathered" or "ring"."""
    if form not in FORMS:
        raise PrimusError(f"contrastive form {form!r}; expected one of {FORMS}.")
    batch = rows if axis_name is None else rows * lax.axis_size(axis_name)
    if form == "auto":
        return "ring" if rows * batch > GATHERED_LOGITS else "gathered"
    return form


def gather(tree: Tree, axis_name: AxisName) -> Tree:
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


def negatives(
    own: jax.Array,
    equal_a: jax.Array | None,
    equal_b: jax.Array | None,
    column: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """Pairs `[n, m]` that are negatives of a row of `a`, and of a row of `b`.

    `own` bool `[n, m]` marks the pairs that belong together; `equal_a` is `[n]`, `equal_b` and
    `column` are `[m]`. Two rows of the same number >= 0 are not negatives; a row of `b` outside
    `column` is not a negative of others.
    """
    keep = ~own
    if equal_a is not None:
        keep &= (equal_a[:, None] != equal_b) | (equal_a[:, None] < 0)
    return (keep if column is None else keep & column), keep


class Rank(NamedTuple):
    """How many negatives have a larger logit than the row's own pair, and how many the same.

    Both `[n]`, of the dtype of the logits.
    """

    above: jax.Array
    ties: jax.Array

    def add(self, logits: jax.Array, own: jax.Array, keep: jax.Array, tie: jax.Array) -> "Rank":
        """Count the negatives `keep` `[n, m]` of one more block; `own` `[n]`: own pairs' logits."""
        difference = logits - own[:, None]
        count = lambda x: jnp.sum(keep & x, 1, dtype=own.dtype)  # noqa: E731
        return Rank(
            self.above + count(difference > tie), self.ties + count(jnp.abs(difference) <= tie)
        )

    def correct(self) -> jax.Array:
        """1 where nobody is above, shared with the ties: a constant embedding scores chance."""
        share = 1 / (1 + self.ties)
        return lax.stop_gradient(jnp.where(self.above > 0, jnp.zeros_like(share), share))


def rank(logits: jax.Array, own: jax.Array, keep: jax.Array, tie: jax.Array) -> Rank:
    """`Rank` of whole rows of logits, `[n, m]`."""
    nothing = jnp.zeros_like(own)
    return Rank(nothing, nothing).add(logits, own, keep, tie)


def tie_width(dtype: jnp.dtype, dim: int, scale: jax.Array) -> jax.Array:
    """The largest distance of equal logits: 16 + sqrt(dim) roundings of a cosine."""
    return (16 + dim**0.5) * jnp.finfo(dtype).eps * jnp.abs(lax.stop_gradient(scale))
