"""The pre-norm transformer that both of CLIP's towers are made of.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021),
section 2.4. Parameters are float32; `dtype` is that of the arithmetic, with normalisation
statistics and softmax always in float32. In float32 matrix products are exact to float32 on every
device (no TF32, no bfloat16 passes), so that an embedding does not depend on the machine.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from primus_jax.models.clip.config import TransformerConfig
from primus_jax.models.layers import gelu


def precision(dtype: DTypeLike) -> lax.Precision:
    """Of matrix products in `dtype`."""
    return lax.Precision.HIGHEST if dtype == jnp.float32 else lax.Precision.DEFAULT


def linear(width: int, dtype: DTypeLike, name: str, bias: bool = True) -> nn.Dense:
    """A linear layer, `[..., n]` -> `[..., width]`."""
    return nn.Dense(width, use_bias=bias, dtype=dtype, precision=precision(dtype), name=name)


class LayerNorm(nn.Module):
    """Layer normalisation of the last axis, statistics in float32, any dtype in and out.

    Flax's own refuses bfloat16 under strict promotion.
    """

    epsilon: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        y = x.astype(jnp.float32)
        y = y - y.mean(-1, keepdims=True)
        y = y * lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + self.epsilon)
        return (y * scale + bias).astype(x.dtype)


def activate(x: jax.Array, activation: str) -> jax.Array:
    """x sigmoid(1.702 x) for "quick_gelu", x Phi(x) for "gelu"."""
    return x * jax.nn.sigmoid(x * 1.702) if activation == "quick_gelu" else gelu(x)


class Block(nn.Module):
    """Attention and a two-layer network, each added to its input: `[n, time, width]`, same out.

    `allowed` bool `[n or 1, 1, time, time]` says which step (third axis) may look at which.
    """

    config: TransformerConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array, allowed: jax.Array) -> tuple[jax.Array, None]:
        config, dtype = self.config, self.dtype
        h = LayerNorm(config.epsilon, name="layer_norm1")(x)
        q, k, v = (
            linear(config.width, dtype, name)(h).reshape(*h.shape[:2], config.heads, -1)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        scores = jnp.einsum(
            "nqhd,nkhd->nhqk", q * q.shape[-1] ** -0.5, k, precision=precision(dtype),
            preferred_element_type=jnp.float32,
        )  # fmt: skip
        # Not -inf: a step that may look nowhere would be NaN and spread to those that may.
        scores = jnp.where(allowed, scores, jnp.finfo(jnp.float32).min)
        weights = jax.nn.softmax(scores).astype(dtype)
        h = jnp.einsum("nhqk,nkhd->nqhd", weights, v, precision=precision(dtype))
        x = x + linear(config.width, dtype, "out_proj")(h.reshape(x.shape))
        h = LayerNorm(config.epsilon, name="layer_norm2")(x)
        h = activate(linear(config.hidden, dtype, "fc1")(h), config.activation)
        return x + linear(config.width, dtype, "fc2")(h), None


class Transformer(nn.Module):
    """All blocks as one scan, so that a deep tower compiles as fast as a shallow one.

    Every parameter has a leading axis of `config.layers`.
    """

    config: TransformerConfig
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x: jax.Array, allowed: jax.Array) -> jax.Array:
        blocks = nn.scan(
            Block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=nn.broadcast,
            length=self.config.layers,
        )
        return blocks(self.config, self.dtype, name="blocks")(x, allowed)[0]
