"""Grad-CAM of an encoder and a linear classifier: the evidence for a class in a window.

Selvaraju et al., "Grad-CAM" (2017). A map of a convolution is weighted by the mean gradient of the
class score with respect to each of its channels; what is positive in the sum is evidence for it.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.models.base import EncoderConfig
from primus_jax.models.motion import MotionConfig
from primus_jax.models.released import ReleasedConfig
from primus_jax.models.resnet1d import STAGES, ResNet1DConfig
from primus_jax.models.vision.encoder import VisionConfig
from primus_jax.trees import Params


class ClassScore(NamedTuple):
    """A class score of a window: `direction` times its standardised embedding, each `[dim]`.

    `mean` and `deviation` standardise; values are clipped to plus and minus `clip`.
    """

    direction: jax.Array
    mean: jax.Array
    deviation: jax.Array
    clip: float


def class_score(
    kernel: np.ndarray, mean: np.ndarray, deviation: np.ndarray, k: int, clip: float = np.inf
) -> ClassScore:
    """The score of class `k` less the mean of all, of a classifier with `kernel` `[dim, classes]`.

    The probabilities do not tell what is added to every class, so that the mean is taken out.
    """
    direction = jnp.asarray(kernel[:, k] - kernel.mean(1))
    return ClassScore(direction, jnp.asarray(mean), jnp.asarray(deviation), clip)


def activation_maps(encoder: Encoder, imu: np.ndarray, head: str, score: ClassScore) -> np.ndarray:
    """Grad-CAM maps of windows float32 `[n, time, 6]`, each with a maximum of 1 (or all zero).

    The map is that of the last convolutional stage: of "vision" the last block of the ResNet, of
    "resnet1d" the last block, of "released" the third convolution, of "motion" the convolution
    that begins the third stage. Statistics of the motion encoder that go by its convolutions are
    not part of the map.

    Args:
        encoder: of one of these kinds.
        imu: at its rate.
        head: the output that the classifier reads.
        score: of the class.

    Returns:
        float32 `[n, steps]` over time, of "vision" `[n, height, steps]` with low frequencies last,
        both over the whole window. With gyroscope "image" the map is that of the accelerometer.

    Raises:
        PrimusError: another kind of encoder.
    """
    layer = map_layer(encoder.config)
    maps = np.asarray(_maps(encoder.params, jnp.asarray(imu), score, encoder.config, head, layer))
    if len(maps) == 2 * len(imu):
        maps = maps[::2]
    highest = maps.reshape(len(maps), -1).max(1).reshape(-1, *[1] * (maps.ndim - 1))
    return (maps / np.where(highest > 0, highest, 1)).astype(np.float32)


def map_layer(config: EncoderConfig) -> tuple[str, ...]:
    """The path of the Flax module whose output is the last map of an encoder."""
    if isinstance(config, VisionConfig):
        return "vision", f"layer4_{config.resnet.stages[-1] - 1}"
    if isinstance(config, ResNet1DConfig):
        return (f"block{sum(blocks for _, blocks in STAGES) - 1}",)
    layers: Mapping[type, tuple[str, ...]] = {
        ReleasedConfig: ("conv3",),
        MotionConfig: ("trunk", "down2"),
    }
    for kind, layer in layers.items():
        if isinstance(config, kind):
            return layer
    raise PrimusError(
        f"an encoder of kind {config.kind!r} has no map over time; expected 'vision', 'resnet1d', "
        f"'released' or 'motion'."
    )


@functools.partial(jax.jit, static_argnames=("config", "head", "layer"))
def _maps(
    params: Params,
    imu: jax.Array,
    score: ClassScore,
    config: EncoderConfig,
    head: str,
    layer: tuple[str, ...],
) -> jax.Array:
    """Maps that are not scaled yet, `[n, ...]`."""

    def total(shift: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The sum of the windows' scores with `shift` added to the map, and the map itself."""
        found: list[jax.Array] = []

        def watch(run: Any, args: Any, kwargs: Any, context: Any) -> Any:
            output = run(*args, **kwargs)
            if context.module.path != layer or context.method_name != "__call__":
                return output
            found.append(output)
            return output + shift

        with nn.intercept_methods(watch), jax.default_matmul_precision("highest"):
            outputs = cast(dict[str, jax.Array], config.build().apply({"params": params}, imu))
        embedding = outputs[head]
        x = jnp.clip((embedding - score.mean) / score.deviation, -score.clip, score.clip)
        return jnp.sum(x @ score.direction), found[0]

    seen = jax.eval_shape(total, jax.ShapeDtypeStruct((), imu.dtype))[1]
    gradient, features = jax.grad(total, has_aux=True)(jnp.zeros(seen.shape, seen.dtype))
    places = tuple(range(1, features.ndim - 1))
    weight = gradient.mean(places, keepdims=True)
    return nn.relu(jnp.sum(weight * features, -1))
