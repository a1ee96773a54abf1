"""Sums over all pairs of a batch without the matrix of pairs: blocks, on a ring of devices.

Each device holds its rows of both sides. The `b` side travels: a device computes blocks of logits
for the rows that visit it, and what is summed up for these rows travels on with them, so that one
round serves both directions. Rows of the next device arrive while those of the last are computed
with. Nothing of size `[rows, batch]` or `[rows, rows]` exists, forward or backward: the backward
pass makes the blocks again.

What each of N devices sends in a step, in bytes, with rows = batch / N of float32:

    InfoNCE   forward rows (N - 1) (4 dim + 25)    backward rows (N - 1) (8 dim + 13)
    sigmoid   forward rows (N - 1) (4 dim + 17)    backward rows (N - 1) (8 dim + 5)

of which 5 are the numbers of equal targets (4) and the columns (1), which are sent where they are
given; beside these a few scalars are summed. That is the least for a pass: every row of `b` has to
be seen by N - 1 other devices, and its gradient has N - 1 other contributions. In a program of both
passes the compiler makes their first hop of `b` one: rows (4 dim + 5) less.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from primus_jax.errors import PrimusError
from primus_jax.losses.pairs import AxisName, Batch, Rank, negatives, tie_width
from primus_jax.numerics import dot, vary_like


class Rule(NamedTuple):
    """What a loss does with the logits of a block `[n, m]`, for rows along axis 0.

    start: zeros `[n]` -> sums before the first pair, arrays `[n]`.
    add: (sums, logits, negatives) -> sums, with one more block.
    finish: sums -> `[n]`.
    slope: (logits, negatives, finished, weight) -> `[n, m]`, the derivative of the weighted
        `finished` with respect to the logits; both broadcast against the block.
    both: whether the loss also sums along columns; otherwise only their ranks are counted.
    """

    start: Callable
    add: Callable
    finish: Callable
    slope: Callable
    both: bool


def all_pairs(
    rule: Rule,
    batch: Batch,
    scale: jax.Array,
    bias: jax.Array,
    own: jax.Array,
    *,
    axis_name: AxisName = None,
    block: int = 1024,
) -> tuple[jax.Array, jax.Array | tuple[()], jax.Array, jax.Array]:
    """The sums of `rule` over the negatives of every row, and the correctness of both searches.

    Args:
        rule: what is summed.
        batch: this device's rows, of unit norm.
        scale, bias: scalars; the logits are cosine * scale + bias.
        own: `[n]`, the logits of the own pairs, without gradient.
        axis_name: mesh axis or axes over which the rows are sharded, or None.
        block: rows of a block; temporaries grow with its square.

    Returns:
        four times `[n]`: sums of the rows of `a`, sums of the rows of `b` (`()` without
        `rule.both`), and the tie-fair correctness of both searches, which has no gradient.
    """
    if block < 1:
        raise PrimusError(f"contrastive block {block}; expected a positive number of rows.")
    count = batch.a.shape[0]
    block = min(block, count)

    def blocks(x):
        x = jnp.pad(x, [(0, -count % block)] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(-1, block, *x.shape[1:])

    arrays = jax.tree.map(blocks, (batch.a, batch.b, (batch.equal, batch.column, own)))
    # Typed as different on every device, so that gradients are summed over the devices.
    varying = jax.tree.map(lambda x: vary_like(x, *jax.tree.leaves(arrays)), (*arrays, scale, bias))
    a, b, about, scale, bias = varying
    axis_name = tuple(axis_name) if isinstance(axis_name, list) else axis_name
    result = _sums(rule, axis_name, count, a, b, scale, bias, about)
    return jax.tree.map(lambda x: x.reshape(-1)[:count], result)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _sums(rule, axis_name, count, a, b, scale, bias, about):
    return _forward(rule, axis_name, count, a, b, scale, bias, about)[0]


def _forward(rule, axis_name, count, a, b, scale, bias, about):
    equal, column, own = about
    tie = tie_width(a.dtype, a.shape[-1], scale)

    def pair(own_pairs, real, fixed, row, guest, col):
        (x, equal_x, own_x), (y, equal_y, column_y, own_y) = fixed, guest
        logits = dot(x, y.T) * scale + bias
        keep, keep_t = (k & real for k in negatives(own_pairs, equal_x, equal_y, column_y))
        row = rule.add(row[0], logits, keep), row[1].add(logits, own_x, keep, tie)
        logits, keep_t = logits.T, keep_t.T
        sums = rule.add(col[0], logits, keep_t) if rule.both else col[0]
        return row, (sums, col[1].add(logits, own_y, keep_t, tie))

    nothing = jnp.zeros_like(own)
    rank = Rank(nothing, nothing)
    row, col = (rule.start(nothing), rank), (rule.start(nothing) if rule.both else (), rank)
    fixed, guests = (a, equal, own), (b, equal, column, own)
    row, col = _travel(pair, fixed, row, guests, col, count, axis_name)
    sums = rule.finish(row[0]), rule.finish(col[0]) if rule.both else ()
    return (*sums, row[1].correct(), col[1].correct()), (a, b, scale, bias, about, *sums)


def _backward(rule, axis_name, count, kept, cotangents):
    a, b, scale, bias, (equal, column, own), row_sums, col_sums = kept
    row_weight = cotangents[0]
    to_col = (col_sums, cotangents[1]) if rule.both else ()

    def pair(own_pairs, real, fixed, state, guest, b_grad):
        (x, equal_x, out_x, weight_x), (a_grad, scale_grad, bias_grad) = fixed, state
        y, equal_y, column_y, to_y = guest
        cosines = dot(x, y.T)
        logits = cosines * scale + bias
        keep, keep_t = (k & real for k in negatives(own_pairs, equal_x, equal_y, column_y))
        grad = rule.slope(logits, keep, out_x[:, None], weight_x[:, None])
        if rule.both:
            grad = grad + rule.slope(logits, keep_t, *to_y)
        state = (
            a_grad + dot(grad, y) * scale,
            scale_grad + jnp.sum(grad * cosines, 1),
            bias_grad + jnp.sum(grad, 1),
        )
        return state, b_grad + dot(grad.T, x) * scale

    nothing = jnp.zeros_like(own)
    state = (jnp.zeros_like(a), nothing, nothing)
    fixed = (a, equal, row_sums, row_weight)
    guests = (b, equal, column, to_col)
    state, b_grad = _travel(pair, fixed, state, guests, jnp.zeros_like(b), count, axis_name)
    a_grad, scale_grad, bias_grad = state
    return a_grad, b_grad, jnp.sum(scale_grad), jnp.sum(bias_grad), None


_sums.defvjp(_forward, _backward)


def _travel(pair, fixed, state, guests, sums, count, axis_name):
    """Apply `pair` to every block of `fixed` and every block of all devices' `guests`.

    `pair(own, real, fixed, state, guest, sums) -> state, sums`: `own` marks the pairs that belong
    together, `real` those of no padding. `state` stays with `fixed`, `sums` go with `guests`, are
    passed on when these have been served and are home for the last visit, that of the device's own
    rows: after N - 1 hops, as few as can be.
    """
    shape = jax.tree.leaves(state)[0].shape[:2]
    places = jnp.arange(shape[0] * shape[1], dtype=jnp.int32).reshape(shape)

    def visit(home, state, guests, sums):
        def column(state, step):
            j, guest, sums = step

            def row(sums, step):
                i, fixed, state = step
                own = (i[:, None] == j) & home
                real = (i < count)[:, None] & (j < count)
                state, sums = pair(own, real, fixed, state, guest, sums)
                return sums, state

            sums, state = lax.scan(row, sums, (places, fixed, state))
            return state, sums

        return lax.scan(column, state, (places, guests, sums))

    size = 1 if axis_name is None else lax.axis_size(axis_name)
    if size == 1:
        return visit(True, state, guests, sums)
    ring = [(i, (i + 1) % size) for i in range(size)]
    send = functools.partial(jax.tree.map, lambda x: lax.ppermute(x, axis_name, ring))

    def hop(carry, _):
        state, visiting, sums = carry
        coming = send(visiting)  # nothing waits for it until the next hop
        state, sums = visit(False, state, visiting, sums)
        return (state, coming, send(sums)), None

    carry = (state, send(guests), sums)
    (state, visiting, sums), _ = lax.scan(hop, carry, None, length=size - 2)
    state, sums = visit(False, state, visiting, sums)
    return visit(True, state, guests, send(sums))
