"""Functions of colour on images `[..., 3]` of values 0 to 1, each with its amount given.

Those of torchvision: hue, brightness, contrast and saturation, and grey as their common base. The
colours of a spectrogram are the axes of the sensor, and brightness is intensity of motion.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

# ITU-R BT.601, as torchvision rounds it
LUMA = np.array([0.2989, 0.587, 0.114])


def brighten(image: jax.Array, factor: jax.Array) -> jax.Array:
    """Multiply by `factor` and clip."""
    return jnp.clip(image * factor, 0, 1)


def stretch_contrast(image: jax.Array, factor: jax.Array) -> jax.Array:
    """Move the values of one image `[height, width, 3]` away from its mean grey by `factor`."""
    mean = jnp.mean(grey(image), (-3, -2, -1), keepdims=True)
    return jnp.clip(mean + factor * (image - mean), 0, 1)


def saturate(image: jax.Array, factor: jax.Array) -> jax.Array:
    """Move every pixel away from its grey by `factor`; 0 leaves the grey."""
    base = grey(image)
    return jnp.clip(base + factor * (image - base), 0, 1)


def grey(image: jax.Array) -> jax.Array:
    """Luma of every pixel, `[..., 3]` -> `[..., 1]`."""
    weights = jnp.asarray(LUMA, image.dtype)
    return jnp.sum(image * weights, -1, keepdims=True)


def shift_hue(image: jax.Array, turns: jax.Array) -> jax.Array:
    """Turn the hue of every pixel; brightest and darkest channel keep their values.

    Hue, saturation and value of Smith (SIGGRAPH 1978). A third of a turn puts red in the place of
    green, green in that of blue and blue in that of red.

    Args:
        image: `[..., 3]`.
        turns: scalar, -0.5 to 0.5.
    """
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    high, low = image.max(-1), image.min(-1)
    spread = high - low
    safe = jnp.where(spread > 0, spread, jnp.ones_like(spread))
    # In sixths of a turn, from red.
    sector = jnp.where(
        high == red,
        (green - blue) / safe,
        jnp.where(high == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    sixths = sector + 6 * turns
    place = jnp.stack([5 + sixths, 3 + sixths, 1 + sixths], -1) % 6
    share = jnp.clip(jnp.minimum(place, 4 - place), 0, 1)
    return high[..., None] - spread[..., None] * share


def mixing_matrix(axis: jax.Array, angle: jax.Array) -> jax.Array:
    """Elementwise square of the rotation by `angle` about `axis` `[3]`: rows and columns sum to 1.

    The power of an axis-wise signal, where phases are random, mixes by these squares when the
    sensor turns. Grey stays grey.
    """
    x, y, z = axis / jnp.maximum(jnp.linalg.norm(axis), 1e-12)
    zero = jnp.zeros_like(x)
    cross = jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero]).reshape(3, 3)
    square = jnp.matmul(cross, cross, precision=lax.Precision.HIGHEST)
    rotation = jnp.eye(3, dtype=axis.dtype) + jnp.sin(angle) * cross + (1 - jnp.cos(angle)) * square
    return jnp.square(rotation)


def mix_colours(image: jax.Array, matrix: jax.Array) -> jax.Array:
    """Colours `[..., 3]` as rows times `matrix` `[3, 3]`, clipped to 0..1."""
    return jnp.clip(jnp.matmul(image, matrix, precision=lax.Precision.HIGHEST), 0, 1)
