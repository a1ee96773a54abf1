"""Log-sum-exps of all rows and columns without the matrix of pairs: blocks, on a ring of devices.

Each device holds its rows of both sides. The `b` side travels: a device computes blocks of logits
for the rows that visit it, and their running sums travel on with them, so that one round serves
both directions. Nothing of size `[rows, batch]` or `[rows, rows]` exists, forward or backward: the
backward pass makes the blocks again.

What each of N devices sends in a step, in bytes, with rows = batch / N of float32: forward
rows ((N - 1) (4 dim + 13) + 16 N), backward rows ((N - 1) (4 dim + 17) + 4 N dim). What is only
read travels N - 1 times; what is summed up comes home and travels N times. No form of the loss can
send less in the forward pass than the (N - 1) rows dim values that every device has to see.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from primus_jax.models.gru import vary_like

# Logits nearer than this many roundings of the largest possible one are taken for equal.
TIE = 16


class Rows(NamedTuple):
    """What decides which pairs count, `[n]` each.

    `place` int32 is the place in the global batch, -1 for padding; `equal` int32 as in `info_nce`;
    `column` bool says whether a row of `b` stands in the denominators of other rows of `a`;
    `own` is the logit of the row's own pair.
    """

    place: jax.Array
    equal: jax.Array
    column: jax.Array
    own: jax.Array


class Sums(NamedTuple):
    """Running maximum and sum of exponentials; logits above the own pair's, and ties with it."""

    largest: jax.Array
    total: jax.Array
    above: jax.Array
    ties: jax.Array


def all_pairs(
    a: jax.Array,
    b: jax.Array,
    inverse: jax.Array,
    rows: Rows,
    *,
    axis_name: str | None = None,
    block: int = 1024,
) -> tuple[jax.Array, ...]:
    """Log-sum-exp of the logits of every row of `a` over all of `b`, and back; and correctness.

    Args:
        a, b: `[n, dim]`, this device's rows of unit norm; row i of one belongs to row i of the
            other.
        inverse: scalar, 1 / temperature.
        rows: see `Rows`.
        axis_name: mesh axis over which rows are sharded, or None.
        block: rows of a block; temporaries grow with its square.

    Returns:
        four times `[n]`: both log-sum-exps, and the tie-fair correctness of both searches, which
        has no gradient.
    """
    count = a.shape[0]
    block = min(block, count)
    pad = lambda x, fill: jnp.pad(  # noqa: E731
        x, [(0, -count % block)] + [(0, 0)] * (x.ndim - 1), constant_values=fill
    )
    a, b = pad(a, 0), pad(b, 0)
    rows = Rows(*(pad(x, fill) for x, fill in zip(rows, (-1, -1, False, 0), strict=True)))
    # Typed as different on every device, so that their gradients are summed over the devices.
    inverse, rows = jax.tree.map(lambda x: vary_like(x, a), (inverse, rows))
    result = _sums(a, b, inverse, rows, axis_name, block)
    return tuple(x[:count] for x in result)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _sums(a, b, inverse, rows, axis_name, block):
    return _forward(a, b, inverse, rows, axis_name, block)[0]


def _forward(a, b, inverse, rows, axis_name, block):
    tie = TIE * jnp.finfo(a.dtype).eps * inverse

    def pair(here, there):
        a_block, a_rows, a_sums = here
        b_block, b_rows, b_sums = there
        logits, keep_ab, keep_ba = _block(a_block, b_block, inverse, a_rows, b_rows)
        a_sums = _add(a_sums, logits, keep_ab, a_rows, b_rows, tie)
        b_sums = _add(b_sums, logits.T, keep_ba.T, b_rows, a_rows, tie)
        return (a_block, a_rows, a_sums), (b_block, b_rows, b_sums)

    nothing = jnp.zeros_like(rows.own)
    start = Sums(nothing - jnp.inf, nothing, nothing, nothing)
    split = functools.partial(_split, block=block)
    here, there = split((a, rows, start)), split((b, rows, start))
    (_, _, row), (_, _, column) = _round(pair, here, there, (2,), axis_name)
    row, column = _join(row), _join(column)
    lse = [s.largest + jnp.log(s.total) for s in (row, column)]
    correct = [jnp.where(s.above > 0, 0, 1 / jnp.maximum(s.ties, 1)) for s in (row, column)]
    return (*lse, *correct), (a, b, inverse, rows, *lse)


def _backward(axis_name, block, kept, cotangents):
    a, b, inverse, rows, lse_row, lse_column = kept
    weight_row, weight_column = cotangents[:2]

    def pair(here, there):
        (a_block, a_rows, a_lse, a_weight), a_grad, slope = here
        (b_block, b_rows, b_lse, b_weight), b_grad = there
        logits, keep_ab, keep_ba = _block(a_block, b_block, inverse, a_rows, b_rows)
        grad = a_weight[:, None] * _softmax(logits, a_lse[:, None], keep_ab)
        grad = grad + b_weight * _softmax(logits, b_lse, keep_ba)
        slope = slope + jnp.sum(grad * logits) / inverse
        a_grad = a_grad + _dot(grad, b_block) * inverse
        b_grad = b_grad + _dot(grad.T, a_block) * inverse
        return (here[0], a_grad, slope), (there[0], b_grad)

    split = functools.partial(_split, block=block)
    slopes = jnp.zeros_like(split(rows.own)[:, 0])
    here = (*split(((a, rows, lse_row, weight_row), jnp.zeros_like(a))), slopes)
    there = split(((b, rows, lse_column, weight_column), jnp.zeros_like(b)))
    (_, a_grad, slope), (_, b_grad) = _round(pair, here, there, (1,), axis_name)
    return _join(a_grad), _join(b_grad), jnp.sum(slope), None


_sums.defvjp(_forward, _backward)


def _round(pair, here, there, home, axis_name):
    """Apply `pair` to every two blocks: `there` travels past `here`; its parts `home` come back."""

    def visit(here, there):
        def column(here, b_part):
            def row(b_part, a_part):
                a_part, b_part = pair(a_part, b_part)
                return b_part, a_part

            b_part, here = lax.scan(row, b_part, here)
            return here, b_part

        return lax.scan(column, here, there)

    here, there = visit(here, there)
    if axis_name is None:
        return here, there
    size = lax.axis_size(axis_name)
    step = functools.partial(
        lax.ppermute, axis_name=axis_name, perm=[(i, (i + 1) % size) for i in range(size)]
    )

    def hop(carry, _):
        here, there = carry
        return visit(here, jax.tree.map(step, there)), None

    (here, there), _ = lax.scan(hop, (here, there), None, length=size - 1)
    last = tuple(jax.tree.map(step, part) if i in home else part for i, part in enumerate(there))
    return here, last


def _block(a, b, inverse, a_rows, b_rows):
    """Logits `[block, block]` and which of them count for rows and for columns."""
    same = (a_rows.equal[:, None] == b_rows.equal) & (a_rows.equal[:, None] >= 0)
    own = a_rows.place[:, None] == b_rows.place
    real = (a_rows.place[:, None] >= 0) & (b_rows.place >= 0)
    keep = real & (~same | own)
    return _dot(a, b.T) * inverse, keep & (b_rows.column | own), keep


def _add(sums, logits, keep, rows, others, tie):
    """Running sums with one more block; axis 1 runs over what is added."""
    masked = jnp.where(keep, logits, -jnp.inf)
    largest = jnp.maximum(sums.largest, masked.max(1))
    finite = jnp.where(jnp.isfinite(largest), largest, 0)
    total = sums.total * jnp.exp(sums.largest - finite)
    total = total + jnp.exp(masked - finite[:, None]).sum(1)
    other = keep & (rows.place[:, None] != others.place)
    difference = logits - rows.own[:, None]
    above = jnp.sum(other & (difference > tie), 1, dtype=logits.dtype)
    ties = jnp.sum(keep & (jnp.abs(difference) <= tie), 1, dtype=logits.dtype)
    return Sums(largest, total, sums.above + above, sums.ties + ties)


def _softmax(logits, lse, keep):
    return jnp.where(keep, jnp.exp(logits - jnp.where(jnp.isfinite(lse), lse, 0)), 0)


def _dot(x, y):
    return jnp.matmul(x, y, precision=lax.Precision.HIGHEST)


def _split(tree, block):
    return jax.tree.map(lambda x: x.reshape(-1, block, *x.shape[1:]), tree)


def _join(tree):
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)
