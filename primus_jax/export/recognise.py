"""Which encoder a file holds: from the names and shapes of its tensors alone.

Frameworks put prefixes before the names (`module.`, `imu_encoder.`, `model.`); whatever stands
before the first convolution is taken for one, and what does not have it belongs to something else.
"""

from collections.abc import Collection, Mapping

import jax.numpy as jnp
import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.export.layout import Table, layout
from primus_jax.models.imu_encoder import HEADS, EncoderConfig
from primus_jax.models.motion import embedding_size

Shapes = Mapping[str, tuple[int, ...]]
# The first convolution: of PRIMUS, of IMU2CLIP, of the motion trunk.
ANCHORS = ("backbone.1.net.0.weight", "net.1.net.0.weight", "trunk.stem.weight")
# A Lightning module may hold copies of the encoder; this is the name of the trained one.
PREFERRED = "imu_encoder."
MOST_LISTED = 12


def recognise(
    shapes: Shapes, config: EncoderConfig | None = None, prefix: str | None = None
) -> tuple[EncoderConfig, dict[str, str]]:
    """Names and shapes of a state dict -> (architecture, our names for PyTorch -> theirs).

    Sizes, heads and their layers, single- or multi-head and the trunk come from names and shapes.
    What these cannot tell is as released: GroupNorm input, no activation, GRU over channels,
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
    inner = {n.removeprefix(prefix): s for n, s in shapes.items() if n.startswith(prefix)}
    theirs = next((anchor.split(".")[0] for anchor in ANCHORS if anchor in inner), None)
    if theirs is None:
        raise PrimusError(f"no IMU encoder under the prefix {prefix!r}; {_found(shapes)}")
    config = guess(inner, theirs) if config is None else config
    config.validate()
    ours = theirs
    if theirs != "trunk" and config.trunk != "motion":
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
        raise PrimusError(
            f"it holds {len(chosen)} IMU encoders, under the prefixes "
            f"{', '.join(map(repr, chosen[:MOST_LISTED]))}. Say which one by prefix (--prefix)."
        )
    return chosen[0]


def guess(shapes: Shapes, first: str) -> EncoderConfig:
    """The architecture with tensors of these shapes, whose trunk's names begin with `first`."""
    multihead = any(name.startswith(f"{head}_head.") for name in shapes for head in HEADS)
    layers = 2 if any(f"{head}_head.2.weight" in shapes for head in HEADS) else 1
    lasts = [f"{head}_head.2.weight" if layers == 2 else f"{head}_head.weight" for head in HEADS]
    # Equal to embed_dim it is not said, so that the architecture equals the one that was trained.
    head_dim = next((shapes[name][0] for name in lasts if shapes.get(name)), 0)
    if first == "trunk":
        channels = max(_axis(shapes, "trunk.stem.weight", 0), 1)
        blocks = 0
        while f"trunk.block0{blocks}_norm.weight" in shapes:
            blocks += 1
        return EncoderConfig(
            trunk="motion",
            channels=channels,
            embed_dim=embedding_size(channels),
            multihead=multihead,
            blocks=max(blocks, 1),
            head_layers=layers,
            head_dim=0 if head_dim == embedding_size(channels) else head_dim,
        )
    pooled = "pool.weight" in shapes
    readout = "pool.weight" if pooled else f"{first}.5.weight_ih_l0"
    size = _axis(shapes, readout, 0) // (1 if pooled else 3)
    return EncoderConfig(
        readout="pool" if pooled else "gru_channels",
        third_pool="adaptive" if first == "backbone" else "max",
        bins=EncoderConfig.bins if pooled else _axis(shapes, readout, 1),
        channels=_axis(shapes, f"{first}.1.net.0.weight", 0),
        embed_dim=size,
        multihead=multihead,
        head_layers=layers,
        head_dim=0 if head_dim == size else head_dim,
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


def _axis(shapes: Shapes, name: str, axis: int) -> int:
    """Length of one axis; 1 where there is no such tensor or axis, which is reported later."""
    shape = shapes.get(name, ())
    return shape[axis] if len(shape) > axis else 1


def _shape_faults(shapes: Shapes, table: Table) -> dict[str, list[str]]:
    return {
        "missing": [f"{n} {list(shape)}" for n, (_, shape) in table.items() if n not in shapes],
        "of the wrong shape": [
            f"{name} {list(shape)} instead of {list(table[name][1])}"
            for name, shape in shapes.items()
            if name in table and shape != table[name][1]
        ],
        "unexpected": [f"{n} {list(shape)}" for n, shape in shapes.items() if n not in table],
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
    listed = ", ".join(list(names)[:8]) or "nothing"
    return (
        f"found {listed}; expected backbone.1.net.0.weight (PRIMUS), net.1.net.0.weight "
        f"(IMU2CLIP) or trunk.stem.weight (motion), with or without a prefix."
    )
