"""Both contrastive losses behind one signature, on any mesh."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, PartitionSpec

from primus_jax.losses.contrastive import info_nce_with_accuracy
from primus_jax.losses.pairs import Pairs
from primus_jax.losses.sigmoid import sigmoid_with_accuracy

LOSSES = ("info_nce", "sigmoid")


def call(name, a, b, t, bias, mask, equal, **options):
    """(loss, both accuracies) of the loss of that name; InfoNCE has no bias."""
    pairs = Pairs(mask, equal, **options)
    if name == "info_nce":
        value, *accuracy = info_nce_with_accuracy(a, b, t, pairs)
        return value + 0 * bias, accuracy
    value, *accuracy = sigmoid_with_accuracy(a, b, t, bias, pairs)
    return value, accuracy


def value_and_gradient(name, mesh=(), **options):
    """Jitted (a, b, t, bias, mask, equal) -> ((loss, accuracies), gradients), on a mesh (2, 4)."""

    def local(*arrays):
        return call(name, *arrays, **options)

    if mesh:
        axes = ("data",) if len(mesh) == 1 else ("replica", "data")
        options["axis_name"] = axes[0] if len(mesh) == 1 else axes
        devices = jax.make_mesh(
            mesh, axes, (AxisType.Auto,) * len(mesh), devices=jax.devices()[: np.prod(mesh)]
        )
        rows, everywhere = PartitionSpec(axes), PartitionSpec()
        loss = jax.shard_map(
            local,
            mesh=devices,
            in_specs=(rows, rows, everywhere, everywhere, rows, rows),
            out_specs=everywhere,
        )
    else:
        loss = local
    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2, 3), has_aux=True))


def inputs(batch, dim, seed=0, mask=None, dtype=np.float64, temperature=0.17, bias=-1.3):
    """Random arguments of the losses; a third of the targets are equal to another."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, batch, dim)).astype(dtype)
    b = (b + a).astype(dtype)
    mask = rng.random(batch) < 0.6 if mask is None else mask
    equal = rng.integers(-1, 6, batch).astype(np.int32)
    return tuple(jnp.asarray(x) for x in (a, b, dtype(temperature), dtype(bias), mask, equal))


def compile_gradient(name, batch, dim, mesh=(), **options):
    """The compiled program of value and gradient, float32, from shapes alone."""
    floats = jax.ShapeDtypeStruct((batch, dim), jnp.float32)
    number = jax.ShapeDtypeStruct((), jnp.float32)
    mask = jax.ShapeDtypeStruct((batch,), bool)
    equal = jax.ShapeDtypeStruct((batch,), jnp.int32)
    function = value_and_gradient(name, mesh, **options)
    return function.lower(floats, floats, number, number, mask, equal).compile()
