"""Names and shapes of the encoder's weights in PyTorch.

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
| ssl_head.weight, .bias          | [head, embed]               | ssl_head/kernel, bias     |
| mmcl_head.weight, .bias         | [head, embed]               | mmcl_head/kernel, bias    |

With `head_layers=2` a head is Sequential(Linear, GELU, Linear): ssl_head.0.*, ssl_head.2.* are
ssl_head0/*, ssl_head/* here. With kind "motion" the trunk's names are its paths joined by dots,
`weight` in place of kernel and scale: trunk/stem/kernel is trunk.stem.weight [out, in, kernel].

`pool` stands in place of `backbone.5` for `readout="pool"`; its input is the mean, the standard
deviation sqrt(variance + 1e-5), the maximum and the minimum over time, in this order. With
`input_norm="fixed"`, `backbone.0` is no GroupNorm but x / (9.80665, 2.0) * weight + bias, the two
numbers for the three channels of each sensor. `norm` changes no name and no shape. "gru_time"
transposes before the GRU, "gelu" adds no tensor. So the names alone do not tell architectures
apart: the export folder says which it is.

With kind "vision" the names are torchvision's behind `vision.`; height and width of a kernel keep
their order: vision/conv1/kernel is vision.conv1.weight [out, in, height, width].

Kind "motif" has the names of the released distance of RelCon: revin.affine_weight, then for each
of q_func, k_func and v_func layer0.dilated_conv.*, layers.N.bottle.* and layers.N.dilated_conv.*,
then out_proj.*.

Kind "resnet1d" has those of the released encoder of RelCon: first_block_conv.*, first_block_bn.*,
then basicblock_list.N.bn1.*, conv1.*, bn2.*, conv2.* and, where the width changes,
projection_conv.*. PyTorch's num_batches_tracked is not read, and not written.
"""

from collections.abc import Callable
from typing import Any

from primus_jax.models.base import EncoderConfig
from primus_jax.models.batch_norm import RUNNING
from primus_jax.models.motif import BOTTLENECK, KERNEL, MotifConfig
from primus_jax.models.motion import CHANNELS, STATISTICS, MotionConfig, readout_size, stage_widths
from primus_jax.models.released import KERNELS, ReleasedConfig
from primus_jax.models.resnet1d import STAGES, ResNet1DConfig
from primus_jax.models.resnet1d import STEM_KERNEL as STEM_1D
from primus_jax.models.vision.encoder import VisionConfig
from primus_jax.models.vision.resnet import STEM_KERNEL, ResNetConfig

Table = dict[str, tuple[tuple[str, ...], tuple[int, ...]]]


def layout(config: EncoderConfig) -> Table:
    """PyTorch name -> (path in our parameters, shape in PyTorch), in PyTorch's order."""
    table = LAYOUTS[config.kind](config)
    linear, embed = {}, config.embed_dim
    for head in config.heads[1:]:
        last = f"{head}_head"
        if config.head_layers == 2:
            linear[f"{head}_head.0"] = (f"{head}_head0", embed)
            last = f"{head}_head.2"
        linear[last] = (f"{head}_head", config.width(head))
    for name, (module, width) in linear.items():
        table[f"{name}.weight"] = ((module, "kernel"), (width, embed))
        table[f"{name}.bias"] = ((module, "bias"), (width,))
    return table


def motion_layout(config: MotionConfig) -> Table:
    """The rows of the motion trunk."""
    width, embed = config.channels, config.embed_dim
    widths, size = stage_widths(width), readout_size(width)
    shapes: dict[str, tuple[int, ...]] = {"stem": (width, CHANNELS, 7)}
    for stage, (before, after) in enumerate(zip((width, *widths), widths, strict=False)):
        if stage:
            shapes[f"down{stage}"] = (after, before, 3)
        for block in range(config.blocks):
            shapes[f"block{stage}{block}_norm"] = (after,)
            shapes[f"block{stage}{block}_conv0"] = (after, after, 5)
            shapes[f"block{stage}{block}_conv1"] = (after, after, 5)
    shapes["feature_norm"] = (size,)
    modules: dict[tuple[str, ...], tuple[int, ...]] = {
        ("trunk", name): shape for name, shape in shapes.items()
    }
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


def released_layout(config: ReleasedConfig) -> Table:
    """The rows of the released trunk and its read-outs."""
    prefix = "backbone" if config.multihead else "net"
    channels, embed = config.channels, config.embed_dim
    table: Table = {
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


def vision_layout(config: VisionConfig) -> Table:
    """The rows of the vision encoder: those of its ResNet behind `vision`."""
    return {
        f"vision.{name}": (("vision", *path), shape)
        for name, (path, shape) in resnet_layout(config.resnet).items()
    }


def resnet_layout(config: ResNetConfig) -> Table:
    """Return torchvision's name -> (path in our parameters, shape there), in its order."""
    stem = (config.width, config.channels, STEM_KERNEL, STEM_KERNEL)
    table = _conv_and_norm("conv1", "bn1", (), stem)
    before = config.width
    for stage, blocks in enumerate(config.stages):
        width = config.width << stage
        for number in range(blocks):
            shapes = [(width, before, 3, 3), (width, width, 3, 3)]
            if config.bottleneck:
                shapes = [(width, before, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
            name, path = f"layer{stage + 1}.{number}.", (f"layer{stage + 1}_{number}",)
            for layer, shape in enumerate(shapes, 1):
                table |= _conv_and_norm(f"{name}conv{layer}", f"{name}bn{layer}", path, shape)
            after = shapes[-1][0]
            if before != after or (stage and not number):
                side = (after, before, 1, 1)
                table |= _conv_and_norm(f"{name}downsample.0", f"{name}downsample.1", path, side)
            before = after
    if config.classes:
        table["fc.weight"] = (("fc", "kernel"), (config.classes, config.features))
        table["fc.bias"] = (("fc", "bias"), (config.classes,))
    return table


def _conv_and_norm(
    conv: str, norm: str, path: tuple[str, ...], shape: tuple[int, int, int, int]
) -> Table:
    ours = {name: name.split(".", 2)[-1].replace(".", "_") for name in (conv, norm)}
    leaves = {"weight": "scale", "bias": "bias"} | {name: name for name in RUNNING}
    table: Table = {f"{conv}.weight": ((*path, ours[conv], "kernel"), shape)}
    return table | {
        f"{norm}.{name}": ((*path, ours[norm], leaf), shape[:1]) for name, leaf in leaves.items()
    }


def motif_layout(config: MotifConfig) -> Table:
    """The rows of the motif distance."""
    channels, width = config.channels, config.features
    table: Table = {
        f"revin.{name}": (("revin", name), (channels,)) for name in ("affine_weight", "affine_bias")
    }
    narrow = width // BOTTLENECK
    for stack in ("q_func", "k_func", "v_func"):
        first = f"{stack}.layer0.dilated_conv"
        table[f"{first}.weight"] = ((stack, "layer0", "kernel"), (width, channels, KERNEL))
        table[f"{first}.bias"] = ((stack, "layer0_bias"), (width,))
        for block in range(config.blocks):
            for theirs, ours, shape in (
                ("bottle", f"bottle{block}", (narrow, width, 1)),
                ("dilated_conv", f"conv{block}", (width, narrow, KERNEL)),
            ):
                table |= _conv_rows(f"{stack}.layers.{block}.{theirs}", (stack, ours), shape)
    return table | _conv_rows("out_proj", ("out_proj",), (channels, width))


def resnet1d_layout(config: ResNet1DConfig) -> Table:
    """The rows of the ResNet1D trunk, with the running statistics of its normalisations."""
    before = config.width1
    table = _conv_rows("first_block_conv", ("stem",), (before, config.channels, STEM_1D))
    table |= _norm_rows("first_block_bn", ("stem_norm",), before)
    number = 0
    for width, (kernel, blocks) in zip(config.widths, STAGES, strict=True):
        for _ in range(blocks):
            theirs, ours = f"basicblock_list.{number}", f"block{number}"
            for half, channels in ((1, before), (2, width)):
                table |= _norm_rows(f"{theirs}.bn{half}", (ours, f"norm{half}"), channels)
                shape = (width, channels, kernel)
                table |= _conv_rows(f"{theirs}.conv{half}", (ours, f"conv{half}"), shape)
            if before != width:
                name = f"{theirs}.projection_conv"
                table |= _conv_rows(name, (ours, "projection"), (width, before, 1))
            before, number = width, number + 1
    return table


def _conv_rows(name: str, path: tuple[str, ...], shape: tuple[int, ...]) -> Table:
    return {
        f"{name}.weight": ((*path, "kernel"), shape),
        f"{name}.bias": ((*path, "bias"), shape[:1]),
    }


def _norm_rows(name: str, path: tuple[str, ...], channels: int) -> Table:
    leaves = {"weight": "scale", "bias": "bias"} | {n: n for n in RUNNING}
    return {f"{name}.{n}": ((*path, leaf), (channels,)) for n, leaf in leaves.items()}


# Rows of the part below the heads, by kind of encoder.
LAYOUTS: dict[str, Callable[[Any], Table]] = {
    "released": released_layout,
    "motion": motion_layout,
    "vision": vision_layout,
    "motif": motif_layout,
    "resnet1d": resnet1d_layout,
}
