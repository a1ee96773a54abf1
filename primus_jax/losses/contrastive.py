"""Symmetric InfoNCE over the global batch, on one device or inside `jax.shard_map`."""

import jax
import jax.numpy as jnp
from jax import lax

from primus_jax.losses import ring
from primus_jax.losses.pairs import (
    FORMS,
    AxisName,
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

__all__ = ["FORMS", "info_nce", "info_nce_with_accuracy", "normalize"]


def info_nce(
    a: jax.Array,
    b: jax.Array,
    temperature: jax.Array | float,
    *,
    mask: jax.Array | None = None,
    masked_negatives: bool = True,
    equal: jax.Array | None = None,
    axis_name: AxisName = None,
    form: str = "auto",
    block: int = 1024,
) -> jax.Array:
    """Sum of the two cross-entropies that identify row i of `b` by row i of `a`, and back.

    With unit rows, S = a b^T / temperature and L = CE_rows(S) + CE_cols(S), each a mean over the
    batch: summed, not halved (IMU2CLIP; PRIMUS eq. of L_MM and L_SS).

    Inside `jax.shard_map` over `axis_name` the arrays are this device's rows, every row is
    contrasted with the columns of all devices, and all devices return the same value: the loss of
    the whole batch. Differentiate outside `shard_map`, and never `psum` the gradient.

    Args:
        a: `[batch, dim]`, the embedding that is trained.
        b: `[batch, dim]`, its target (another modality, another view, a neighbour).
        temperature: scalar divisor of the cosines, positive.
        mask: bool `[batch]`; False where row i has no target. Its own two cross-entropies are
            left out and the mean is over the rows that count; if none counts, the loss is 0.
        masked_negatives: whether the absent target stays as a column of the other rows'
            denominators, as in the released PRIMUS code (a zero target then has logit 0 with
            everybody). Rows of `a` are present either way and stay.
        equal: int `[batch]`; targets of the same non-negative number are the same thing (equal
            texts, one video). Such a pair is no negative: it leaves both denominators.
        axis_name: mesh axis, or tuple of mesh axes, over which the batch is sharded.
        form: how it is computed, never what: "dense" (the reference: every device computes the
            whole matrix of pairs), "gathered" (this device's rows by all columns), "ring"
            (`losses.ring`: memory linear in the batch), or "auto": "gathered", and "ring" where
            the logits of one device are more than `pairs.GATHERED_LOGITS`.
        block: rows of a block of the ring.

    Returns:
        The scalar loss: float32, or float64 if `a` or `b` is. Smaller floats are widened first.

    Raises:
        PrimusError: an unknown form; shapes that do not belong together.
    """
    return info_nce_with_accuracy(
        a,
        b,
        temperature,
        mask=mask,
        masked_negatives=masked_negatives,
        equal=equal,
        axis_name=axis_name,
        form=form,
        block=block,
    )[0]


def info_nce_with_accuracy(
    a: jax.Array,
    b: jax.Array,
    temperature: jax.Array | float,
    *,
    mask: jax.Array | None = None,
    masked_negatives: bool = True,
    equal: jax.Array | None = None,
    axis_name: AxisName = None,
    form: str = "auto",
    block: int = 1024,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`info_nce`, with the in-batch retrieval accuracy a to b, and b to a.

    A row is correct when its own target has the largest logit; a tie of n counts 1/n, so that a
    constant embedding scores chance. Returns three scalars.
    """
    batch = make_batch(a, b, mask, masked_negatives, equal)
    batch = batch._replace(a=normalize(batch.a), b=normalize(batch.b))
    scale = 1 / jnp.asarray(temperature, batch.a.dtype)
    form = choose_form(form, batch.a.shape[0], axis_name)
    if form == "ring":
        loss, *correct = _ring(batch, scale, axis_name, block)
    elif form == "gathered":
        loss, *correct = _gathered(batch, scale, axis_name)
    else:
        loss, *correct = _dense(batch, scale, axis_name)
    weight = batch.mask.astype(loss.dtype)
    count = jnp.maximum(total(weight, axis_name), 1)
    loss, ab, ba = (total(weight * x, axis_name) / count for x in (loss, *correct))
    return loss, ab, ba


# Each form returns, for this device's rows, both cross-entropies added, and the correctness of both
# searches: three times [rows].


def _dense(batch, scale, axis_name):
    """The equation, on all pairs of the batch, on every device."""
    own = own_places(batch.a.shape[0], axis_name)
    batch = gather(batch, axis_name)
    logits = dot(batch.a, batch.b.T) * scale
    positive = jnp.diagonal(logits)
    pairs = jnp.eye(len(positive), dtype=bool)
    keep_ab, keep_ba = negatives(pairs, batch.equal, batch.equal, batch.column)

    def denominator(keep, axis):
        return jax.nn.logsumexp(jnp.where(pairs | keep, logits, -jnp.inf), axis)

    loss = (denominator(keep_ab, 1) - positive) + (denominator(keep_ba, 0) - positive)
    tie = tie_width(logits.dtype, batch.a.shape[1], scale)
    correct_ab = rank(logits, positive, keep_ab, tie).correct()
    correct_ba = rank(logits.T, positive, keep_ba.T, tie).correct()
    return loss[own], correct_ab[own], correct_ba[own]


def _gathered(batch, scale, axis_name):
    """This device's rows of each side by all rows of the other.

    What each of N devices has to send, in bytes, with rows = batch / N of float32: forward
    rows (N - 1) (8 dim + 5), backward rows (N - 1) 8 dim. The 5 are the numbers of equal targets
    and the columns, sent where they are given.
    """
    own = own_places(batch.a.shape[0], axis_name)
    every = gather(batch._replace(mask=None), axis_name)
    pairs = own[:, None] == jnp.arange(every.a.shape[0], dtype=jnp.int32)
    keep_ab, keep_ba = negatives(pairs, batch.equal, every.equal, every.column)
    tie = tie_width(batch.a.dtype, batch.a.shape[1], scale)

    def identify(query, keys, keep):
        logits = dot(query, keys.T) * scale
        positive = jnp.take_along_axis(logits, own[:, None], axis=1)
        # Far below any logit, yet finite: a row without negatives has a gradient, of zero.
        nothing = jnp.asarray(jnp.finfo(logits.dtype).min / 2, logits.dtype)
        others = jax.nn.logsumexp(jnp.where(keep, logits - positive, nothing), 1)
        correct = rank(logits, positive[:, 0], keep, tie).correct()
        return jax.nn.softplus(others), correct  # see _ring

    loss_ab, correct_ab = identify(batch.a, every.b, keep_ab)
    loss_ba, correct_ba = identify(batch.b, every.a, keep_ba)
    return loss_ab + loss_ba, correct_ab, correct_ba


def _ring(batch, scale, axis_name, block):
    """Blocks of pairs on a ring of devices; see `losses/ring.py` for what is sent."""
    positive = jnp.sum(batch.a * batch.b, -1) * scale
    lse_ab, lse_ba, *correct = ring.all_pairs(
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
    return jax.nn.softplus(lse_ab - positive) + jax.nn.softplus(lse_ba - positive), *correct


def _start(nothing):
    return nothing - jnp.inf, nothing


def _add(sums, logits, keep):
    """A running maximum, and the sum of exponentials relative to it, over one more block."""
    largest, summed = sums
    masked = jnp.where(keep, logits, -jnp.inf)
    new = jnp.maximum(largest, masked.max(1))
    finite = jnp.where(jnp.isfinite(new), new, 0)
    summed = summed * jnp.exp(largest - finite) + jnp.exp(masked - finite[:, None]).sum(1)
    return new, summed


def _finish(sums):
    largest, summed = sums
    return largest + jnp.log(summed)


def _slope(logits, keep, lse, weight):
    """The softmax of the negatives; without any, its logarithmic sum is -inf."""
    finite = jnp.where(jnp.isfinite(lse), lse, 0)
    return weight * jnp.where(keep, jnp.exp(logits - finite), 0)


LOG_SUM_EXP = ring.Rule(_start, _add, _finish, _slope, both=True)
