"""The sigmoid loss over the global batch: every pair is a question of its own.

Zhai et al., "Sigmoid Loss for Language Image Pre-Training" (SigLIP, ICCV 2023).
"""

import jax
import jax.numpy as jnp
from jax import lax

from primus_jax.losses import ring
from primus_jax.losses.pairs import (
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


def sigmoid(
    a: jax.Array,
    b: jax.Array,
    temperature: jax.Array | float,
    bias: jax.Array | float,
    *,
    mask: jax.Array | None = None,
    masked_negatives: bool = True,
    equal: jax.Array | None = None,
    axis_name: AxisName = None,
    form: str = "auto",
    block: int = 1024,
) -> jax.Array:
    """Every pair judged by itself: whether row j of `b` belongs to row i of `a`.

    With unit rows, z_ij = cos(a_i, b_j) / temperature + bias and

        L = (sum over i of -log sigmoid(z_ii) + sum over i != j of -log sigmoid(-z_ij)) / batch

    (section 3.2 of the paper, where 1 / temperature = 10 and bias = -10 at the start): the sum
    over pairs is divided by the rows, not by the pairs. Each pair is counted once.

    Args, `axis_name` and `form` as of `losses.contrastive.info_nce`, with these differences:
        bias: scalar added to the logits.
        mask: False where row i has no target. Its own pair is left out, and the sum is divided by
            the number of rows that count; if none counts, the loss is 0.
        masked_negatives: whether the pairs of an absent target with other rows are negatives. Those
            of rows of `a` without a target with the targets of others always are.
        equal: a pair of two rows of the same non-negative number is left out.

    Returns:
        The scalar loss: float32, or float64 if `a` or `b` is. Smaller floats are widened first.

    Raises:
        PrimusError: an unknown form; shapes that do not belong together.
    """
    return sigmoid_with_accuracy(
        a,
        b,
        temperature,
        bias,
        mask=mask,
        masked_negatives=masked_negatives,
        equal=equal,
        axis_name=axis_name,
        form=form,
        block=block,
    )[0]


def sigmoid_with_accuracy(
    a: jax.Array,
    b: jax.Array,
    temperature: jax.Array | float,
    bias: jax.Array | float,
    *,
    mask: jax.Array | None = None,
    masked_negatives: bool = True,
    equal: jax.Array | None = None,
    axis_name: AxisName = None,
    form: str = "auto",
    block: int = 1024,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`sigmoid`, with the accuracies of `losses.contrastive.info_nce_with_accuracy`."""
    batch = make_batch(a, b, mask, masked_negatives, equal)
    batch = batch._replace(a=normalize(batch.a), b=normalize(batch.b))
    scale = 1 / jnp.asarray(temperature, batch.a.dtype)
    bias = jnp.asarray(bias, batch.a.dtype)
    form = choose_form(form, batch.a.shape[0], axis_name)
    if form == "ring":
        positive, other, *correct = _ring(batch, scale, bias, axis_name, block)
    elif form == "gathered":
        positive, other, *correct = _gathered(batch, scale, bias, axis_name)
    else:
        positive, other, *correct = _dense(batch, scale, bias, axis_name)
    weight = batch.mask.astype(scale.dtype)
    count = total(weight, axis_name)
    rows = jnp.maximum(count, 1)
    loss = total(weight * positive + other, axis_name) / rows
    ab, ba = (total(weight * x, axis_name) / rows for x in correct)
    return jnp.where(count > 0, loss, 0), ab, ba


# Each form returns, for this device's rows, the term of the own pair, the sum over the negatives,
# and the correctness of both searches: four times [rows].


def _dense(batch, scale, bias, axis_name):
    """The equation, on all pairs of the batch, on every device."""
    own = own_places(batch.a.shape[0], axis_name)
    batch = gather(batch, axis_name)
    logits = dot(batch.a, batch.b.T) * scale + bias
    positive = jnp.diagonal(logits)
    pairs = jnp.eye(len(positive), dtype=bool)
    keep_ab, keep_ba = negatives(pairs, batch.equal, batch.equal, batch.column)
    other = jnp.where(keep_ab, -jax.nn.log_sigmoid(-logits), 0).sum(1)
    tie = tie_width(logits.dtype, batch.a.shape[1], scale)
    correct_ab = rank(logits, positive, keep_ab, tie).correct()
    correct_ba = rank(logits.T, positive, keep_ba.T, tie).correct()
    result = -jax.nn.log_sigmoid(positive), other, correct_ab, correct_ba
    return tuple(x[own] for x in result)


def _gathered(batch, scale, bias, axis_name):
    """This device's rows of `a` by all of `b`; the other search only counts.

    What each of N devices has to send, in bytes, with rows = batch / N of float32: forward
    rows (N - 1) (8 dim + 5), of which 4 dim are for the accuracy alone, backward
    rows (N - 1) 4 dim. The 5 are the numbers of equal targets and the columns, sent where they are
    given.
    """
    own = own_places(batch.a.shape[0], axis_name)
    every = gather(batch._replace(a=lax.stop_gradient(batch.a), mask=None), axis_name)
    pairs = own[:, None] == jnp.arange(every.a.shape[0], dtype=jnp.int32)
    keep_ab, keep_ba = negatives(pairs, batch.equal, every.equal, every.column)
    tie = tie_width(scale.dtype, batch.a.shape[1], scale)

    def search(query, keys, keep):
        logits = dot(query, keys.T) * scale + bias
        positive = jnp.take_along_axis(logits, own[:, None], axis=1)[:, 0]
        return logits, positive, rank(logits, positive, keep, tie).correct()

    logits, positive, correct_ab = search(batch.a, every.b, keep_ab)
    correct_ba = search(lax.stop_gradient(batch.b), every.a, keep_ba)[2]
    other = jnp.where(keep_ab, jax.nn.softplus(logits), 0).sum(1)
    return jax.nn.softplus(-positive), other, correct_ab, correct_ba


def _ring(batch, scale, bias, axis_name, block):
    """Blocks of pairs on a ring of devices; see `losses/ring.py` for what is sent."""
    positive = jnp.sum(batch.a * batch.b, -1) * scale + bias
    other, _, *correct = ring.all_pairs(
        SOFTPLUS,
        batch,
        scale,
        bias,
        lax.stop_gradient(positive),
        axis_name=axis_name,
        block=block,
    )
    return jax.nn.softplus(-positive), other, *correct


def _start(nothing):
    return nothing


def _add(summed, logits, keep):
    return summed + jnp.where(keep, jax.nn.softplus(logits), 0).sum(1)


def _finish(summed):
    return summed


def _slope(logits, keep, _, weight):
    return weight * jnp.where(keep, jax.nn.sigmoid(logits), 0)


SOFTPLUS = ring.Rule(_start, _add, _finish, _slope, both=False)
