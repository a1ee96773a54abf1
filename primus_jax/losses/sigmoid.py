"""The sigmoid loss over the global batch: every pair is judged by itself.

Zhai et al., "Sigmoid Loss for Language Image Pre-Training" (SigLIP, ICCV 2023).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from primus_jax.errors import PrimusError
from primus_jax.losses import ring
from primus_jax.losses.pairs import (
    ALL_PAIRS,
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


def sigmoid(
    a: ArrayLike,
    b: ArrayLike,
    temperature: ArrayLike,
    bias: ArrayLike,
    pairs: Pairs = ALL_PAIRS,
) -> jax.Array:
    """The loss that judges every pair by itself: does row j of `b` belong to row i of `a`?

    With unit rows, z_ij = cos(a_i, b_j) / temperature + bias and

        L = (sum over i of -log sigmoid(z_ii) + sum over i != j of -log sigmoid(-z_ij)) / batch

    (section 3.2 of the paper, where 1 / temperature = 10 and bias = -10 at the start): the sum
    over pairs is divided by the rows, not by the pairs. Each pair is counted once.

    Inside `jax.shard_map` the loss is that of the whole batch, as of `losses.contrastive.info_nce`.

    Args:
        a: `[batch, dim]`, the embedding that is trained.
        b: `[batch, dim]`, its target.
        temperature: scalar divisor of the cosines, positive.
        bias: scalar added to the logits.
        pairs: which pairs count, and how the loss is computed; by default every row has its target
            and all other rows are negatives.

    Returns:
        The scalar loss: float32, or float64 if `a` or `b` is. Smaller floats are widened first.

    Raises:
        PrimusError: the form is unknown, the shapes disagree, or a direction is asked for.
    """
    return sigmoid_with_accuracy(a, b, temperature, bias, pairs)[0]


def sigmoid_with_accuracy(
    a: ArrayLike,
    b: ArrayLike,
    temperature: ArrayLike,
    bias: ArrayLike,
    pairs: Pairs = ALL_PAIRS,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`sigmoid`, with the accuracies of `losses.contrastive.info_nce_with_accuracy`."""
    if pairs.direction != "both":
        raise PrimusError(
            f"direction {pairs.direction!r} of the sigmoid loss, which counts each pair once; "
            f"expected 'both'."
        )
    batch = make_batch(a, b, pairs)
    batch = batch._replace(a=normalize(batch.a), b=normalize(batch.b))
    scale = 1 / jnp.asarray(temperature, batch.a.dtype)
    bias = jnp.asarray(bias, batch.a.dtype)
    form, axis_name = choose_form(pairs.form, batch.a.shape[0], pairs.axis_name), pairs.axis_name
    if form == "ring":
        rows = _ring(batch, scale, bias, axis_name, pairs.block)
    elif form == "gathered":
        rows = _gathered(batch, scale, bias, axis_name)
    else:
        rows = _dense(batch, scale, bias, axis_name)
    weight = batch.mask.astype(scale.dtype)
    count = total(weight, axis_name)
    divisor = jnp.maximum(count, 1)
    loss = total(weight * rows.positive + rows.negative, axis_name) / divisor
    ab, ba = (total(weight * x, axis_name) / divisor for x in (rows.correct_ab, rows.correct_ba))
    return jnp.where(count > 0, loss, 0), ab, ba


class _Rows(NamedTuple):
    """The result of each form for this device's rows, four times `[rows]`.

    positive: the term of the row's own pair.
    negative: the sum over its negatives.
    correct_ab, correct_ba: 1 where the search a to b, or b to a, finds the row's own pair.
    """

    positive: jax.Array
    negative: jax.Array
    correct_ab: jax.Array
    correct_ba: jax.Array


def _dense(batch: Batch, scale: jax.Array, bias: jax.Array, axis_name: AxisName) -> _Rows:
    """The equation, on all pairs of the batch, on every device."""
    own = own_places(batch.a.shape[0], axis_name)
    batch = gather(batch, axis_name)
    logits = dot(batch.a, batch.b.T) * scale + bias
    positive = jnp.diagonal(logits)
    pairs = jnp.eye(len(positive), dtype=bool)
    keep_ab, keep_ba = negatives(pairs, batch.equal, batch.equal, batch.column)
    negative = jnp.where(keep_ab, -jax.nn.log_sigmoid(-logits), 0).sum(1)
    tie = tie_width(logits.dtype, batch.a.shape[1], scale)
    correct_ab = rank(logits, positive, keep_ab, tie).correct()
    correct_ba = rank(logits.T, positive, keep_ba.T, tie).correct()
    whole = _Rows(-jax.nn.log_sigmoid(positive), negative, correct_ab, correct_ba)
    return _Rows(*(x[own] for x in whole))


def _gathered(batch: Batch, scale: jax.Array, bias: jax.Array, axis_name: AxisName) -> _Rows:
    """This device's rows of `a` by all of `b`; the other search only counts.

    Each of N devices has to send, in bytes, with rows = batch / N of float32: forward
    rows (N - 1) (8 dim + 5), of which 4 dim are for the accuracy alone, backward
    rows (N - 1) 4 dim. The 5 are the numbers of equal targets and the columns, sent where they are
    given.
    """
    own = own_places(batch.a.shape[0], axis_name)
    every = gather(batch._replace(a=lax.stop_gradient(batch.a)), axis_name)
    pairs = own[:, None] == jnp.arange(every.a.shape[0], dtype=jnp.int32)
    keep_ab, keep_ba = negatives(pairs, batch.equal, every.equal, every.column)
    tie = tie_width(scale.dtype, batch.a.shape[1], scale)

    def search(
        query: jax.Array, keys: jax.Array, keep: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Logits `[rows, batch]`, those of the own pairs, and whether the own pair is found."""
        logits = dot(query, keys.T) * scale + bias
        positive = jnp.take_along_axis(logits, own[:, None], axis=1)[:, 0]
        return logits, positive, rank(logits, positive, keep, tie).correct()

    logits, positive, correct_ab = search(batch.a, every.b, keep_ab)
    correct_ba = search(lax.stop_gradient(batch.b), every.a, keep_ba)[2]
    negative = jnp.where(keep_ab, jax.nn.softplus(logits), 0).sum(1)
    return _Rows(jax.nn.softplus(-positive), negative, correct_ab, correct_ba)


def _ring(
    batch: Batch, scale: jax.Array, bias: jax.Array, axis_name: AxisName, block: int
) -> _Rows:
    """Blocks of pairs on a ring of devices; `losses/ring.py` counts the bytes sent."""
    positive = jnp.sum(batch.a * batch.b, -1) * scale + bias
    pairs = ring.all_pairs(
        SOFTPLUS,
        batch,
        scale,
        bias,
        lax.stop_gradient(positive),
        axis_name=axis_name,
        block=block,
    )
    (negative,) = pairs.sums
    return _Rows(jax.nn.softplus(-positive), negative, pairs.correct_a, pairs.correct_b)


def _start(zeros: jax.Array) -> jax.Array:
    return zeros


def _add(so_far: jax.Array, logits: jax.Array, keep: jax.Array) -> jax.Array:
    return so_far + jnp.where(keep, jax.nn.softplus(logits), 0).sum(1)


def _finish(so_far: jax.Array) -> jax.Array:
    return so_far


def _slope(logits: jax.Array, keep: jax.Array, _: jax.Array, weight: jax.Array) -> jax.Array:
    return weight * jnp.where(keep, jax.nn.sigmoid(logits), 0)


SOFTPLUS = ring.Rule(_start, _add, _finish, _slope, both=False)
