"""Every distillation loss in every form, by name, and all of them as one compiled program."""

import functools

import jax
import numpy as np
from jax.sharding import AxisType, PartitionSpec

from primus_jax.losses.distillation.attention import attention
from primus_jax.losses.distillation.neurons import neuron_selectivity
from primus_jax.losses.distillation.pointwise import (
    activation_boundaries,
    hints,
    logits,
    soft_target,
)
from primus_jax.losses.distillation.relational import relational
from primus_jax.losses.distillation.similarity import (
    correlation_congruence,
    probabilistic,
    similarity_preservation,
)

LOSSES = {
    "st": soft_target,
    "sp": similarity_preservation,
    "nst": neuron_selectivity,
    "at2": functools.partial(attention, power=2),
    "at5": functools.partial(attention, power=5),
    "at1.5": functools.partial(attention, power=1.5),
    "cc": functools.partial(correlation_congruence, gamma=0.4, order=2),
    "pkt": probabilistic,
    "rkd": relational,
    "rkd_dist": functools.partial(relational, distance_weight=1.0, angle_weight=0.0),
    "rkd_angle": functools.partial(relational, distance_weight=0.0, angle_weight=1.0),
    "fitnets": hints,
    "ab": activation_boundaries,
    "logits": logits,
}
# name.form -> function; what both forms share is there once.
ALL = {
    f"{name}.{form}": functools.partial(loss, form=form)
    for name, loss in LOSSES.items()
    for form in ("paper", "released")
    if form == "paper" or name not in ("st", "sp", "cc", "ab", "at1.5")
} | {"sp.report": functools.partial(similarity_preservation, form="report")}


def all_losses(chosen=ALL, devices=1, **options):
    """Jitted (student, teacher, mask) -> {name: (value, gradient of the student)}."""
    functions = {name: functools.partial(loss, **options) for name, loss in chosen.items()}
    if devices > 1:
        mesh = jax.make_mesh(
            (devices,), ("data",), (AxisType.Auto,), devices=jax.devices()[:devices]
        )
        rows = PartitionSpec("data")
        functions = {
            name: sharded(functools.partial(loss, axis_name="data"), mesh, rows)
            for name, loss in functions.items()
        }

    def run(student, teacher, mask):
        def one(loss):
            return jax.value_and_grad(lambda s: loss(s, teacher, mask=mask))(student)

        return {name: one(loss) for name, loss in functions.items()}

    return jax.jit(run)


def sharded(loss, mesh, rows):
    """The loss of global arrays, computed in parts."""
    local = jax.shard_map(
        lambda s, t, m: loss(s, t, mask=m), mesh=mesh, in_specs=(rows, rows, rows),
        out_specs=PartitionSpec(),
    )  # fmt: skip
    return lambda student, teacher, mask: local(student, teacher, mask)


def pairs(batch, dim, seed=0):
    """Correlated rows of student and teacher, float64, and a mask that leaves a third out."""
    rng = np.random.default_rng(seed)
    student, noise = rng.normal(size=(2, batch, dim))
    mask = rng.random(batch) < 0.67
    mask[:3], mask[-3:] = True, False
    return student, student + noise, mask
