"""CLIP's image tower: pixels -> the projection of the class token."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from primus_jax.models.clip.blocks import LayerNorm, Transformer, linear
from primus_jax.models.clip.config import VisionConfig


class VisionTower(nn.Module):
    """Images uint8 `[n, side, side, 3]` -> float32 `[n, projection]`, not normalised.

    Pixels are scaled to 0..1, then to the mean and standard deviation of the configuration.
    Patches that do not fit into the image are left out, as by a strided convolution.
    """

    config: VisionConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        config, dtype = self.config, self.dtype
        mean, std = (np.asarray(v, np.float32) for v in (config.mean, config.std))
        x = (images.astype(jnp.float32) / 255 - mean) / std
        side, patch = config.side, config.patch
        x = x[:, : side * patch, : side * patch].reshape(-1, side, patch, side, patch, 3)
        x = x.swapaxes(2, 3).reshape(-1, side * side, patch * patch * 3).astype(dtype)
        x = linear(config.width, dtype, "patch_embedding", bias=False)(x)

        init = nn.initializers.normal(0.02)
        first = self.param("class_embedding", init, (config.width,)).astype(dtype)
        places = self.param("position_embedding", init, (side * side + 1, config.width))
        first = jnp.broadcast_to(first, (x.shape[0], 1, config.width))
        x = jnp.concatenate([first, x], axis=1) + places.astype(dtype)
        x = LayerNorm(config.epsilon, name="pre_layer_norm")(x)
        allowed = jnp.ones((1, 1, x.shape[1], x.shape[1]), bool)
        x = Transformer(config, dtype, name="transformer")(x, allowed)
        x = LayerNorm(config.epsilon, name="post_layer_norm")(x[:, 0])
        return linear(config.projection, dtype, "projection", bias=False)(x).astype(jnp.float32)
