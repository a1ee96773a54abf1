"""Names and layouts of the encoder's weights in PyTorch, both ways, without PyTorch.

With `multihead` the names are those of the released PRIMUS encoder; without, the prefix is `net`
in place of `backbone`, as in IMU2CLIP.

| PyTorch name                    | layout there                | here, every axis reversed |
|---------------------------------|-----------------------------|---------------------------|
| backbone.0.weight, .bias        | [6]                         | norm0/scale, bias         |
| backbone.{1,2,3}.net.0.weight   | [out, in, kernel]           | conv{1,2,3}/kernel        |
| backbone.4.weight, .bias        | [channels]                  | norm1/scale, bias         |
| backbone.5.weight_ih_l0, _hh_l0 | [3 embed, in] (rows r, z, n)| gru/w_ih, w_hh            |
| backbone.5.bias_ih_l0, _hh_l0   | [3 embed]                   | gru/b_ih, b_hh            |
| pool.weight, .bias              | [embed, 4 channels]         | pool/kernel, bias         |
| ssl_head.weight, .bias          | [embed, embed]              | ssl_head/kernel, bias     |
| mmcl_head.weight, .bias         | [embed, embed]              | mmcl_head/kernel, bias    |

With `head_layers=2` a head is Sequential(Linear, GELU, Linear): ssl_head.0.*, ssl_head.2.* are
ssl_head0/*, ssl_head/* here. With `trunk="motion"` the trunk's names are its paths joined by dots,
`weight` in place of kernel and scale: trunk/stem/kernel is trunk.stem.weight [out, in, kernel].

`pool` stands in place of `backbone.5` for `readout="pool"`; its input is the mean, the standard
deviation sqrt(variance + 1e-5), the maximum and the minimum over time, in this order. With
`input_norm="fixed"`, `backbone.0` is no GroupNorm but x / (9.80665, 2.0) * weight + bias, the two
numbers for the three channels of each sensor. "gru_time" transposes before the GRU, "gelu" adds no
tensor. So the names alone do not tell architectures apart: the export folder says which it is.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from primus_jax.errors import PrimusError
from primus_jax.models.imu_encoder import HEADS, KERNELS, EncoderConfig
from primus_jax.models.motion import CHANNELS, STATISTICS, readout_size, stage_widths

Params = dict[str, Any]


Table = dict[str, tuple[tuple[str, ...], tuple[int, ...]]]


def layout(config: EncoderConfig) -> Table:
    """PyTorch name -> (path in our parameters, shape in PyTorch), in PyTorch's order."""
    table = motion_layout(config) if config.trunk == "motion" else released_layout(config)
    linear, width = {}, config.embed_dim
    for head in HEADS if config.multihead else ():
        if config.head_layers == 2:
            linear |= {f"{head}_head.0": f"{head}_head0", f"{head}_head.2": f"{head}_head"}
        else:
            linear[f"{head}_head"] = f"{head}_head"
    for name, module in linear.items():
        table[f"{name}.weight"] = ((module, "kernel"), (width, width))
        table[f"{name}.bias"] = ((module, "bias"), (width,))
    return table


def motion_layout(config: EncoderConfig) -> Table:
    """The rows of the motion trunk."""
    width, embed = config.channels, config.embed_dim
    widths, size = stage_widths(width), readout_size(width)
    shapes = {"stem": (width, CHANNELS, 7)}
    for stage, (before, after) in enumerate(zip((width, *widths), widths, strict=False)):
        if stage:
            shapes[f"down{stage}"] = (after, before, 3)
        for block in range(config.blocks):
            shapes[f"block{stage}{block}_norm"] = (after,)
            shapes[f"block{stage}{block}_conv0"] = (after, after, 5)
            shapes[f"block{stage}{block}_conv1"] = (after, after, 5)
    shapes["feature_norm"] = (size,)
    modules = {("trunk", name): shape for name, shape in shapes.items()}
    if config.multihead:
        learned = embed - STATISTICS
        modules |= {
            ("projector", "hidden"): (embed, size),
            ("projector", "out"): (learned, embed),
            ("projector", "skip"): (learned, size),
        }
    table: Table = {}
    for path, shape in modules.items():
        kernel, name = "kernel" if len(shape) > 1 else "scale", ".".join(path)
        table[f"{name}.weight"] = ((*path, kernel), shape)
        if len(shape) > 1:
            table[f"{name}.bias"] = ((*path, "bias"), shape[:1])
    return table


def released_layout(config: EncoderConfig) -> Table:
    """The rows of the released trunk and its read-outs."""
    prefix = "backbone" if config.multihead else "net"
    channels, embed = config.channels, config.embed_dim
    table = {
        f"{prefix}.0.weight": (("norm0", "scale"), (6,)),
        f"{prefix}.0.bias": (("norm0", "bias"), (6,)),
    }
    for i, kernel in enumerate(KERNELS):
        shape = (channels, channels if i else 6, kernel)
        table[f"{prefix}.{i + 1}.net.0.weight"] = ((f"conv{i + 1}", "kernel"), shape)
    table[f"{prefix}.4.weight"] = (("norm1", "scale"), (channels,))
    table[f"{prefix}.4.bias"] = (("norm1", "bias"), (channels,))
    if config.readout == "pool":
        table["pool.weight"] = (("pool", "kernel"), (embed, 4 * channels))
        table["pool.bias"] = (("pool", "bias"), (embed,))
    else:
        features = config.bins if config.readout == "gru_channels" else channels
        table[f"{prefix}.5.weight_ih_l0"] = (("gru", "w_ih"), (3 * embed, features))
        table[f"{prefix}.5.weight_hh_l0"] = (("gru", "w_hh"), (3 * embed, embed))
        table[f"{prefix}.5.bias_ih_l0"] = (("gru", "b_ih"), (3 * embed,))
        table[f"{prefix}.5.bias_hh_l0"] = (("gru", "b_hh"), (3 * embed,))
    return table


def to_torch_names(params: Params, config: EncoderConfig) -> dict[str, np.ndarray]:
    """Encoder parameters (the tree inside "params") -> float32 arrays by PyTorch name.

    Raises:
        PrimusError: the parameters are not those of `config`.
    """
    table = layout(config)
    ours = flatten_dict(params)
    tensors = {
        torch_name: np.ascontiguousarray(np.asarray(ours[path], np.float32).T)
        for torch_name, (path, _) in table.items()
        if path in ours
    }
    extra = {"/".join(path): ours[path] for path in ours.keys() - {p for p, _ in table.values()}}
    check_tensors(tensors | extra, config)
    return tensors


def from_torch_names(
    tensors: Mapping[str, np.ndarray], config: EncoderConfig | None = None
) -> tuple[Params, EncoderConfig]:
    """Arrays by PyTorch name -> (encoder parameters, float32; config).

    Args:
        tensors: a whole state dict of the encoder, nothing missing or extra.
        config: the architecture; None recognises it as `recognise` does.

    Raises:
        PrimusError: missing, unexpected, wrongly shaped or non-finite tensors, all of them listed.
    """
    config = recognise(tensors) if config is None else config
    config.validate()
    check_tensors(tensors, config)
    params = {
        path: np.ascontiguousarray(np.asarray(tensors[torch_name], np.float32).T)
        for torch_name, (path, _) in layout(config).items()
    }
    return unflatten_dict(params), config


def recognise(tensors: Mapping[str, np.ndarray]) -> EncoderConfig:
    """The released architecture with these names: PRIMUS (`backbone.*`) or IMU2CLIP (`net.*`).

    Sizes are read from the shapes; what shapes cannot tell is as released: GroupNorm input, no
    activation, GRU over channels, adaptive pooling in PRIMUS and max-pooling in IMU2CLIP.

    Raises:
        PrimusError: the names belong to neither.
    """
    multihead = "backbone.1.net.0.weight" in tensors
    prefix = "backbone" if multihead else "net"
    shapes = {name: np.shape(value) for name, value in tensors.items()}
    conv = shapes.get(f"{prefix}.1.net.0.weight", ())
    gru = shapes.get(f"{prefix}.5.weight_ih_l0", ())
    pool = shapes.get("pool.weight", ())
    readout = gru or pool
    if len(conv) != 3 or len(readout) != 2:
        found = ", ".join(list(shapes)[:8]) or "nothing"
        raise PrimusError(
            f"not the weights of an IMU encoder: found {found}; expected backbone.1.net.0.weight "
            f"and backbone.5.weight_ih_l0 (PRIMUS), or the same with net. (IMU2CLIP)."
        )
    return EncoderConfig(
        readout="gru_channels" if gru else "pool",
        third_pool="adaptive" if multihead else "max",
        bins=gru[1] if gru else EncoderConfig.bins,
        channels=conv[0],
        embed_dim=gru[0] // 3 if gru else pool[0],
        multihead=multihead,
    )


def check_tensors(tensors: Mapping[str, np.ndarray], config: EncoderConfig) -> None:
    """Raise PrimusError, listing every fault, unless `tensors` are exactly those of `config`."""
    table = layout(config)
    faults = [f"missing {name} {list(shape)}" for name, (_, shape) in table.items()
              if name not in tensors]  # fmt: skip
    for name, value in tensors.items():
        value = np.asarray(value)
        if name not in table:
            faults.append(f"unexpected {name} {list(value.shape)}")
        elif value.shape != table[name][1]:
            expected = list(table[name][1])
            faults.append(f"{name} has shape {list(value.shape)}, expected {expected}")
        elif not jnp.issubdtype(value.dtype, jnp.floating):
            faults.append(f"{name} has dtype {value.dtype}, expected floating point")
        elif not np.isfinite(value.astype(np.float32)).all():
            faults.append(f"{name} holds NaN or infinity")
    if faults:
        raise PrimusError("these are not the weights of this encoder: " + "; ".join(faults) + ".")
