"""Exact t-SNE for maps of up to a few thousand embeddings."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

_AXES = 50
_EARLY_STEPS, _STEPS = 200, 600
_EXAGGERATION = 12.0
_BISECTIONS = 40


def tsne(x: np.ndarray, perplexity: float = 30.0) -> np.ndarray:
    """Place points `[n, dim]` in the plane, neighbours near each other; float32 `[n, 2]`.

    Deterministic: it starts from the first two principal components. Only neighbourhoods mean
    something in the result, not distances between clusters, nor their sizes.

    Source: van der Maaten and Hinton 2008; step size and early exaggeration as in Belkina et al.
    2019 (n / 12). Distances are those in the first 50 principal components.
    """
    x = np.asarray(x, np.float64) - np.mean(x, axis=0, dtype=np.float64)
    left, spread, _ = np.linalg.svd(x, full_matrices=False)
    points = (left * spread)[:, :_AXES].astype(np.float32)
    start = np.zeros((len(x), 2), np.float32)
    start[:, : min(2, points.shape[1])] = points[:, :2]
    start *= 1e-4 / max(float(start[:, 0].std()), 1e-12)
    perplexity = min(perplexity, max((len(x) - 1) / 3, 1.0))
    return np.asarray(_descend(_affinities(points, np.float32(np.log(perplexity))), start))


def _squared_distances(x: jax.Array) -> jax.Array:
    norm = jnp.square(x).sum(1)
    product = jnp.matmul(x, x.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.maximum(norm[:, None] + norm[None] - 2 * product, 0.0)


@jax.jit
def _affinities(points: jax.Array, entropy: jax.Array) -> jax.Array:
    """Joint probabilities `[n, n]`: each row's Gaussian has the wanted entropy, by bisection."""
    count = len(points)
    distance = _squared_distances(points)
    distance = distance / jnp.maximum(distance.mean(), 1e-12)
    own = jnp.eye(count, dtype=bool)

    def row_probabilities(log_beta):
        logits = jnp.where(own, -jnp.inf, -jnp.exp(log_beta)[:, None] * distance)
        return jax.nn.softmax(logits, axis=1)

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        p = row_probabilities(middle)
        found = -(p * jnp.log(jnp.maximum(p, 1e-30))).sum(1)
        wide = found > entropy
        return jnp.where(wide, middle, low), jnp.where(wide, high, middle)

    bounds = (jnp.full((count,), -10.0), jnp.full((count,), 20.0))
    p = row_probabilities(jax.lax.fori_loop(0, _BISECTIONS, halve, bounds)[0])
    return (p + p.T) / (2 * count)


@functools.partial(jax.jit, donate_argnums=1)
def _descend(p: jax.Array, start: jax.Array) -> jax.Array:
    rate = max(len(p) / _EXAGGERATION, 50.0)
    own = jnp.eye(len(p), dtype=bool)

    def step(i, state):
        place, velocity, gain = state
        early = i < _EARLY_STEPS
        near = jnp.where(own, 0.0, 1 / (1 + _squared_distances(place)))
        pull = (jnp.where(early, _EXAGGERATION, 1.0) * p - near / near.sum()) * near
        slope = 4 * (pull.sum(1, keepdims=True) * place - pull @ place)
        gain = jnp.where(slope * velocity < 0, gain + 0.2, jnp.maximum(gain * 0.8, 0.01))
        velocity = jnp.where(early, 0.5, 0.8) * velocity - rate * gain * slope
        place = place + velocity
        return place - place.mean(0), velocity, gain

    state = (start, jnp.zeros_like(start), jnp.ones_like(start))
    return jax.lax.fori_loop(0, _STEPS, step, state)[0]
