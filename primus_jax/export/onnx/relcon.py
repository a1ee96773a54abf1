"""RelCon's networks as ONNX graphs, layer by layer as `models/resnet1d.py` and `models/motif.py`.

Inside, `[batch, channels, time]`, as ONNX convolves.
"""

import math

import numpy as np

from primus_jax.export.onnx.graph import Graph
from primus_jax.models.batch_norm import EPSILON, RUNNING
from primus_jax.models.motif import EPSILON as MOTIF_EPSILON
from primus_jax.models.motif import KERNEL, MotifConfig, border_gain
from primus_jax.models.resnet1d import STAGES, ResNet1DConfig


def resnet1d_trunk(graph: Graph, config: ResNet1DConfig, x: str) -> str:
    """`[batch, 6, time]` -> `[batch, embed_dim]`, by the running statistics."""
    x = graph.conv(graph.slice(x, 0, config.channels, 1), "first_block_conv", strides=[2])
    x = graph.node("Relu", batch_norm(graph, x, "first_block_bn"))
    x = graph.node("MaxPool", x, kernel_shape=[3], strides=[2])
    before, number = config.width1, 0
    for width, (kernel, blocks) in zip(config.widths, STAGES, strict=True):
        # An even kernel reaches further right.
        pads = [(kernel - 1) // 2, kernel // 2]
        for _ in range(blocks):
            name, y = f"basicblock_list.{number}", x
            for half in (1, 2):
                y = graph.node("Relu", batch_norm(graph, y, f"{name}.bn{half}"))
                y = graph.conv(y, f"{name}.conv{half}", pads=pads)
            x = x if before == width else graph.conv(x, f"{name}.projection_conv")
            x, before, number = graph.node("Add", y, x), width, number + 1
    return graph.node("ReduceMean", x, axes=[2], keepdims=0)


def batch_norm(graph: Graph, x: str, name: str) -> str:
    """As `batch_norm.BatchNorm` in evaluation."""
    parts = [graph.constant(graph.weight(f"{name}.{n}")) for n in ("weight", "bias", *RUNNING)]
    return graph.node("BatchNormalization", x, *parts, epsilon=EPSILON)


def motif_distance(
    graph: Graph, config: MotifConfig, anchor: str, candidate: str, time: int
) -> str:
    """Anchors and candidates `[batch, 6, time]` -> distances `[batch, 1]`."""
    anchor, candidate = (graph.slice(x, 0, config.channels, 1) for x in (anchor, candidate))
    mean, deviation = statistics(graph, candidate)
    scale = graph.constant(graph.weight("revin.affine_weight")[:, None])
    offset = graph.constant(graph.weight("revin.affine_bias")[:, None])

    def normalised(x: str) -> str:
        x = graph.node("Div", graph.node("Sub", x, mean), deviation)
        return graph.node("Add", graph.node("Mul", x, scale), offset)

    query = stack(graph, config, normalised(anchor), "q_func", time)
    key, value = (
        stack(graph, config, normalised(candidate), name, time) for name in ("k_func", "v_func")
    )
    scores = graph.node("MatMul", graph.node("Transpose", query, perm=[0, 2, 1]), key)
    scores = graph.node("Div", scores, graph.constant(math.sqrt(config.features)))
    if config.attend(training=False) == "sparsemax":
        weights = sparsemax(graph, scores, time)
    else:
        weights = graph.node("Softmax", scores, axis=-1)
    told = graph.node("MatMul", value, graph.node("Transpose", weights, perm=[0, 2, 1]))
    out = graph.node("MatMul", graph.constant(graph.weight("out_proj.weight")), told)
    out = graph.node("Add", out, graph.constant(graph.weight("out_proj.bias")[:, None]))
    gain = graph.constant(graph.weight("revin.affine_weight")[:, None] + MOTIF_EPSILON**2)
    out = graph.node("Div", graph.node("Sub", out, offset), gain)
    rebuilt = graph.node("Add", graph.node("Mul", out, deviation), mean)
    error = graph.square(graph.node("Sub", rebuilt, anchor))
    total = graph.node("ReduceSum", error, graph.integers(1, 2))
    return graph.node("Reshape", total, graph.integers(-1, 1))


def stack(graph: Graph, config: MotifConfig, x: str, name: str, time: int) -> str:
    """As `motif.Stack`: `[batch, channels, time]` -> `[batch, features, time]`."""
    first, half = f"{name}.layer0.dilated_conv", KERNEL // 2
    x = graph.node("Conv", x, graph.stored(graph.weight(f"{first}.weight")), pads=[half, half])
    x = graph.node("Mul", x, graph.constant(border_gain(time, config.channels).T))
    x = graph.node("Add", x, graph.constant(graph.weight(f"{first}.bias")[:, None]))
    x = instance_norm(graph, graph.gelu(x))
    for block in range(config.blocks):
        reach = half * 2**block
        y = graph.conv(x, f"{name}.layers.{block}.bottle")
        y = graph.conv(
            y, f"{name}.layers.{block}.dilated_conv", pads=[reach, reach], dilations=[2**block]
        )
        x = instance_norm(graph, graph.gelu(graph.node("Add", y, x)))
    return x


def statistics(graph: Graph, x: str) -> tuple[str, str]:
    """Mean and deviation of every channel over time, `[batch, channels, 1]`."""
    mean = graph.mean(x, 2)
    variance = graph.mean(graph.square(graph.node("Sub", x, mean)), 2)
    return mean, graph.root(variance, MOTIF_EPSILON)


def instance_norm(graph: Graph, x: str) -> str:
    """As `motif.instance_norm`."""
    mean, deviation = statistics(graph, x)
    return graph.node("Div", graph.node("Sub", x, mean), deviation)


def sparsemax(graph: Graph, scores: str, time: int) -> str:
    """Rows `[..., time]` -> weights, by the sort of Martins and Astudillo (2016), algorithm 1."""
    last = graph.integers(-1)
    relative = graph.node("Sub", scores, graph.node("ReduceMax", scores, axes=[-1]))
    ordered = graph.descending(relative, time)
    sums = graph.node("CumSum", ordered, graph.constant(-1, np.int64))
    places = graph.constant(np.arange(1, time + 1))
    bound = graph.node("Add", graph.node("Mul", ordered, places), graph.constant(1))
    support = graph.node("Cast", graph.node("Greater", bound, sums), to=1)
    total = graph.node("ReduceSum", graph.node("Mul", support, ordered), last)
    count = graph.node("ReduceSum", support, last)
    theta = graph.node("Div", graph.node("Sub", total, graph.constant(1)), count)
    return graph.node("Relu", graph.node("Sub", relative, theta))
