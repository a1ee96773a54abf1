"""What training by gradient lowers, and the score that chooses its epoch."""

import jax
import jax.numpy as jnp
import optax

# Of a number; the others are of classes.
SQUARED_ERROR = "squared_error"
CHOSEN_BY = ("accuracy", "macro_f1", SQUARED_ERROR)


def each_loss(outputs: jax.Array, true: jax.Array, chosen_by: str) -> jax.Array:
    """The loss of every window, `[batch]`.

    Args:
        outputs: logits `[batch, classes]`, or predicted numbers `[batch, 1]`.
        true: int classes `[batch]`, or float numbers.
        chosen_by: of `CHOSEN_BY`: cross-entropy for classes, the squared error for numbers.
    """
    if chosen_by == SQUARED_ERROR:
        return jnp.square(outputs[:, 0] - true)
    return optax.softmax_cross_entropy_with_integer_labels(outputs, true)


def score(outputs: jax.Array, true: jax.Array, valid: jax.Array, chosen_by: str) -> jax.Array:
    """Score of the `valid` windows, a scalar; higher is better.

    Args:
        outputs, true: as in `each_loss`.
        valid: bool `[batch]`.
        chosen_by: of `CHOSEN_BY`; the squared error counts with a minus sign.
    """
    shown = valid.astype(jnp.float32)
    if chosen_by == SQUARED_ERROR:
        return -(shown * each_loss(outputs, true, chosen_by)).sum() / jnp.maximum(shown.sum(), 1)
    predicted = jnp.argmax(outputs, -1)
    if chosen_by == "accuracy":
        right = (predicted == true) & valid
        return right.sum().astype(jnp.float32) / shown.sum()
    classes = outputs.shape[-1]
    counts = jnp.zeros((classes, classes)).at[true, predicted].add(shown)
    there = counts.sum(1) > 0
    f1 = 2 * jnp.diagonal(counts) / jnp.maximum(counts.sum(1) + counts.sum(0), 1)
    return jnp.where(there, f1, 0).sum() / jnp.maximum(there.sum(), 1).astype(jnp.float32)
