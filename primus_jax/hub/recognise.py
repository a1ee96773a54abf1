"""Which encoder a file holds: from the names and shapes of its tensors alone.

Frameworks put prefixes before the names (`module.`, `imu_encoder.`, `model.`); whatever stands
before the first convolution is taken for one, and what does not have it belongs to something else.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import jax.numpy as jnp
import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.hub.layout import Table, layout
from primus_jax.models.base import HEADS, EncoderConfig
from primus_jax.models.motif import MotifConfig
from primus_jax.models.motion import MotionConfig, embedding_size
from primus_jax.models.released import ReleasedConfig
from primus_jax.models.resnet1d import ResNet1DConfig
from primus_jax.models.vision.encoder import VisionConfig
from primus_jax.weights.printable import shown

Shapes = Mapping[str, tuple[int, ...]]
# The first convolution: of PRIMUS, of IMU2CLIP, of the motion trunk, of the vision encoder, of
# RelCon's distance and of its encoder.
ANCHORS = (
    "backbone.1.net.0.weight",
    "net.1.net.0.weight",
    "trunk.stem.weight",
    "vision.conv1.weight",
    "q_func.layer0.dilated_conv.weight",
    "first_block_conv.weight",
)
# PyTorch counts the batches that a normalisation has seen, and nothing here asks for the number.
NOT_READ = ".num_batches_tracked"
# A Lightning module may hold copies of the encoder; this is the name of the trained one.
PREFERRED = "imu_encoder."
MOST_LISTED = 12


def recognise(
    shapes: Shapes, config: EncoderConfig | None = None, prefix: str | None = None
) -> tuple[EncoderConfig, dict[str, str]]:
    """Names and shapes of a state dict -> (architecture, our names for PyTorch -> theirs).

    Kind, sizes, heads and their layers come from names and shapes.
    What these cannot tell is as released: group normalisation, no activation, GRU over channels,
    adaptive pooling in PRIMUS (`backbone.*`) and max-pooling in IMU2CLIP (`net.*`).

    Args:
        shapes: of every tensor, by name.
        config: the architecture, if it is known.
        prefix: what stands before the encoder's names; None finds it.

    Raises:
        PrimusError: no encoder, several, or tensors that are missing, unexpected or wrongly shaped
            under the prefix: all of them listed.
    """
    prefix = find_prefix(shapes) if prefix is None else prefix
    inner = {
        name.removeprefix(prefix): shape
        for name, shape in shapes.items()
        if name.startswith(prefix) and not name.endswith(NOT_READ)
    }
    trunks = [anchor.split(".")[0] for anchor in ANCHORS if anchor in inner]
    if not trunks:
        raise PrimusError(f"no IMU encoder under the prefix '{shown(prefix)}'; {_found(shapes)}")
    if len(trunks) > 1:
        raise PrimusError(
            f"it holds {len(trunks)} IMU encoders, {' and '.join(f'{t}.*' for t in trunks)}, under "
            f"one prefix, '{shown(prefix)}'. Say which one: write it to a file of its own."
        )
    [theirs] = trunks
    config = guess(inner, theirs) if config is None else config
    config.validate()
    ours = theirs
    if theirs in ("backbone", "net") and config.kind == "released":
        # A single-head PRIMUS or a multi-head IMU2CLIP: the same tensors under the other name.
        ours = "backbone" if config.multihead else "net"
    names = {}
    for name in inner:
        first, dot, rest = name.partition(".")
        names[f"{ours}{dot}{rest}" if first == theirs else name] = f"{prefix}{name}"
    check_shapes({ours: shapes[name] for ours, name in names.items()}, layout(config))
    return config, names


def find_prefix(names: Collection[str]) -> str:
    """What stands before the names of the one encoder among `names`."""
    prefixes = {
        name.removesuffix(anchor)
        for name in names
        for anchor in ANCHORS
        if f".{name}".endswith(f".{anchor}")
    }
    preferred = {prefix for prefix in prefixes if f".{prefix}".endswith(f".{PREFERRED}")}
    chosen = sorted(preferred or prefixes)
    if not chosen:
        raise PrimusError(f"not the weights of an IMU encoder; {_found(names)}")
    if len(chosen) > 1:
        listed = [f"'{shown(prefix)}'" for prefix in chosen[:MOST_LISTED]]
        raise PrimusError(
            f"it holds {len(chosen)} IMU encoders, under the prefixes "
            f"{', '.join(listed)}. Say which one by prefix (--prefix)."
        )
    return chosen[0]


def guess(shapes: Shapes, first: str) -> EncoderConfig:
    """The architecture with tensors of these shapes, whose trunk's names begin with `first`."""
    multihead = any(name.startswith(f"{head}_head.") for name in shapes for head in HEADS)
    layers = 2 if any(f"{head}_head.2.weight" in shapes for head in HEADS) else 1
    lasts = [f"{head}_head.2.weight" if layers == 2 else f"{head}_head.weight" for head in HEADS]
    # Where tensors disagree, most of them are right, so that a damaged one is named by its shape.
    wide = [(name, 0) for name in lasts] + [(name.replace("weight", "bias"), 0) for name in lasts]
    if first == "trunk":
        stem = ("trunk.stem.weight", "trunk.stem.bias", "trunk.block00_norm.weight")
        channels = _most(_lengths(shapes, [(name, 0) for name in stem]), MotionConfig.channels)
        blocks = 0
        while f"trunk.block0{blocks}_norm.weight" in shapes:
            blocks += 1
        size = embedding_size(channels)
        return MotionConfig(
            channels=channels,
            multihead=multihead,
            blocks=max(blocks, 1),
            head_layers=layers,
            head_dim=_head_dim(shapes, wide, size),
        )
    if first == "vision":
        kernel = shapes["vision.conv1.weight"]
        found = VisionConfig(
            depth=50 if "vision.layer1.0.conv3.weight" in shapes else 18,
            channels=_most(_lengths(shapes, [("vision.conv1.weight", 0)]), VisionConfig.channels),
            gyroscope="channels" if kernel[1:2] == (6,) else "none",
            multihead=multihead,
            head_layers=layers,
        )
        found.head_dim = _head_dim(shapes, wide, found.embed_dim)
        return found
    if first == "q_func":
        return guess_motif(shapes)
    if first == "first_block_conv":
        return guess_resnet1d(shapes)
    pooled = "pool.weight" in shapes
    gru = f"{first}.5"
    convolutions = [(f"{first}.{i}.net.0.weight", 0) for i in (1, 2, 3)]
    norms = [(f"{first}.4.weight", 0), (f"{first}.4.bias", 0)]
    if pooled:
        sizes = _lengths(shapes, [("pool.weight", 0), ("pool.bias", 0)])
    else:
        rows = [(f"{gru}.{n}_l0", 0) for n in ("weight_hh", "weight_ih", "bias_ih", "bias_hh")]
        sizes = [rows // 3 for rows in _lengths(shapes, rows) if rows % 3 == 0]
    sizes += _lengths(shapes, [(name, 1) for name in lasts])
    size = _most(sizes, ReleasedConfig.embed_dim)
    steps = shapes.get(f"{gru}.weight_ih_l0", ())
    fits = not pooled and len(steps) == 2 and steps[0] == 3 * size and steps[1] > 0
    return ReleasedConfig(
        readout="pool" if pooled else "gru_channels",
        third_pool="adaptive" if first == "backbone" else "max",
        bins=steps[1] if fits else ReleasedConfig.bins,
        channels=_most(_lengths(shapes, convolutions + norms), ReleasedConfig.channels),
        embed_dim=size,
        multihead=multihead,
        head_layers=layers,
        head_dim=_head_dim(shapes, wide, size),
    )


def guess_motif(shapes: Shapes) -> MotifConfig:
    """The motif distance with tensors of these shapes; it attends as the released one."""
    blocks = 1
    while f"q_func.layers.{blocks}.bottle.weight" in shapes:
        blocks += 1
    first = "q_func.layer0.dilated_conv"
    wide = [(f"{first}.weight", 0), (f"{first}.bias", 0), ("out_proj.weight", 1)]
    channels = _lengths(shapes, [(f"{first}.weight", 1), ("out_proj.bias", 0)])
    return MotifConfig(
        features=_most(_lengths(shapes, wide), MotifConfig.features),
        blocks=blocks,
        attention="released",
        channels=_most(channels, MotifConfig.channels),
    )


def guess_resnet1d(shapes: Shapes) -> ResNet1DConfig:
    """The ResNet1D with tensors of these shapes."""
    width1, width2, width3 = (
        _most(_lengths(shapes, [(f"basicblock_list.{block}.conv2.bias", 0)]), width)
        for block, width in zip((0, 3, 7), ResNet1DConfig().widths, strict=True)
    )
    channels = _lengths(shapes, [("first_block_conv.weight", 1)])
    return ResNet1DConfig(
        width1=width1,
        width2=width2,
        width3=width3,
        channels=_most(channels, ResNet1DConfig.channels),
    )


def check_shapes(shapes: Shapes, table: Table) -> None:
    """Raise PrimusError, listing every fault, unless these are the names and shapes of `table`."""
    _refuse(_shape_faults(shapes, table))


def check_tensors(tensors: Mapping[str, np.ndarray], table: Table) -> None:
    """Raise PrimusError, listing every fault, unless these are finite tensors of `table`."""
    arrays = {name: np.asarray(value) for name, value in tensors.items()}
    faults = _shape_faults({name: value.shape for name, value in arrays.items()}, table)
    for name, value in arrays.items():
        if name not in table or value.shape != table[name][1]:
            continue
        if not jnp.issubdtype(value.dtype, jnp.floating):
            faults.setdefault("not floating point", []).append(f"{name} {value.dtype}")
        elif not np.isfinite(value.astype(np.float32)).all():
            faults.setdefault("holding NaN or infinity", []).append(name)
    _refuse(faults)


def _lengths(shapes: Shapes, axes: Iterable[tuple[str, int]]) -> list[int]:
    """Lengths of these axes of named tensors, of those that there are."""
    found = ((shapes.get(name, ()), axis) for name, axis in axes)
    return [shape[axis] for shape, axis in found if len(shape) > axis and shape[axis] > 0]


def _most(lengths: list[int], otherwise: int) -> int:
    """The most frequent length, the first of equally frequent ones."""
    return Counter(lengths).most_common(1)[0][0] if lengths else otherwise


def _head_dim(shapes: Shapes, axes: Iterable[tuple[str, int]], embed_dim: int) -> int:
    """Width of the heads; 0, not said, if it is `embed_dim`: as the trained architecture said."""
    width = _most(_lengths(shapes, axes), embed_dim)
    return 0 if width == embed_dim else width


def _shape_faults(shapes: Shapes, table: Table) -> dict[str, list[str]]:
    return {
        "missing": [f"{n} {list(shape)}" for n, (_, shape) in table.items() if n not in shapes],
        "of the wrong shape": [
            f"{name} {shown(str(list(shape)))} instead of {list(table[name][1])}"
            for name, shape in shapes.items()
            if name in table and shape != table[name][1]
        ],
        "unexpected": [
            f"{shown(name)} {shown(str(list(shape)))}"
            for name, shape in shapes.items()
            if name not in table
        ],
    }


def _refuse(faults: dict[str, list[str]]) -> None:
    parts = []
    for kind, names in faults.items():
        more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
        if names:
            parts.append(f"{kind}: {', '.join(names[:MOST_LISTED])}{more}")
    if parts:
        raise PrimusError(f"these are not the weights of this encoder: {'; '.join(parts)}.")


def _found(names: Collection[str]) -> str:
    listed = ", ".join(map(shown, list(names)[:8])) or "nothing"
    return (
        f"found {listed}; expected backbone.1.net.0.weight (PRIMUS), net.1.net.0.weight "
        f"(IMU2CLIP), trunk.stem.weight (motion), vision.conv1.weight, first_block_conv.weight or "
        f"q_func.layer0.* (RelCon), with or without a prefix."
    )
