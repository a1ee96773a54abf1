"""The vision encoder as an ONNX graph, layer by layer as `models/vision/`.

Inside, `[batch, channels, height, width]`, as ONNX convolves. The resizing and the turn of the
frequencies are products with constant matrices, so that no operator's rule of rounding matters.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.export.onnx.graph import Graph
from primus_jax.export.onnx.relcon import batch_norm
from primus_jax.models.vision.encoder import VisionConfig
from primus_jax.models.vision.resnet import DEVIATION, MEAN, ResNetConfig
from primus_jax.models.vision.spectrogram import (
    CLEAN_FLOOR,
    HEIGHT,
    PAPER_FLOOR,
    RANGE_FLOOR,
    WIDTH,
    SpectrogramConfig,
    one_sided,
    windowed_transform,
)


def vision_trunk(graph: Graph, config: VisionConfig, x: str, time: int) -> str:
    """`[batch, 6, time]` -> `[batch, embed_dim]`, by the running statistics.

    Raises:
        PrimusError: spectrograms of the form "released", whose rounding to 256 greys no other
            program repeats to 1e-5.
    """
    if config.form == "released":
        raise PrimusError(
            "a vision encoder with spectrograms of the form 'released' has no ONNX graph: they are "
            "rounded to 256 greys, and NaN where an axis is silent. Export without ONNX, or use "
            "the form 'paper' or 'clean'."
        )
    sensors = (0,) if config.gyroscope == "none" else (0, 3)
    pictures = [
        picture(graph, config.spectrogram, graph.slice(x, first, first + 3, 1), time)
        for first in sensors
    ]
    images = pictures[0] if len(pictures) == 1 else graph.concat(pictures, 1)
    if config.gyroscope == "image":
        images = graph.node("Reshape", images, graph.integers(-1, 3, HEIGHT, WIDTH))
    copies = config.resnet.channels // 3
    mean, deviation = (np.tile(part, copies)[:, None, None] for part in (MEAN, DEVIATION))
    images = graph.node("Sub", images, graph.constant(mean))
    images = graph.node("Div", images, graph.constant(deviation))
    features = resnet(graph, config.resnet, images, "vision")
    return graph.node("Reshape", features, graph.integers(-1, config.embed_dim))


def picture(graph: Graph, config: SpectrogramConfig, signal: str, time: int) -> str:
    """One sensor `[batch, 3, time]` -> its image `[batch, 3, 96, 128]`, 0 to 1."""
    transform = windowed_transform(config.nfft)
    rows, frames = config.nfft // 2 + 1, (time - config.nfft) // config.hop + 1
    mean = graph.mean(signal, 2)
    moving = graph.node("Sub", signal, mean)
    moving = graph.node("Reshape", moving, graph.integers(-1, 1, time))
    kernel = graph.constant(transform.T[:, None])
    parts = graph.node("Conv", moving, kernel, strides=[config.hop])
    still = graph.node("Reshape", mean, graph.integers(-1, 1, 1))
    still = graph.node("Mul", still, graph.constant(transform.sum(0)[:, None]))
    squares = graph.square(graph.node("Add", parts, still))
    halves = (graph.slice(squares, first, first + rows, 1) for first in (0, rows))
    power = graph.node("Reshape", graph.node("Add", *halves), graph.integers(-1, 3, rows, frames))
    if config.form == "paper":
        power = graph.node("Mul", power, graph.constant(one_sided(config.nfft)[:, 0]))
    floor = PAPER_FLOOR if config.form == "paper" else CLEAN_FLOOR
    power = graph.node("Max", power, graph.constant(floor))
    axes = [1, 2, 3] if config.joint else [2, 3]
    # The logarithm of a ratio is exactly 0 for equal powers, on any processor.
    levels = graph.node("Log", graph.node("Div", power, graph.node("ReduceMin", power, axes=axes)))
    highest = graph.node("ReduceMax", levels, axes=axes)
    spread = graph.node("Max", highest, graph.constant(RANGE_FLOOR * math.log(10)))
    grey = graph.node("Div", levels, spread)
    image = graph.node("MatMul", graph.constant(bilinear(rows, HEIGHT)[:, ::-1]), grey)
    return graph.node("MatMul", image, graph.constant(bilinear(frames, WIDTH).T))


def bilinear(before: int, after: int) -> np.ndarray:
    """The matrix `[after, before]` that resizes as `models/vision/spectrogram.py` does."""
    eye, shape = jnp.eye(before), (after, before)
    return np.asarray(jax.image.resize(eye, shape, "bilinear", antialias=False))


def resnet(graph: Graph, config: ResNetConfig, x: str, prefix: str) -> str:
    """Standardised images `[batch, channels, 96, 128]` -> features `[batch, features]`."""

    def norm(x: str, name: str) -> str:
        return batch_norm(graph, x, f"{prefix}.{name}")

    def conv(x: str, name: str, stride: int = 1) -> str:
        full = f"{prefix}.{name}"
        pad = graph.weight(f"{full}.weight").shape[-1] // 2
        return graph.conv(x, full, pads=[pad] * 4, strides=[stride] * 2)

    x = graph.node("Relu", norm(conv(x, "conv1", 2), "bn1"))
    x = graph.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    convs, strided = (3, 2) if config.bottleneck else (2, 1)
    for stage, blocks in enumerate(config.stages):
        for block in range(blocks):
            name, stride = f"layer{stage + 1}.{block}", 2 if stage and not block else 1
            y = x
            for number in range(1, convs + 1):
                y = graph.node("Relu", y) if number > 1 else y
                y = conv(y, f"{name}.conv{number}", stride if number == strided else 1)
                y = norm(y, f"{name}.bn{number}")
            if f"{prefix}.{name}.downsample.0.weight" in graph.tensors:
                x = norm(conv(x, f"{name}.downsample.0", stride), f"{name}.downsample.1")
            x = graph.node("Relu", graph.node("Add", x, y))
    return graph.node("ReduceMean", x, axes=[2, 3], keepdims=0)
