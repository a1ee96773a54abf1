"""InfoNCE over the global batch, on one device or inside `jax.shard_map`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from primus_jax.errors import PrimusError
from primus_jax.losses import ring
from primus_jax.losses.pairs import (
    ALL_PAIRS,
    DIRECTIONS,
    FORMS,
    AxisName,
    Batch,
    Pairs,
    choose_form,
    gather,
    make_batch,
    negatives,
    own_places,
    rank,
    tie_width,
    total,
)
from primus_jax.numerics import dot, normalize

__all__ = ["FORMS", "Pairs", "info_nce", "info_nce_with_accuracy", "normalize"]


def info_nce(
    a: ArrayLike, b: ArrayLike, temperature: ArrayLike, pairs: Pairs = ALL_PAIRS
) -> jax.Array:
    """Sum of the two cross-entropies that identify row i of `b` by row i of `a`, and back.

    With unit rows, S = a b^T / temperature and L = CE_rows(S) + CE_cols(S), each a mean over the
    batch: summed, not halved (IMU2CLIP; PRIMUS eq. of L_MM and L_SS). With `pairs.direction`
    "a_to_b" it is CE_rows(S) alone (Ambient AI report, equation 2).

        info_nce(a, b, 0.1)
        info_nce(a, b, 0.1, Pairs(mask=has_text, equal=text_number))

    Inside `jax.shard_map` over `pairs.axis_name` the arrays are this device's rows, every row is
    contrasted with the columns of all devices, and all devices return the same value: the loss of
    the whole batch. Differentiate outside `shard_map`, and never `psum` the gradient.

    Args:
        a: `[batch, dim]`, the embedding that is trained.
        b: `[batch, dim]`, its target (another modality, another view, a neighbour).
        temperature: scalar divisor of the cosines, positive.
        pairs: which pairs count, and how the loss is computed; by default every row has its target
            and all other rows are negatives.

    Returns:
        The scalar loss: float32, or float64 if `a` or `b` is. Smaller floats are widened first.

    Raises:
        PrimusError: the form or direction is unknown, or the shapes disagree.
    """
    return info_nce_with_accuracy(a, b, temperature, pairs)[0]


def info_nce_with_accuracy(
    a: ArrayLike, b: ArrayLike, temperature: ArrayLike, pairs: Pairs = ALL_PAIRS
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Three scalars: `info_nce`, and the in-batch retrieval accuracy a to b, and b to a.

    A row is correct when its own target has the largest logit; a tie of n counts 1/n, so that a
    constant embedding scores chance.
    """
    if pairs.direction not in DIRECTIONS:
        raise PrimusError(f"direction {pairs.direction!r}; expected one of {DIRECTIONS}.")
    batch = make_batch(a, b, pairs)
    batch = batch._replace(a=normalize(batch.a), b=normalize(batch.b))
    scale = 1 / jnp.asarray(temperature, batch.a.dtype)
    form, axis_name = choose_form(pairs.form, batch.a.shape[0], pairs.axis_name), pairs.axis_name
    if form == "ring":
        rows = _ring(batch, scale, axis_name, pairs.block)
    elif form == "gathered":
        rows = _gathered(batch, scale, axis_name)
    else:
        rows = _dense(batch, scale, axis_name)
    weight = batch.mask.astype(scale.dtype)
    count = jnp.maximum(total(weight, axis_name), 1)
    loss = rows.loss_ab + rows.loss_ba if pairs.direction == "both" else rows.loss_ab
    loss, ab, ba = (
        total(weight * x, axis_name) / count for x in (loss, rows.correct_ab, rows.correct_ba)
    )
    return loss, ab, ba


class _Rows(NamedTuple):
    """The result of each form for this device's rows, four times `[rows]`.

    loss_ab, loss_ba: the cross-entropies of the searches a to b, and b to a.
    correct_ab, correct_ba: 1 where the search a to b, or b to a, finds the row's own pair.
    """

    loss_ab: jax.Array
    loss_ba: jax.Array
    correct_ab: jax.Array
    correct_ba: jax.Array


def _dense(batch: Batch, scale: jax.Array, axis_name: AxisName) -> _Rows:
    """The equation, on all pairs of the batch, on every device."""
    own = own_places(batch.a.shape[0], axis_name)
    batch = gather(batch, axis_name)
    logits = dot(batch.a, batch.b.T) * scale
    positive = jnp.diagonal(logits)
    pairs = jnp.eye(len(positive), dtype=bool)
    keep_ab, keep_ba = negatives(pairs, batch.equal, batch.equal, batch.column)

    def denominator(keep: jax.Array, axis: int) -> jax.Array:
        return jax.nn.logsumexp(jnp.where(pairs | keep, logits, -jnp.inf), axis)

    loss_ab, loss_ba = denominator(keep_ab, 1) - positive, denominator(keep_ba, 0) - positive
    tie = tie_width(logits.dtype, batch.a.shape[1], scale)
    correct_ab = rank(logits, positive, keep_ab, tie).correct()
    correct_ba = rank(logits.T, positive, keep_ba.T, tie).correct()
    return _Rows(loss_ab[own], loss_ba[own], correct_ab[own], correct_ba[own])


def _gathered(batch: Batch, scale: jax.Array, axis_name: AxisName) -> _Rows:
    """This device's rows of each side by all rows of the other.

    Each of N devices has to send, in bytes, with rows = batch / N of float32: forward
    rows (N - 1) (8 dim + 5), backward rows (N - 1) 8 dim. The 5 are the numbers of equal targets
    and the columns, sent where they are given.
    """
    own = own_places(batch.a.shape[0], axis_name)
    every = gather(batch, axis_name)
    pairs = own[:, None] == jnp.arange(every.a.shape[0], dtype=jnp.int32)
    keep_ab, keep_ba = negatives(pairs, batch.equal, every.equal, every.column)
    tie = tie_width(batch.a.dtype, batch.a.shape[1], scale)

    def identify(query: jax.Array, keys: jax.Array, keep: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Cross-entropy of every query, `[rows]`, and whether its own key is found."""
        logits = dot(query, keys.T) * scale
        positive = jnp.take_along_axis(logits, own[:, None], axis=1)
        # Far below any logit, yet finite: a row without negatives has a gradient, of zero.
        nothing = jnp.asarray(jnp.finfo(logits.dtype).min / 2, logits.dtype)
        others = jax.nn.logsumexp(jnp.where(keep, logits - positive, nothing), 1)
        correct = rank(logits, positive[:, 0], keep, tie).correct()
        return jax.nn.softplus(others), correct  # see _ring

    loss_ab, correct_ab = identify(batch.a, every.b, keep_ab)
    loss_ba, correct_ba = identify(batch.b, every.a, keep_ba)
    return _Rows(loss_ab, loss_ba, correct_ab, correct_ba)


def _ring(batch: Batch, scale: jax.Array, axis_name: AxisName, block: int) -> _Rows:
    """Blocks of pairs on a ring of devices; `losses/ring.py` counts the bytes sent."""
    positive = jnp.sum(batch.a * batch.b, -1) * scale
    pairs = ring.all_pairs(
        LOG_SUM_EXP,
        batch,
        scale,
        jnp.zeros_like(scale),
        lax.stop_gradient(positive),
        axis_name=axis_name,
        block=block,
    )
    # - log softmax = log(1 + sum over the negatives of exp(logit - positive)): nothing cancels, so
    # that even a loss of 1e-8 has its digits.
    lse_a, lse_b = pairs.sums
    loss_ab, loss_ba = jax.nn.softplus(lse_a - positive), jax.nn.softplus(lse_b - positive)
    return _Rows(loss_ab, loss_ba, pairs.correct_a, pairs.correct_b)


class _LogSum(NamedTuple):
    """The logarithm of a sum of exponentials, in parts that take one more block; both `[n]`.

    largest: of the logits so far.
    relative: sum of exp(logit - largest).
    """

    largest: jax.Array
    relative: jax.Array


def _start(zeros: jax.Array) -> _LogSum:
    return _LogSum(zeros - jnp.inf, zeros)


def _add(so_far: _LogSum, logits: jax.Array, keep: jax.Array) -> _LogSum:
    """Move the maximum, and the sum relative to the maximum, over one more block `[n, m]`."""
    masked = jnp.where(keep, logits, -jnp.inf)
    largest = jnp.maximum(so_far.largest, masked.max(1))
    finite = jnp.where(jnp.isfinite(largest), largest, 0)
    relative = so_far.relative * jnp.exp(so_far.largest - finite)
    return _LogSum(largest, relative + jnp.exp(masked - finite[:, None]).sum(1))


def _finish(so_far: _LogSum) -> jax.Array:
    return so_far.largest + jnp.log(so_far.relative)


def _slope(logits: jax.Array, keep: jax.Array, lse: jax.Array, weight: jax.Array) -> jax.Array:
    """The weighted softmax of the negatives; without any negative, `lse` is -inf."""
    finite = jnp.where(jnp.isfinite(lse), lse, 0)
    return weight * jnp.where(keep, jnp.exp(logits - finite), 0)


LOG_SUM_EXP = ring.Rule(_start, _add, _finish, _slope, both=True)
