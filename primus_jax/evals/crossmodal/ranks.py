"""Ranks of the first right candidate, exact in expectation where scores tie."""

import collections
import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

# Scores held at once: 2^24 float32 are 64 MiB, whatever the size of the pool.
BLOCK_SCORES = 1 << 24


@dataclasses.dataclass(frozen=True)
class RankCounts:
    """What decides each query's rank, int `[queries]` each.

    `above` candidates score more than the best right one; with it tie `wrong` wrong ones and
    `right` right ones (itself included, so at least 1).
    """

    above: np.ndarray
    wrong: np.ndarray
    right: np.ndarray


def rank_counts(
    query: np.ndarray, candidate: np.ndarray, query_key: np.ndarray, candidate_key: np.ndarray
) -> RankCounts:
    """Compare every query with every candidate by dot product, a block of queries at a time.

    Equal candidates are scored once, so that they tie exactly, however a matrix product rounds.

    Args:
        query: float32 `[queries, dim]`.
        candidate: float32 `[candidates, dim]`.
        query_key: int `[queries]`, not negative.
        candidate_key: int `[candidates]`; right for the queries of the same key, at least one each.
    """
    vectors, place = distinct_rows(candidate)
    vectors, place, keys = jax.device_put((vectors, place, candidate_key.astype(np.int32)))
    size = block_size(len(query), len(candidate))
    counts = np.empty((3, len(query)), np.int32)
    for start in range(0, len(query), size):
        block = query[start : start + size]
        rest = size - len(block)
        padded = np.pad(block, [(0, rest), (0, 0)])
        key = np.pad(query_key[start : start + size], (0, rest))
        found = count_block(padded, key.astype(np.int32), vectors, place, keys)
        counts[:, start : start + size] = np.asarray(found)[:, : len(block)]
    return RankCounts(*counts.astype(np.int64))


def block_size(queries: int, candidates: int) -> int:
    """Queries of a block, a power of two: at most `BLOCK_SCORES` scores, but at least one query."""
    most = 1 << (max(BLOCK_SCORES // candidates, 1).bit_length() - 1)
    return min(most, 1 << max(queries - 1, 0).bit_length())


def distinct_rows(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows `[distinct, dim]` in the order met, and int32 `[n]`, which one each row is."""
    rows: dict[bytes, int] = {}
    place = np.array([rows.setdefault(row.tobytes(), len(rows)) for row in x], np.int32)
    _, first = np.unique(place, return_index=True)
    return x[first], place


@jax.jit
def count_block(
    query: jax.Array,
    query_key: jax.Array,
    vectors: jax.Array,
    place: jax.Array,
    candidate_key: jax.Array,
) -> jax.Array:
    """`above`, `wrong` and `right` of `RankCounts`, int32 `[3, block]`.

    Args:
        query: float32 `[block, dim]`.
        query_key: int32 `[block]`.
        vectors: float32 `[distinct, dim]`.
        place: int32 `[candidates]`, each candidate's row in `vectors`.
        candidate_key: int32 `[candidates]`.
    """
    score = jnp.matmul(vectors, query.T, precision=jax.lax.Precision.HIGHEST)[place]
    correct = candidate_key[:, None] == query_key[None, :]
    best = jnp.where(correct, score, -jnp.inf).max(0)
    above, tied = score > best, score == best
    parts = (above, tied & ~correct, tied & correct)
    return jnp.stack([part.sum(0, dtype=jnp.int32) for part in parts])


def rank_distribution(counts: RankCounts, candidates: int) -> np.ndarray:
    """Probability of ranks 1, 2, ... over queries and a random order of ties, `[candidates]`.

    Of `right + wrong` tied candidates in random order the first right one is at place j with
    probability C(wrong + right - j, right - 1) / C(wrong + right, right).
    """
    mass = np.zeros(candidates)
    found = zip(counts.above, counts.wrong, counts.right, strict=True)
    for (above, wrong, right), queries in collections.Counter(found).items():
        j = np.arange(1, wrong + 1)
        ratio = (wrong - j + 1) / (wrong + right - j)
        place = np.cumprod(np.concatenate([[right / (wrong + right)], ratio]))
        mass[above : above + wrong + 1] += queries * place
    return mass / len(counts.above)


def chance_distribution(correct: np.ndarray, candidates: int) -> np.ndarray:
    """`rank_distribution` when nothing is known: every candidate ties with every other.

    Args:
        correct: int `[queries]`, right candidates of each.
        candidates: of the pool.
    """
    correct = np.asarray(correct, np.int64)
    return rank_distribution(
        RankCounts(np.zeros_like(correct), candidates - correct, correct), candidates
    )


def rank_metrics(distribution: np.ndarray, ks: Sequence[int]) -> dict[str, float]:
    """Recall at `ks`, mean reciprocal rank and median rank of a distribution over ranks.

    The median is the middle of the ranks where the distribution function reaches and exceeds one
    half: without ties, the median of the ranks.
    """
    below = np.minimum(np.cumsum(distribution), 1.0)
    below[-1] = 1.0
    reached, exceeded = (int(np.argmax(below > 0.5 + sign * 1e-9)) + 1 for sign in (-1, 1))
    metrics = {f"recall_at_{k}": float(below[min(k, len(below)) - 1]) for k in ks}
    metrics["mrr"] = float((distribution / np.arange(1, len(distribution) + 1)).sum())
    metrics["median_rank"] = (reached + exceeded) / 2
    return metrics
