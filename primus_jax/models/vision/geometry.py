"""Functions of place on one image `[height, width, channels]`, each with its amount given.

To the right is later, upward is a higher frequency.
"""

import jax
import jax.numpy as jnp
from jax import lax


def shift_columns(image: jax.Array, pixels: jax.Array) -> jax.Array:
    """Move the image right by `pixels` (negative: left); the uncovered part is black."""
    width = image.shape[1]
    source = jnp.arange(width) - pixels
    inside = (source >= 0) & (source < width)
    moved = jnp.take(image, jnp.clip(source, 0, width - 1), axis=1)
    return jnp.where(inside[:, None], moved, jnp.zeros((), image.dtype))


def reorder_columns(image: jax.Array, cuts: jax.Array, order: jax.Array) -> jax.Array:
    """Cut the image into vertical pieces, and put them together in another order.

    Args:
        image: `[height, width, channels]`.
        cuts: `[pieces - 1]` first columns of all pieces but the first, in any order.
        order: `[pieces]` numbers of the pieces from left to right in the result.
    """
    piece = jnp.sum(jnp.arange(image.shape[1])[:, None] >= cuts[None, :], axis=1)
    rank = jnp.argsort(order)[piece]
    # A stable sort by the piece's place moves whole pieces and keeps the order inside each.
    return jnp.take(image, jnp.argsort(rank, stable=True), axis=1)


def cut_out(image: jax.Array, corner: jax.Array, size: jax.Array) -> jax.Array:
    """Enlarge a part of the image to the size of the whole, bilinear.

    Args:
        image: `[height, width, channels]`.
        corner: `[2]` top and left of the part, in pixels.
        size: `[2]` its height and width.
    """
    scale = jnp.asarray(image.shape[:2], size.dtype) / size
    return jax.image.scale_and_translate(
        image, image.shape, (0, 1), scale, -corner * scale, "linear", antialias=False,
        precision=lax.Precision.HIGHEST,
    )  # fmt: skip


def blur(image: jax.Array, sigma: jax.Array) -> jax.Array:
    """Gaussian blur of `sigma` pixels; at the edges the weights inside the image sum to one."""
    for axis in (0, 1):
        place = jnp.arange(image.shape[axis], dtype=image.dtype)
        weights = jax.nn.softmax(-0.5 * jnp.square((place[:, None] - place) / sigma), -1)
        turned = jnp.moveaxis(image, axis, 0)
        turned = jnp.tensordot(weights, turned, 1, precision=lax.Precision.HIGHEST)
        image = jnp.moveaxis(turned, 0, axis)
    return image
