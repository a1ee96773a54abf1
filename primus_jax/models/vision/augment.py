"""Augmentations of images: IMG2IMU's four, which imitate what happens to a sensor, and MoCo's.

Pure functions (key, image) -> image, vectorised over the batch on the device. Every image has its
own key, so the result does not depend on how the batch is sharded.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from primus_jax.errors import PrimusError
from primus_jax.models.vision import colour, geometry

# Bounds of MoCo's crop (width / height) and of its blur (pixels).
ASPECT = (3 / 4, 4 / 3)
BLUR = (0.1, 2.0)
SHARES = ("translate", "jitter", "crop", "flip", "grey", "blur", "colour_probability", "hue_mix")


@dataclasses.dataclass
class ImageAugmentConfig:
    """Strength of each augmentation; 0 leaves it out. Applied in this order.

    IMG2IMU states neither ranges nor order; those of `SENSOR_AWARE` are ours.
    """

    crop: float = 0.0  # smallest share of the area that a crop keeps
    flip: float = 0.0  # probability of left for right
    translate: float = 0.0  # largest shift along time, as a share of the width
    segments: int = 0  # vertical pieces that are shuffled
    brightness: float = 0.0  # largest distance of the factor from 1
    contrast: float = 0.0  # likewise
    saturation: float = 0.0  # likewise
    hue: float = 0.0  # largest shift of hue, turns, at most 0.5
    colour_probability: float = 1.0  # that the four above are applied, together
    hue_mix: float = 0.0  # probability of mixing colours as a turn of the sensor does
    grey: float = 0.0  # probability of grey
    blur: float = 0.0  # probability of a blur
    jitter: float = 0.0  # largest noise of a pixel

    def validate(self, name: str) -> None:
        """Raise PrimusError for values that mean nothing."""
        limits = dict.fromkeys(SHARES, 1.0) | {"hue": 0.5}
        limits |= dict.fromkeys(("brightness", "contrast", "saturation"), 1.0)
        for field, high in limits.items():
            value = getattr(self, field)
            if not 0 <= value <= high:
                raise PrimusError(f"{name}.{field} is {value}; expected 0 to {high:g}.")
        if self.segments < 0 or self.segments == 1:
            raise PrimusError(
                f"{name}.segments is {self.segments}; expected 0 (off) or at least 2."
            )


# Section "Sensor-aware pre-training" of arXiv 2209.00945 v2.
SENSOR_AWARE = ImageAugmentConfig(translate=0.45, segments=4, hue=0.5, jitter=0.1)
# He et al., "Momentum Contrast" (2020).
MOCO_V1 = ImageAugmentConfig(
    crop=0.2, flip=0.5, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4, grey=0.2
)
# Chen et al., "Improved Baselines with Momentum Contrastive Learning" (2020).
MOCO_V2 = dataclasses.replace(MOCO_V1, hue=0.1, colour_probability=0.8, blur=0.5)
# The baseline "MoCo + all" of the paper's table II.
ALL = dataclasses.replace(
    MOCO_V2, hue=0.5, colour_probability=1.0, translate=0.45, segments=4, jitter=0.1
)


def translate_x(key: jax.Array, image: jax.Array, share: float) -> jax.Array:
    """Shift along time by up to `share` of the width, black behind: a window that began elsewhere.

    TranslateX of IMG2IMU. The shift is a uniform whole number of pixels.
    """
    most = round(share * image.shape[1])
    return geometry.shift_columns(image, jax.random.randint(key, (), -most, most + 1))


def permute_x(key: jax.Array, image: jax.Array, segments: int) -> jax.Array:
    """Cut along time at distinct places and shuffle the pieces: the parts of a movement, reordered.

    PermuteX of IMG2IMU; the cuts are drawn for every image.
    """
    cut_key, order_key = jax.random.split(key)
    cuts = 1 + jax.random.permutation(cut_key, image.shape[1] - 1)[: segments - 1]
    return geometry.reorder_columns(image, cuts, jax.random.permutation(order_key, segments))


def hue(key: jax.Array, image: jax.Array, turns: float) -> jax.Array:
    """Turn all hues by up to `turns`: a sensor whose axes point elsewhere.

    Hue of IMG2IMU, as torchvision's ColorJitter computes it. A third of a turn exchanges the axes.
    """
    return colour.shift_hue(image, jax.random.uniform(key, (), image.dtype, -turns, turns))


def hue_mix(key: jax.Array, image: jax.Array, probability: float) -> jax.Array:
    """Mix the colours by the squares of a random rotation: a turned sensor, to first order.

    Hue of the authors' next method: the axis is a point of a cube, which prefers its corners; the
    angle is uniform.
    """
    chosen, axis_key, angle_key = jax.random.split(key, 3)
    axis = jax.random.uniform(axis_key, (3,), image.dtype, -1, 1)
    angle = jax.random.uniform(angle_key, (), image.dtype, -math.pi, math.pi)
    mixed = colour.mix_colours(image, colour.mixing_matrix(axis, angle))
    return jnp.where(jax.random.bernoulli(chosen, probability), mixed, image)


def jitter(key: jax.Array, image: jax.Array, amplitude: float) -> jax.Array:
    """Add uniform noise in +-`amplitude` to every value, and clip to 0..1: the sensor's noise.

    Jitter of IMG2IMU. It is not torchvision's ColorJitter.
    """
    noise = jax.random.uniform(key, image.shape, image.dtype, -amplitude, amplitude)
    return jnp.clip(image + noise, 0, 1)


def crop(key: jax.Array, image: jax.Array, smallest: float) -> jax.Array:
    """Enlarge a random part of the image: another zoom in time and frequency, unlike a sensor.

    MoCo's RandomResizedCrop: area share and logarithm of the aspect are uniform. Deviation: a part
    wider or higher than the image is cut to it, where torchvision draws again.
    """
    area_key, aspect_key, corner_key = jax.random.split(key, 3)
    whole = jnp.asarray(image.shape[:2], image.dtype)
    area = jnp.prod(whole) * jax.random.uniform(area_key, (), image.dtype, smallest, 1.0)
    bounds = [math.log(bound) for bound in ASPECT]
    aspect = jnp.exp(jax.random.uniform(aspect_key, (), image.dtype, *bounds))
    size = jnp.minimum(jnp.sqrt(jnp.stack([area / aspect, area * aspect])), whole)
    corner = jax.random.uniform(corner_key, (2,), image.dtype) * (whole - size)
    return geometry.cut_out(image, corner, size)


def flip(key: jax.Array, image: jax.Array, probability: float) -> jax.Array:
    """Reverse time, with `probability`: MoCo's RandomHorizontalFlip, which no sensor does."""
    return jnp.where(jax.random.bernoulli(key, probability), image[:, ::-1], image)


def brighten(key: jax.Array, image: jax.Array, most: float) -> jax.Array:
    """Multiply by a factor in 1 +- `most`: a stronger or weaker movement. MoCo."""
    return colour.brighten(image, _factor(key, image, most))


def stretch_contrast(key: jax.Array, image: jax.Array, most: float) -> jax.Array:
    """Scale about the mean by a factor in 1 +- `most`: another range of the logarithm. MoCo."""
    return colour.stretch_contrast(image, _factor(key, image, most))


def saturate(key: jax.Array, image: jax.Array, most: float) -> jax.Array:
    """Scale about grey by a factor in 1 +- `most`: a movement more or less along one axis. MoCo."""
    return colour.saturate(image, _factor(key, image, most))


def grey(key: jax.Array, image: jax.Array, probability: float) -> jax.Array:
    """Give all channels the luma, with `probability`: forget the axes. MoCo."""
    drawn = jax.random.bernoulli(key, probability)
    return jnp.where(drawn, jnp.broadcast_to(colour.grey(image), image.shape), image)


def blur(key: jax.Array, image: jax.Array, probability: float) -> jax.Array:
    """Blur by 0.1 to 2 pixels, with `probability`: a shorter, wider frame. MoCo v2."""
    chosen, sigma_key = jax.random.split(key)
    blurred = geometry.blur(image, jax.random.uniform(sigma_key, (), image.dtype, *BLUR))
    return jnp.where(jax.random.bernoulli(chosen, probability), blurred, image)


Function = Callable[[jax.Array, jax.Array, float], jax.Array]
PLACE: dict[str, Function] = {"crop": crop, "flip": flip, "translate": translate_x}
COLOUR: dict[str, Function] = {
    "brightness": brighten, "contrast": stretch_contrast, "saturation": saturate, "hue": hue,
}  # fmt: skip
LAST: dict[str, Function] = {"hue_mix": hue_mix, "grey": grey, "blur": blur, "jitter": jitter}


def augment(key: jax.Array, image: jax.Array, config: ImageAugmentConfig) -> jax.Array:
    """Apply the augmentations that are switched on to one image `[height, width, 3]`, 0 to 1.

    Deviation from torchvision's ColorJitter: the four functions of colour have a fixed order.
    """
    keys = iter(jax.random.split(key, len(PLACE) + len(COLOUR) + len(LAST) + 2))

    def apply(functions: dict[str, Function], image: jax.Array) -> jax.Array:
        for name, function in functions.items():
            own, strength = next(keys), getattr(config, name)
            image = function(own, image, strength) if strength else image
        return image

    image = apply(PLACE, image)
    permute_key, colour_key = next(keys), next(keys)
    if config.segments:
        image = permute_x(permute_key, image, config.segments)
    coloured = apply(COLOUR, image)
    if config.colour_probability < 1:
        drawn = jax.random.bernoulli(colour_key, config.colour_probability)
        coloured = jnp.where(drawn, coloured, image)
    return apply(LAST, coloured)


def augment_images(keys: jax.Array, images: jax.Array, config: ImageAugmentConfig) -> jax.Array:
    """`augment` over `[batch, height, width, 3]` with one key per image.

    Raises:
        PrimusError: a config that means nothing, images without three channels, or more segments
            than columns.
    """
    config.validate("augment")
    if images.ndim != 4 or images.shape[-1] != 3:
        raise PrimusError(
            f"images have shape {tuple(images.shape)}; expected [batch, height, width, 3]."
        )
    if config.segments > images.shape[2]:
        raise PrimusError(
            f"augment.segments is {config.segments}; images of {images.shape[2]} columns have no "
            f"more pieces than that."
        )
    return jax.vmap(functools.partial(augment, config=config))(keys, images)


def _factor(key: jax.Array, image: jax.Array, most: float) -> jax.Array:
    """A factor in 1 +- `most`."""
    return jax.random.uniform(key, (), image.dtype, 1 - most, 1 + most)
