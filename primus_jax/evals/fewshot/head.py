"""The classifier that is trained by gradient: its inputs, its one or two layers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.evals.fewshot.probe import Scaler
from primus_jax.numerics import dot, normalize

INPUTS = ("unit", "standard", "raw")
HeadParams = dict[str, jax.Array]


class HeadShape(NamedTuple):
    """`width` of the input, `hidden` units (0: a linear head), `classes`."""

    width: int
    hidden: int
    classes: int


def initial_head(key: jax.Array, shape: HeadShape, kernel: jax.Array | None = None) -> HeadParams:
    """Weights uniform within 1 / sqrt(inputs), as PyTorch's, and biases of 0.

    Args:
        key: of the weights.
        shape: of the head.
        kernel: `[width, classes]` of a linear head, in place of random ones.
    """
    if kernel is not None:
        return {"kernel": kernel, "bias": jnp.zeros(shape.classes)}
    head, width = {}, shape.width
    if shape.hidden:
        key, hidden_key = jax.random.split(key)
        head["hidden_kernel"] = _uniform(hidden_key, width, shape.hidden)
        head["hidden_bias"] = jnp.zeros(shape.hidden)
        width = shape.hidden
    head["kernel"] = _uniform(key, width, shape.classes)
    head["bias"] = jnp.zeros(shape.classes)
    return head


def _uniform(key: jax.Array, inputs: int, outputs: int) -> jax.Array:
    bound = 1 / np.sqrt(inputs)
    return jax.random.uniform(key, (inputs, outputs), jnp.float32, -bound, bound)


def head_logits(
    head: HeadParams, x: jax.Array, scaler: Scaler | None, inputs: str = "unit"
) -> jax.Array:
    """`[batch, classes]` of `x` `[batch, width]`: standardised by `scaler` where there is one,
    else of unit length, or with the inputs "raw" as it is."""
    if scaler is not None:
        x = scaler(x)
    elif inputs == "unit":
        x = normalize(x)
    if "hidden_kernel" in head:
        x = jax.nn.relu(dot(x, head["hidden_kernel"]) + head["hidden_bias"])
    return dot(x, head["kernel"]) + head["bias"]
