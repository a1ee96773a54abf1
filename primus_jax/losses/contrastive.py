"""Symmetric InfoNCE over the global batch, on one device or inside `jax.shard_map`."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from primus_jax.errors import PrimusError
from primus_jax.losses import ring

FORMS = ("auto", "gathered", "ring")
# Logits on one device above which "auto" takes the ring: 128 MiB of float32.
GATHERED_LOGITS = 1 << 25


def normalize(x: jax.Array) -> jax.Array:
    """Scale the rows of `x` `[..., dim]` to unit Euclidean norm; a zero row stays zero."""
    tiny = jnp.asarray(1e-24, x.dtype)
    return x * lax.rsqrt(jnp.maximum(jnp.sum(x * x, -1, keepdims=True), tiny))


def info_nce(
    a: jax.Array,
    b: jax.Array,
    temperature: jax.Array | float,
    *,
    mask: jax.Array | None = None,
    masked_negatives: bool = True,
    equal: jax.Array | None = None,
    axis_name: str | None = None,
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
        axis_name: mesh axis over which the batch is sharded.
        form: how it is computed, never what: "gathered" (the readable form: this device's rows
            by all columns), "ring" (`losses.ring`: memory linear in the batch), or "auto", which
            takes the ring where the logits of one device are more than `GATHERED_LOGITS`.
        block: rows of a block of the ring.

    Returns:
        The scalar loss, in the dtype of `a`.

    Raises:
        PrimusError: an unknown form.
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
    axis_name: str | None = None,
    form: str = "auto",
    block: int = 1024,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`info_nce`, with the in-batch retrieval accuracy a to b, and b to a.

    A row is correct when its own target has the largest logit; a tie of n counts 1/n, so that a
    constant embedding scores chance. Returns three scalars.
    """
    rows = a.shape[0]
    if mask is None:
        mask = jnp.ones((rows,), bool)
    if equal is None:
        equal = jnp.full((rows,), -1, jnp.int32)
    a, b = normalize(a), normalize(b)
    first = jnp.zeros((), jnp.int32) if axis_name is None else lax.axis_index(axis_name) * rows
    own = first + jnp.arange(rows, dtype=jnp.int32)
    inverse = 1 / jnp.asarray(temperature, a.dtype)
    if choose_form(form, rows, axis_name) == "ring":
        positive = jnp.sum(a * b, -1) * inverse
        column = jnp.ones_like(mask) if masked_negatives else mask
        about = ring.Rows(own, equal, column, lax.stop_gradient(positive))
        lse_ab, lse_ba, correct_ab, correct_ba = ring.all_pairs(
            a, b, inverse, about, axis_name=axis_name, block=block
        )
        loss_ab, loss_ba = lse_ab - positive, lse_ba - positive
    else:
        loss_ab, correct_ab, loss_ba, correct_ba = _gathered(
            a, b, inverse, own, mask, masked_negatives, equal, axis_name
        )
    weight = mask.astype(a.dtype)
    total = (lambda x: x) if axis_name is None else functools.partial(lax.psum, axis_name=axis_name)
    count = jnp.maximum(total(jnp.sum(weight)), 1)
    mean = lambda values: total(jnp.sum(weight * values)) / count  # noqa: E731
    return mean(loss_ab + loss_ba), mean(correct_ab), mean(correct_ba)


def choose_form(form: str, rows: int, axis_name: str | None) -> str:
    """ "gathered" or "ring", for `rows` rows of a device; see `info_nce`."""
    if form not in FORMS:
        raise PrimusError(f"contrastive form {form!r}; expected one of {FORMS}.")
    batch = rows if axis_name is None else rows * lax.axis_size(axis_name)
    if form == "auto":
        return "ring" if rows * batch > GATHERED_LOGITS else "gathered"
    return form


def _gathered(a, b, inverse, own, mask, masked_negatives, equal, axis_name):
    """Cross-entropy and correctness of a to b, and of b to a, `[rows]` each."""

    def gather(x):
        return x if axis_name is None else lax.all_gather(x, axis_name, tiled=True)

    all_a, all_b, all_mask, all_equal = gather(a), gather(b), gather(mask), gather(equal)
    place = jnp.arange(all_a.shape[0], dtype=jnp.int32)
    same = (equal[:, None] == all_equal) & (equal[:, None] >= 0)
    keep_a = ~same | (own[:, None] == place)
    keep_b = keep_a if masked_negatives else keep_a & (all_mask | (own[:, None] == place))
    return (
        *_identify(a, all_b, inverse, own, keep_b),
        *_identify(b, all_a, inverse, own, keep_a),
    )


def _identify(query, keys, inverse_temperature, own, keep):
    """Cross-entropy and tie-fair correctness, `[rows]`, of finding `keys[own]` from `query`."""
    logits = jnp.matmul(query, keys.T, precision=lax.Precision.HIGHEST) * inverse_temperature
    logits = jnp.where(keep, logits, -jnp.inf)
    positive = jnp.take_along_axis(logits, own[:, None], axis=1)
    ties = jnp.sum(logits == positive, axis=1).astype(query.dtype)
    best = jnp.max(logits, axis=1) <= positive[:, 0]
    correct = jnp.where(best, 1 / ties, jnp.zeros_like(ties))
    return jax.nn.logsumexp(logits, axis=1) - positive[:, 0], lax.stop_gradient(correct)
