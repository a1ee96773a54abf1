"""The encoder as an ONNX graph, layer by layer as `models/released.py` and `models/motion.py`.

Inside, `[batch, channels, time]`, as ONNX convolves.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.export.onnx.graph import Graph
from primus_jax.export.onnx.relcon import motif_distance, resnet1d_trunk
from primus_jax.export.onnx.vision import vision_trunk
from primus_jax.models.base import EncoderConfig
from primus_jax.models.layers import adaptive_mean
from primus_jax.models.motif import MotifConfig
from primus_jax.models.motion import (
    BANDS,
    SCALE,
    STATISTICS,
    MotionConfig,
    band_matrices,
    stage_widths,
)
from primus_jax.models.motion import CHANNELS as MOTION_CHANNELS
from primus_jax.models.released import DEVIATION_EPSILON, FIXED_SCALE, KERNELS, ReleasedConfig
from primus_jax.models.resnet1d import ResNet1DConfig
from primus_jax.models.vision.encoder import VisionConfig

# Inputs and output of the graph of a distance.
PAIR = ("anchor", "candidate")
DISTANCE = "distance"


def onnx_encoder(
    tensors: Mapping[str, np.ndarray],
    config: EncoderConfig,
    time: int,
    outputs: Sequence[str],
    int8: bool = False,
) -> Any:
    """Weights by PyTorch name -> `onnx.ModelProto` for windows of `time` samples.

    Input "imu", float32 `[batch, time, 6]` with any batch; every output float32
    `[batch, config.width(name)]`. A motif distance has the inputs "anchor" and "candidate", and the
    one output "distance" `[batch, 1]`.

    Args:
        tensors: `to_torch_names` of the parameters.
        config: the architecture.
        time: samples of a window; adaptive pooling and the band powers depend on it.
        outputs: of `config.heads`; what none of them needs is left out.
        int8: see `graph.Graph`.

    Raises:
        PrimusError: the package onnx is not installed, or no graph is known for this encoder.
    """
    graph = Graph(tensors, int8)
    if isinstance(config, MotifConfig):
        anchor, candidate = (graph.node("Transpose", name, perm=[0, 2, 1]) for name in PAIR)
        distance = motif_distance(graph, config, anchor, candidate, time)
        return graph.model({DISTANCE: (distance, 1)}, time, f"Motif distance, {config}", PAIR)
    x = graph.node("Transpose", "imu", perm=[0, 2, 1])
    results = {}
    if isinstance(config, MotionConfig):
        readout = motion_trunk(graph, config, x, time)
        results["emb"] = shared = graph.slice(readout, 0, config.embed_dim, 1)
        if set(outputs) - {"emb"}:
            shared = projector(graph, readout)
    elif isinstance(config, ReleasedConfig):
        results["emb"] = shared = released_trunk(graph, config, x, time)
    elif isinstance(config, ResNet1DConfig):
        results["emb"] = shared = resnet1d_trunk(graph, config, x)
    elif isinstance(config, VisionConfig):
        results["emb"] = shared = vision_trunk(graph, config, x, time)
    else:
        raise PrimusError(
            f"an encoder of kind {config.kind!r} has no ONNX graph; expected 'released', 'motion', "
            f"'resnet1d', 'vision' or 'motif'. Export without ONNX, or add its layers to "
            f"export/onnx/encoders.py."
        )
    for head in [name for name in outputs if name != "emb"]:
        results[head] = shared
        if config.head_layers == 2:
            results[head] = graph.gelu(graph.linear(shared, f"{head}_head.0"))
        last = f"{head}_head.2" if config.head_layers == 2 else f"{head}_head"
        results[head] = graph.linear(results[head], last)
    about = f"Inertial encoder, {'int8' if int8 else 'float32'}, {config}"
    chosen = {name: (results[name], config.width(name)) for name in outputs}
    return graph.model(chosen, time, about)


def released_trunk(graph: Graph, config: ReleasedConfig, x: str, time: int) -> str:
    """`[batch, 6, time]` -> `[batch, embed_dim]`."""
    prefix = "backbone" if config.multihead else "net"
    if config.input_norm == "fixed":
        x = graph.node("Div", x, graph.constant(FIXED_SCALE[:, None]))
        x = affine(graph, x, f"{prefix}.0")
    else:
        x = group_norm(graph, x, f"{prefix}.0", config.norm_groups[0])
    for i, kernel in enumerate(KERNELS):
        x = graph.conv(x, f"{prefix}.{i + 1}.net.0", dilations=[2])
        time -= 2 * (kernel - 1)
        if i < 2 or config.third_pool == "max":
            x, time = graph.node("MaxPool", x, kernel_shape=[3], strides=[3]), time // 3
        elif config.readout == "gru_channels" or (
            config.readout == "gru_time" and time > config.bins
        ):
            mean = np.asarray(adaptive_mean(jnp.eye(time)[None], config.bins))[0].T
            x = graph.node("MatMul", x, graph.constant(mean))
        if config.activation == "gelu":
            x = graph.gelu(x)
    x = group_norm(graph, x, f"{prefix}.4", config.norm_groups[1])
    if config.readout == "pool":
        pooled = graph.concat([level_and_spread(graph, x), extremes(graph, x)], 1)
        return graph.linear(pooled, "pool")
    order = [1, 0, 2] if config.readout == "gru_channels" else [2, 0, 1]
    return graph.gru(graph.node("Transpose", x, perm=order), f"{prefix}.5")


def motion_trunk(graph: Graph, config: MotionConfig, x: str, time: int) -> str:
    """`[batch, 6, time]` -> read-out `[batch, readout_size]`."""
    x = graph.node("Div", x, graph.constant(SCALE[:, None]))
    x = graph.concat([x, *orientation_free(graph, x)], 1)
    features = [level_and_spread(graph, x), extremes(graph, x), band_powers(graph, x, time)]
    ends = []
    h = graph.conv(x, "trunk.stem", pads=[3, 3], strides=[2])
    for stage in range(len(stage_widths(config.channels))):
        if stage:
            h = graph.conv(graph.gelu(h), f"trunk.down{stage}", pads=[1, 1], strides=[2])
        for block in range(config.blocks):
            name = f"trunk.block{stage}{block}"
            scale = graph.constant(graph.weight(f"{name}_norm.weight")[:, None])
            y = graph.node("Mul", unit_rms(graph, h), scale)
            y = graph.gelu(graph.conv(y, f"{name}_conv0", pads=[2, 2]))
            h = graph.node("Add", h, graph.conv(y, f"{name}_conv1", pads=[2, 2]))
        active = graph.gelu(h)
        features.append(level_and_spread(graph, active))
        ends.append(extremes(graph, active))
    joined = graph.concat(features + ends, 1)
    scale = graph.constant(graph.weight("trunk.feature_norm.weight"))
    return unit_rms(graph, graph.node("Mul", joined, scale))


def projector(graph: Graph, readout: str) -> str:
    """Read-out -> what the heads see."""
    hidden = graph.gelu(graph.linear(readout, "projector.hidden"))
    parts = (graph.linear(hidden, "projector.out"), graph.linear(readout, "projector.skip"))
    statistics = graph.slice(readout, 0, STATISTICS, 1)
    return graph.concat([graph.node("Add", *parts), statistics], 1)


def affine(graph: Graph, x: str, name: str) -> str:
    """A scale and an offset per channel of `[batch, channels, time]`."""
    scale = graph.constant(graph.weight(f"{name}.weight")[:, None])
    bias = graph.constant(graph.weight(f"{name}.bias")[:, None])
    return graph.node("Add", graph.node("Mul", x, scale), bias)


def group_norm(graph: Graph, x: str, name: str, groups: int) -> str:
    """As `layers.GroupNorm`: moments about the first step, pooled from those of each channel."""
    channels = len(graph.weight(f"{name}.weight"))
    split, joined = graph.integers(0, groups, -1), graph.integers(0, channels, 1)
    ones = graph.constant(np.ones((channels // groups,)))
    first = graph.slice(x, 0, 1, 2)
    mean = graph.node("Add", first, graph.mean(graph.node("Sub", x, first), 2))
    variance = graph.mean(graph.square(graph.node("Sub", x, mean)), 2)
    means, variances = (graph.node("Reshape", v, split) for v in (mean, variance))
    centre = graph.mean(means, 2)
    apart = graph.square(graph.node("Sub", means, centre))
    spread = graph.root(graph.mean(graph.node("Add", variances, apart), 2), 1e-5)
    centre, spread = (
        graph.node("Reshape", graph.node("Mul", v, ones), joined) for v in (centre, spread)
    )
    return affine(graph, graph.node("Div", graph.node("Sub", x, centre), spread), name)


def unit_rms(graph: Graph, x: str) -> str:
    """Divide by the root mean square over axis 1."""
    return graph.node("Div", x, graph.root(graph.mean(graph.square(x), 1), 1e-3))


def orientation_free(graph: Graph, x: str) -> list[str]:
    """Per sensor: magnitude, part along gravity, magnitude of the rest; each `[b, 1, time]`."""
    axis = graph.integers(1)

    def length(vector: str) -> str:
        return graph.root(graph.node("ReduceSum", graph.square(vector), axis), 1e-6)

    sensors = [graph.slice(x, 0, 3, 1), graph.slice(x, 3, 6, 1)]
    up = graph.mean(sensors[0], 2)
    up = graph.node("Div", up, length(up))
    parts = []
    for vector in sensors:
        along = graph.node("ReduceSum", graph.node("Mul", vector, up), axis)
        across = graph.node("Sub", vector, graph.node("Mul", along, up))
        parts += [length(vector), along, length(across)]
    return parts


def level_and_spread(graph: Graph, x: str) -> str:
    """Mean and standard deviation over time: `[batch, c, time]` -> `[batch, 2 c]`."""
    mean = graph.mean(x, 2)
    variance = graph.mean(graph.square(graph.node("Sub", x, mean)), 2)
    both = graph.concat([mean, graph.root(variance, DEVIATION_EPSILON)], 1)
    return graph.node("Squeeze", both, graph.integers(2))


def extremes(graph: Graph, x: str) -> str:
    """Maximum and minimum over time: `[batch, c, time]` -> `[batch, 2 c]`."""
    parts = [graph.node(op, x, axes=[2], keepdims=0) for op in ("ReduceMax", "ReduceMin")]
    return graph.concat(parts, 1)


def band_powers(graph: Graph, x: str, time: int) -> str:
    """A quarter of the log power in every band: `[batch, c, time]` -> `[batch, c * BANDS]`."""
    transform, bands = band_matrices(time)
    frequencies = len(bands)
    parts = graph.node("MatMul", graph.node("Sub", x, graph.mean(x, 2)), graph.constant(transform))
    squares = graph.square(parts)
    power = graph.node(
        "Add",
        graph.slice(squares, 0, frequencies, 2),
        graph.slice(squares, frequencies, 2 * frequencies, 2),
    )
    power = graph.node("MatMul", power, graph.constant(bands))
    logarithm = graph.node("Log", graph.node("Add", power, graph.constant(1e-4)))
    quarter = graph.node("Div", logarithm, graph.constant(4))
    return graph.node("Reshape", quarter, graph.integers(0, MOTION_CHANNELS * BANDS))
