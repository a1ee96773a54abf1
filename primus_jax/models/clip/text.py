"""CLIP's text tower: token ids -> the projection of the sentence's end."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from primus_jax.models.clip.blocks import LayerNorm, Transformer, linear
from primus_jax.models.clip.config import TextConfig

# Folders written before transformers 4.31 say eos_token_id 2, which is not the id in use.
LEGACY_EOS = 2


def end_position(tokens: jax.Array, eos: int) -> jax.Array:
    """Where sentences end: int `[n, time]` -> int32 `[n]`, by the rules of `transformers`.

    The place of the first largest id where `eos` is 2 (in CLIP's vocabulary the end is the largest
    id), else of the first `eos`; 0 without one. What pads the sentence behind it is of no account.
    """
    marks = tokens if eos == LEGACY_EOS else (tokens == eos).astype(jnp.int32)
    return jnp.argmax(marks, axis=1).astype(jnp.int32)


class TextTower(nn.Module):
    """Ids int32 `[n, time]` and mask bool `[n, time]` -> float32 `[n, projection]`, not normalised.

    A step sees itself and the steps before it, as far as the mask is True for them. An id outside
    the vocabulary gives NaN.
    """

    config: TextConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, tokens: jax.Array, mask: jax.Array) -> jax.Array:
        config, dtype = self.config, self.dtype
        time = tokens.shape[1]
        init = nn.initializers.normal(0.02)
        words = self.param("token_embedding", init, (config.vocabulary, config.width))
        positions = self.param("position_embedding", init, (config.positions, config.width))
        x = jnp.take(words, tokens, axis=0, mode="fill").astype(dtype)
        x = x + positions[:time].astype(dtype)
        allowed = jnp.tril(jnp.ones((time, time), bool)) & mask[:, None, None, :]
        x = Transformer(config, dtype, name="transformer")(x, allowed)
        x = LayerNorm(config.epsilon, name="final_layer_norm")(x)
        end = end_position(tokens, config.eos)
        x = jnp.take_along_axis(x, end[:, None, None], axis=1)[:, 0]
        return linear(config.projection, dtype, "projection", bias=False)(x).astype(jnp.float32)
