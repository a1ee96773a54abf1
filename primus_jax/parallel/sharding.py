"""The mesh, and how the batch and the train state lie on it.

The batch is split over every axis of the mesh. The state is whole on every device, but for the rows
of `extra` that its objective splits, and with `fsdp` for parameters and optimizer state.
"""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar, Protocol

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from primus_jax.errors import PrimusError
from primus_jax.numerics import vary_like
from primus_jax.trees import Params, Tree

AXIS = "data"
REPLICA = "replica"
# Arrays of fewer values stay whole: to gather them costs more than they weigh.
SMALL = 1 << 14


class Shaped(Protocol):
    """An array, or the shape and dtype of one that does not exist yet."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""

    @property
    def size(self) -> int:
        """How many values."""


@dataclasses.dataclass
class MeshConfig:
    """How the devices are laid out: speed and memory, never meaning.

    Attributes:
        replicas: slices of a pod, joined by a slower network. Above 1 the mesh is
            `("replica", "data")`, one row for each slice, else `("data",)`.
        fsdp: parameters and optimizer state are split over "data" and gathered in the step, for
            encoders that outgrow a chip.
    """

    free: ClassVar[tuple[str, ...]] = ("replicas", "fsdp")

    replicas: int = 1
    fsdp: bool = False

    def validate(self) -> None:
        """Raise PrimusError for values that mean nothing on any machine."""
        if self.replicas < 1:
            raise PrimusError(f"config.mesh.replicas is {self.replicas}; expected at least 1.")


def make_mesh(devices: int = 0, replicas: int = 1) -> Mesh:
    """A mesh over the first `devices` devices of the job; 0 means all of them.

    Raises:
        PrimusError: more devices asked for than there are, fewer than all with many processes, or
            replicas that do not fit the devices.
    """
    available = jax.devices()
    count = devices or len(available)
    if count > len(available) or (count != len(available) and jax.process_count() > 1):
        raise PrimusError(f"config.devices is {devices}; this job has {len(available)} devices.")
    return lay_out(available[:count], replicas)


def lay_out(devices: Sequence[jax.Device], replicas: int = 1) -> Mesh:
    """The mesh over these devices, which may belong to a topology that nobody here owns.

    Raises:
        PrimusError: replicas that do not fit the devices or their slices.
    """
    count = len(devices)
    if count % replicas:
        raise PrimusError(
            f"config.mesh.replicas is {replicas}, which {count} devices cannot be split into. "
            f"Use a divisor of {count}."
        )
    _check_slices(devices, replicas)
    if replicas == 1:
        return jax.make_mesh((count,), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)
    shape, names = (replicas, count // replicas), (REPLICA, AXIS)
    if _slices(devices) > 1:
        grid = mesh_utils.create_hybrid_device_mesh((1, shape[1]), (replicas, 1), devices)
        return Mesh(grid, names, axis_types=(AxisType.Auto,) * 2)
    return jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * 2, devices=devices)


def check_batch(mesh: Mesh, batch_size: int) -> None:
    """Raise PrimusError unless the devices can share a global batch evenly."""
    if batch_size % mesh.size:
        raise PrimusError(
            f"config.data.batch_size {batch_size} does not divide among {mesh.size} devices. "
            f"Use a multiple of {mesh.size}, or another number of devices."
        )


def batch_axes(mesh: Mesh) -> str | tuple[str, ...]:
    """The axes over which the batch is split, as collectives take them: all of the mesh."""
    return mesh.axis_names[0] if len(mesh.axis_names) == 1 else mesh.axis_names


def rows(mesh: Mesh) -> PartitionSpec:
    """First axis split over all devices."""
    return PartitionSpec(batch_axes(mesh))


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def replicate(mesh: Mesh, tree: Tree) -> Tree:
    """Arrays that every process holds, as global arrays that are whole on every device."""
    sharding = replicated(mesh)
    return jax.tree.map(
        lambda x: jax.make_array_from_callback(x.shape, sharding, lambda index: x[index]), tree
    )


def global_batch(mesh: Mesh, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """This process's rows of a batch as global arrays, split along their first axis."""
    sharding = NamedSharding(mesh, rows(mesh))
    return {
        name: jax.make_array_from_process_local_data(sharding, values)
        for name, values in batch.items()
    }


def stop_flags(mesh: Mesh, value: bool) -> jax.Array:
    """What every process says for itself, bool `[devices]`; each process gives its own `value`."""
    return jax.make_array_from_callback(
        (mesh.size,), NamedSharding(mesh, rows(mesh)), lambda index: np.full(1, value)
    )


def split_specs(tree: Tree, mesh: Mesh, fsdp: bool) -> Tree:
    """The PartitionSpec of every parameter, or of optimizer state of the same shapes.

    With `fsdp` the largest axis that "data" divides is split; without, or where nothing fits, an
    array is whole everywhere. It depends on shapes only.
    """

    def spec(x: Shaped) -> PartitionSpec:
        parts = mesh.shape[AXIS]
        fitting = [axis for axis, size in enumerate(x.shape) if size % parts == 0]
        if not fsdp or parts == 1 or x.size < SMALL or not fitting:
            return PartitionSpec()
        widest = max(fitting, key=lambda axis: x.shape[axis])
        return PartitionSpec(*[None] * widest, AXIS)

    return jax.tree.map(spec, tree)


def extra_specs(split: Tree, mesh: Mesh) -> Tree:
    """The PartitionSpec of every leaf of `extra`, from the objective's `extra_rows`."""
    return jax.tree.map(lambda is_split: rows(mesh) if is_split else PartitionSpec(), split)


def gather(tree: Params, specs: Tree, batch: jax.Array) -> Params:
    """Inside `shard_map`: parameters whole again; the gradient is summed and split by the same.

    `batch` is any array of the batch's rows. Parts are typed as varying like it before they are
    gathered, so that their gradient is split over "data" first, and only parts are summed over
    "replica", where the network is slower.
    """

    def whole(x: jax.Array, spec: PartitionSpec) -> jax.Array:
        if AXIS not in spec:
            return x
        x = vary_like(x, batch)
        return jax.lax.all_gather(x, AXIS, axis=spec.index(AXIS), tiled=True)

    return jax.tree.map(whole, tree, specs)


def _slices(devices: Sequence[jax.Device]) -> int:
    """How many slices of TPUs there are; what is not a TPU is one."""
    return len({getattr(d, "slice_index", 0) for d in devices if d.platform == "tpu"} or {0})


def _check_slices(devices: Sequence[jax.Device], replicas: int) -> None:
    slices = _slices(devices)
    if slices > 1 and replicas != slices:
        raise PrimusError(
            f"config.mesh.replicas is {replicas}, but the devices are in {slices} slices. "
            f"Set it to {slices}."
        )
