"""The mesh: one named axis over all devices of all processes."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from primus_jax.errors import PrimusError

AXIS = "data"


def make_mesh(devices: int = 0) -> Mesh:
    """A mesh `("data",)` over the first `devices` devices; 0 means all of them.

    Raises:
        PrimusError: more devices asked for than there are, or fewer than all with many processes.
    """
    available = jax.device_count()
    count = devices or available
    if count > available or (count != available and jax.process_count() > 1):
        raise PrimusError(f"config.devices is {devices}; this job has {available} devices.")
    return jax.make_mesh(
        (count,), (AXIS,), axis_types=(AxisType.Auto,), devices=jax.devices()[:count]
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """The same on every device."""
    return NamedSharding(mesh, PartitionSpec())


def replicate(mesh: Mesh, tree: Any) -> Any:
    """Arrays that every process holds, as global arrays that are whole on every device."""
    sharding = replicated(mesh)
    return jax.tree.map(
        lambda x: jax.make_array_from_callback(x.shape, sharding, lambda index: x[index]), tree
    )


def global_batch(mesh: Mesh, rows: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """This process's rows of a batch as global arrays, sharded along their first axis."""
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    return {
        name: jax.make_array_from_process_local_data(sharding, values)
        for name, values in rows.items()
    }
