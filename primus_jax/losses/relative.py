"""Losses that rank: candidates shall be as similar to an anchor as a given distance tells.

RelCon (Xu et al., ICLR 2025, arXiv 2411.18822): every candidate in turn is a positive, and the
candidates that are strictly farther are its negatives. Candidates of an anchor are the other
anchors of the global batch and K windows of its own. The two losses of the paper's ablation are
beside it. Distances take no gradient.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from primus_jax.errors import PrimusError
from primus_jax.losses.pairs import AxisName, gather, own_places, total
from primus_jax.numerics import dot, normalize

KINDS = ("relative", "hard", "log_ratio")
TIES = ("fair", "released")
# Added to both distances of a log-ratio, so that equal windows have a logarithm.
LEAST = 1e-6


@dataclasses.dataclass(frozen=True)
class Ranking:
    """What is ranked, and by which distance. Inside `jax.shard_map`, this device's anchors.

    Attributes:
        anchors: embeddings `[rows, dim]`.
        candidates: embeddings of each anchor's own K candidates, `[rows, K, dim]`.
        distances: `[rows, batch + K]`: to the anchors of the global batch, in their order (the
            distance to itself is not read), then to the own candidates.
        present: bool `[rows, K]`, False where an own candidate is missing: neither positive nor
            negative. None: all are there.
        axis_name: mesh axis, or axes, over which the batch is sharded; None outside.
    """

    anchors: ArrayLike
    candidates: ArrayLike
    distances: ArrayLike
    present: ArrayLike | None = None
    axis_name: AxisName = None


def relative_loss(ranking: Ranking, temperature: ArrayLike, ties: str = "fair") -> jax.Array:
    """Sum over candidates, mean over anchors, of -log [e(c) / (e(c) + sum over farther c' e(c'))].

    e(c) = exp(cosine(anchor, c) / temperature); section 3.3 of the paper's description, README
    equation. With candidates in descending order of distance the sum is a running one, so that a
    single scan of logarithms serves all candidates, at any temperature.

    Args:
        ranking: embeddings and distances.
        temperature: scalar divisor of the cosines, positive.
        ties: "fair", as the equation: equal distances are not each other's negatives; "released":
            of equal ones, those that come later in the list (the other anchors from the next one
            on, around the batch, then the own candidates) are negatives of the earlier ones.

    Returns:
        The scalar loss of the global batch, the same on all devices: float32, or float64 if the
        embeddings are.

    Raises:
        PrimusError: shapes that disagree, or an unknown rule for ties.
    """
    if ties not in TIES:
        raise PrimusError(f"ties {ties!r}; expected one of {TIES}.")
    cosines, distances, keep, place = _compare(ranking)
    logits = cosines / jnp.asarray(temperature, cosines.dtype)
    # Who does not count comes last, behind the nearest, where no running sum sees it.
    farness = jnp.where(keep, -distances, jnp.inf)
    columns = jnp.broadcast_to(jnp.arange(farness.shape[1], dtype=jnp.int32), farness.shape)
    farness, _, order = lax.sort((farness, -place, columns), dimension=1, num_keys=2)
    logits = jnp.take_along_axis(logits, order, 1)
    sums = lax.associative_scan(jnp.logaddexp, logits, axis=1)
    first = _first_of_equals(farness) if ties == "fair" else columns
    farther = jnp.take_along_axis(sums, jnp.maximum(first - 1, 0), 1)
    # Finite, yet far below any logit: the farthest has no negatives and no gradient.
    farther = jnp.where(first > 0, farther, jnp.finfo(logits.dtype).min / 2)
    losses = jnp.where(jnp.isinf(farness), 0, jax.nn.softplus(farther - logits))
    return _mean(losses.sum(1), ranking.axis_name)


def hard_loss(ranking: Ranking, temperature: ArrayLike) -> jax.Array:
    """Return the cross-entropy that finds the nearest candidate among all (REBAR).

    Arguments, result and errors as of `relative_loss`; of equally near ones the first in the
    batch is the positive.
    """
    cosines, distances, keep, _ = _compare(ranking)
    logits = cosines / jnp.asarray(temperature, cosines.dtype)
    nearest = jnp.argmin(jnp.where(keep, distances, jnp.inf), 1)[:, None]
    positive = jnp.take_along_axis(logits, nearest, 1)
    others = keep & (jnp.arange(keep.shape[1]) != nearest)
    nothing = jnp.asarray(jnp.finfo(logits.dtype).min / 2, logits.dtype)
    sums = jax.nn.logsumexp(jnp.where(others, logits - positive, nothing), 1)
    return _mean(jax.nn.softplus(sums), ranking.axis_name)


def log_ratio_loss(ranking: Ranking) -> jax.Array:
    """Return how far ratios of embedding distances are from ratios of the given distances.

    Kim et al., "Deep Metric Learning Beyond Binary Supervision" (2019): for candidates i and j,
    the square of log(D_i / D_j) - log(d_i / d_j), here the mean over all pairs of candidates and
    over anchors. D is the squared Euclidean distance of unit rows, a deviation from the raw rows
    of that paper. Arguments, result and errors as of `relative_loss`.
    """
    cosines, distances, keep, _ = _compare(ranking)
    squares = jnp.maximum(2 - 2 * cosines, 0)
    ratio = jnp.log(squares + LEAST) - jnp.log(jnp.maximum(distances, 0) + LEAST)
    weight = keep.astype(ratio.dtype)
    count = jnp.sum(weight, 1, keepdims=True)
    centred = ratio - jnp.sum(weight * ratio, 1, keepdims=True) / jnp.maximum(count, 1)
    # The mean square over pairs is twice the unbiased variance.
    spread = jnp.sum(weight * jnp.square(centred), 1) / jnp.maximum(count[:, 0] - 1, 1)
    return _mean(2 * spread, ranking.axis_name)


def agreement(ranking: Ranking) -> jax.Array:
    """Return the share of anchors whose most similar candidate is at the least distance."""
    cosines, distances, keep, _ = _compare(ranking)
    distances = jnp.where(keep, distances, jnp.inf)
    similar = jnp.argmax(jnp.where(keep, cosines, -jnp.inf), 1)[:, None]
    found = jnp.take_along_axis(distances, similar, 1)[:, 0]
    return _mean((found <= jnp.min(distances, 1)).astype(cosines.dtype), ranking.axis_name)


def _compare(ranking: Ranking) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Cosines, distances, who counts, and places in the released list, all `[rows, batch + K]`."""
    anchors, candidates = jnp.asarray(ranking.anchors), jnp.asarray(ranking.candidates)
    dtype = jnp.float64 if jnp.float64 in (anchors.dtype, candidates.dtype) else jnp.float32
    anchors, candidates = normalize(anchors.astype(dtype)), normalize(candidates.astype(dtype))
    everybody = gather(anchors, ranking.axis_name)
    rows, batch, count = anchors.shape[0], everybody.shape[0], candidates.shape[1]
    if candidates.shape != (rows, count, anchors.shape[1]):
        raise PrimusError(
            f"own candidates {candidates.shape} of anchors {anchors.shape}; expected "
            f"[rows, K, dim] and [rows, dim]."
        )
    if jnp.shape(ranking.distances) != (rows, batch + count):
        raise PrimusError(
            f"distances {jnp.shape(ranking.distances)}; expected {(rows, batch + count)}, to the "
            f"anchors of the batch, then to the own candidates."
        )
    own = jnp.einsum("rd,rkd->rk", anchors, candidates, precision="highest")
    cosines = jnp.concatenate([dot(anchors, everybody.T), own], 1)
    distances = lax.stop_gradient(jnp.asarray(ranking.distances)).astype(cosines.dtype)
    mine = own_places(rows, ranking.axis_name)[:, None]
    shift = (jnp.arange(batch, dtype=jnp.int32) - mine) % batch
    there = jnp.ones((rows, count), bool) if ranking.present is None else ranking.present
    keep = jnp.concatenate([shift > 0, jnp.asarray(there, bool)], 1)
    behind = jnp.broadcast_to(batch + jnp.arange(count, dtype=jnp.int32), (rows, count))
    return cosines, distances, keep, jnp.concatenate([shift, behind], 1)


def _first_of_equals(ordered: jax.Array) -> jax.Array:
    """Column of the first of each run of equal values of ordered rows, int32 `[rows, n]`."""
    new = ordered[:, 1:] != ordered[:, :-1]
    columns = jnp.arange(ordered.shape[1], dtype=jnp.int32)
    starts = jnp.where(jnp.pad(new, ((0, 0), (1, 0))), columns, 0)
    return lax.cummax(starts, axis=1)


def _mean(losses: jax.Array, axis_name: AxisName) -> jax.Array:
    """The mean over the anchors of all devices."""
    devices = 1 if axis_name is None else lax.axis_size(axis_name)
    return total(losses, axis_name) / (losses.shape[0] * devices)
