"""Sums over all pairs of a batch without the matrix of pairs: blocks, on a ring of devices.

Each device holds its rows of both sides. The rows of `a` are residents. The rows of `b` are
visitors: they travel from device to device, each device computes blocks of logits for its visitors,
and the sums of the visitors travel with them, so that one round serves both directions. The next
visitors arrive while the device computes with the last ones. Nothing of size `[rows, batch]` or
`[rows, rows]` exists, forward or backward: the backward pass makes the blocks again.

Each of N devices sends in a step, in bytes, with rows = batch / N of float32:

    InfoNCE   forward rows (N - 1) (4 dim + 25)    backward rows (N - 1) (8 dim + 13)
    sigmoid   forward rows (N - 1) (4 dim + 17)    backward rows (N - 1) (8 dim + 5)

of which 5 are the numbers of equal targets (4) and the columns (1), which are sent where they are
given; beside these a few scalars are summed. That is the least for a pass: every row of `b` has to
be seen by N - 1 other devices, and its gradient has N - 1 other contributions. In a program of both
passes the compiler makes their first hop of `b` one: rows (4 dim + 5) less.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from primus_jax.errors import PrimusError
from primus_jax.losses.pairs import AxisName, Batch, Rank, negatives, tie_width
from primus_jax.losses.travel import Marks, Party, travel
from primus_jax.numerics import dot, vary_like

# The sums that a rule keeps for rows: a tree of arrays [n].
Sums = Any


class Rule(NamedTuple):
    """How a loss sums the logits of a block `[n, m]`, for rows along axis 0.

    start: zeros `[n]` -> sums before the first pair.
    add: (sums, logits, negatives) -> sums, with one more block.
    finish: sums -> `[n]`.
    slope: (logits, negatives, finished, weight) -> `[n, m]`, the derivative of the weighted
        `finished` with respect to the logits; `finished` and `weight` broadcast against the block.
    both: whether the loss also sums along columns; otherwise only their ranks are counted.
    """

    start: Callable[[jax.Array], Sums]
    add: Callable[[Sums, jax.Array, jax.Array], Sums]
    finish: Callable[[Sums], jax.Array]
    slope: Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
    both: bool


class AllPairs(NamedTuple):
    """The results of `all_pairs`; every array is `[n]`.

    sums: of the rows of `a`; with `rule.both` also of the rows of `b`.
    correct_a, correct_b: tie-fair correctness of the searches by rows of `a` and by rows of `b`.
    """

    sums: tuple[jax.Array, ...]
    correct_a: jax.Array
    correct_b: jax.Array


def all_pairs(
    rule: Rule,
    batch: Batch,
    scale: jax.Array,
    bias: jax.Array,
    own: jax.Array,
    *,
    axis_name: AxisName = None,
    block: int = 1024,
) -> AllPairs:
    """The sums of `rule` over the negatives of every row, and the correctness of both searches.

    The sums have gradients with respect to `batch.a`, `batch.b`, `scale` and `bias`; the
    correctness has none.

    Args:
        rule: how the logits are summed.
        batch: this device's rows, of unit norm.
        scale, bias: scalars; the logits are cosine * scale + bias.
        own: `[n]`, the logits of the own pairs, without gradient.
        axis_name: mesh axis or axes over which the rows are sharded, or None.
        block: rows of a block; temporaries grow with its square.

    Raises:
        PrimusError: `block` is less than 1.
    """
    if block < 1:
        raise PrimusError(f"contrastive block {block}; expected a positive number of rows.")
    count = batch.a.shape[0]
    block = min(block, count)

    def blocks(x: jax.Array) -> jax.Array:
        """`[n, ...]` -> `[blocks, block, ...]`, padded with zeros."""
        x = jnp.pad(x, [(0, -count % block)] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(-1, block, *x.shape[1:])

    trained = _Trained(blocks(batch.a), blocks(batch.b), scale, bias)
    fixed = jax.tree.map(blocks, _Fixed(batch.equal, batch.column, own))
    # Typed as different on every device, so that gradients are summed over the devices.
    rows = jax.tree.leaves((trained.a, trained.b, fixed))
    trained, fixed = jax.tree.map(lambda x: vary_like(x, *rows), (trained, fixed))
    # A static argument has to be hashable.
    axis_name = tuple(axis_name) if isinstance(axis_name, list) else axis_name
    result = _block_sums(_Plan(rule, axis_name, count), trained, fixed)
    return jax.tree.map(lambda x: x.reshape(-1)[:count], result)


class _Plan(NamedTuple):
    """The static arguments of both passes; `rows` of a device, without padding."""

    rule: Rule
    axis_name: AxisName
    rows: int


class _Trained(NamedTuple):
    """The arrays that have gradients, or their gradients.

    a, b: `[blocks, block, dim]`, unit rows.
    scale, bias: scalars.
    """

    a: jax.Array
    b: jax.Array
    scale: jax.Array
    bias: jax.Array


class _Fixed(NamedTuple):
    """The arrays without gradients, each `[blocks, block]`.

    equal: int32, numbers of equal targets, or None.
    column: bool, whether a row of `b` is a negative of others, or None.
    own: logits of the own pairs.
    """

    equal: jax.Array | None
    column: jax.Array | None
    own: jax.Array


class _Side(NamedTuple):
    """Rows of one side; `[...]` is `[blocks, block]`, or `[block]` of one block.

    x: `[..., dim]`.
    equal: int32 `[...]` or None.
    column: bool `[...]` or None; of visitors only.
    """

    x: jax.Array
    equal: jax.Array | None
    column: jax.Array | None


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _block_sums(plan: _Plan, trained: _Trained, fixed: _Fixed) -> AllPairs:
    """`AllPairs` of rows in blocks; every array of the result is `[blocks, block]`."""
    return _forward(plan, trained, fixed)[0]


class _Residuals(NamedTuple):
    """The inputs and the sums of `AllPairs`, kept for the backward pass."""

    trained: _Trained
    fixed: _Fixed
    sums: tuple[jax.Array, ...]


def _sides(trained: _Trained, fixed: _Fixed) -> tuple[_Side, _Side]:
    """The residents, rows of `a`, and the visitors, rows of `b`."""
    residents = _Side(trained.a, fixed.equal, None)
    return residents, _Side(trained.b, fixed.equal, fixed.column)


def _negatives(marks: Marks, a: _Side, b: _Side) -> tuple[jax.Array, jax.Array]:
    """Pairs `[n, m]` that are negatives of a row of `a`, and of a row of `b`; no padding."""
    keep, keep_t = negatives(marks.own, a.equal, b.equal, b.column)
    return keep & marks.real, keep_t & marks.real


class _Tally(NamedTuple):
    """The sums of a rule and the ranks of the own pairs so far; leaves `[...]`.

    sums: None of visitors, unless `rule.both`.
    """

    sums: Sums
    rank: Rank


def _forward(plan: _Plan, trained: _Trained, fixed: _Fixed) -> tuple[AllPairs, _Residuals]:
    """The sums and ranks of all rows, in one round of the visitors."""
    rule, scale, bias = plan.rule, trained.scale, trained.bias
    tie = tie_width(trained.a.dtype, trained.a.shape[-1], scale)

    def meeting(
        marks: Marks,
        resident: Party[tuple[_Side, jax.Array], _Tally],
        visitor: Party[tuple[_Side, jax.Array], _Tally],
    ) -> tuple[_Tally, _Tally]:
        """Count one block of pairs; each side comes with the logits of its rows' own pairs."""
        (a, own_a), (b, own_b) = resident.given, visitor.given
        row, column = resident.state, visitor.state
        logits = dot(a.x, b.x.T) * scale + bias
        keep, keep_t = _negatives(marks, a, b)
        row = _Tally(rule.add(row.sums, logits, keep), row.rank.add(logits, own_a, keep, tie))
        logits, keep_t = logits.T, keep_t.T
        sums = rule.add(column.sums, logits, keep_t) if rule.both else None
        return row, _Tally(sums, column.rank.add(logits, own_b, keep_t, tie))

    zeros = jnp.zeros_like(fixed.own)
    start, nobody = rule.start(zeros), Rank(zeros, zeros)
    a, b = _sides(trained, fixed)
    row, column = travel(
        meeting,
        Party((a, fixed.own), _Tally(start, nobody)),
        Party((b, fixed.own), _Tally(start if rule.both else None, nobody)),
        plan.rows,
        plan.axis_name,
    )
    sums = tuple(rule.finish(tally.sums) for tally in ((row, column) if rule.both else (row,)))
    result = AllPairs(sums, row.rank.correct(), column.rank.correct())
    return result, _Residuals(trained, fixed, sums)


class _Weighted(NamedTuple):
    """The finished sums of rows, and the derivative of the loss by each of them; `[...]`."""

    sums: jax.Array
    weight: jax.Array


class _Gradient(NamedTuple):
    """Derivatives so far: by rows of `a`, `[..., dim]`; by each row's scale and bias, `[...]`."""

    x: jax.Array
    scale: jax.Array
    bias: jax.Array


def _backward(plan: _Plan, kept: _Residuals, cotangents: AllPairs) -> tuple[_Trained, None]:
    """The gradients of both arguments of `_block_sums`, in a second round of the visitors."""
    rule, trained = plan.rule, kept.trained
    scale, bias = trained.scale, trained.bias

    def meeting(
        marks: Marks,
        resident: Party[tuple[_Side, _Weighted], _Gradient],
        visitor: Party[tuple[_Side, _Weighted | None], jax.Array],
    ) -> tuple[_Gradient, jax.Array]:
        """Make one block of logits again, and add its slopes to both gradients."""
        (a, weighted_a), (b, weighted_b) = resident.given, visitor.given
        cosines = dot(a.x, b.x.T)
        logits = cosines * scale + bias
        keep, keep_t = _negatives(marks, a, b)
        slope = rule.slope(logits, keep, weighted_a.sums[:, None], weighted_a.weight[:, None])
        if weighted_b is not None:
            slope = slope + rule.slope(logits, keep_t, weighted_b.sums, weighted_b.weight)
        a_gradient = _Gradient(
            resident.state.x + dot(slope, b.x) * scale,
            resident.state.scale + jnp.sum(slope * cosines, 1),
            resident.state.bias + jnp.sum(slope, 1),
        )
        return a_gradient, visitor.state + dot(slope.T, a.x) * scale

    zeros = jnp.zeros_like(kept.fixed.own)
    a, b = _sides(trained, kept.fixed)
    weighted = [_Weighted(*pair) for pair in zip(kept.sums, cotangents.sums, strict=True)]
    a_gradient, b_gradient = travel(
        meeting,
        Party((a, weighted[0]), _Gradient(jnp.zeros_like(trained.a), zeros, zeros)),
        Party((b, weighted[1] if rule.both else None), jnp.zeros_like(trained.b)),
        plan.rows,
        plan.axis_name,
    )
    scale_gradient, bias_gradient = jnp.sum(a_gradient.scale), jnp.sum(a_gradient.bias)
    return _Trained(a_gradient.x, b_gradient, scale_gradient, bias_gradient), None


_block_sums.defvjp(_forward, _backward)
