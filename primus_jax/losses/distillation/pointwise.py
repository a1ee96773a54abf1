"""Losses that compare a student's row with its own teacher's row, unit by unit.

All four take student and teacher `[batch, dim]` of one width, of any float dtype; a bool mask
`[batch]` of the rows that have a teacher; and the mesh axis or axes over which the batch is sharded
inside `jax.shard_map`. They return a scalar: float32, or float64 if an input is. It is the mean
over the rows of the global batch that have a teacher, and 0 where none has. No gradient reaches the
teacher.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from primus_jax.losses.distillation.rows import check_form, make_rows, mean_over_rows
from primus_jax.losses.pairs import AxisName
from primus_jax.numerics import dot


class Regressor(NamedTuple):
    """A linear map of the student into the teacher's space.

    kernel: `[dim, teacher_dim]`.
    bias: `[teacher_dim]`.
    """

    kernel: ArrayLike
    bias: ArrayLike


def regress(student: ArrayLike, regressor: Regressor | None) -> jax.Array:
    """`student @ kernel + bias`, `[batch, teacher_dim]`; without a regressor the student itself."""
    student = jnp.asarray(student)
    if regressor is None:
        return student
    kernel, bias = (jnp.asarray(x) for x in regressor)
    dtype = jnp.promote_types(student.dtype, kernel.dtype)
    return dot(student.astype(dtype), kernel.astype(dtype)) + bias.astype(dtype)


def soft_target(
    student: ArrayLike,
    teacher: ArrayLike,
    *,
    temperature: float = 4.0,
    mask: ArrayLike | None = None,
    form: str = "paper",
    axis_name: AxisName = None,
) -> jax.Array:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)), summed over units, mean over rows.

    Hinton et al., "Distilling the knowledge in a neural network" (2015). Both forms are equal. Of
    an embedding the softmax runs over its units, which are not classes.

    Raises:
        PrimusError: shapes that differ, or an unknown form.
    """
    check_form("soft-target", form)
    rows = make_rows("soft-target", student, teacher, mask, axis_name, same_width=True)
    ours = jax.nn.log_softmax(rows.student / temperature)
    theirs = jax.nn.log_softmax(rows.teacher / temperature)
    divergence = jnp.sum(jnp.exp(theirs) * (theirs - ours), -1)
    return temperature**2 * mean_over_rows(divergence, rows, axis_name)


def hints(
    student: ArrayLike,
    teacher: ArrayLike,
    *,
    regressor: Regressor | None = None,
    mask: ArrayLike | None = None,
    form: str = "paper",
    axis_name: AxisName = None,
) -> jax.Array:
    """Half the squared distance of the teacher to the regressed student, mean over rows.

    Romero et al., "FitNets: Hints for thin deep nets" (2015), equation 3: ½ ||t - r(s)||^2, where
    the regressor r is trained. "released" is the mean over rows and units of (s - t)^2, and has no
    regressor: the same function as the released `logits`.

    Raises:
        PrimusError: widths that differ behind the regressor, or an unknown form.
    """
    return _squared_distance("hints", regress(student, regressor), teacher, mask, form, axis_name)


def logits(
    student: ArrayLike,
    teacher: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    form: str = "paper",
    axis_name: AxisName = None,
) -> jax.Array:
    """Half the squared distance of student and teacher, mean over rows.

    Ba and Caruana, "Do deep nets really need to be deep?" (2014), equation 1. "released" is the
    mean over rows and units: 2 / dim of it.

    Raises:
        PrimusError: shapes that differ, or an unknown form.
    """
    return _squared_distance("logits", student, teacher, mask, form, axis_name)


def activation_boundaries(
    student: ArrayLike,
    teacher: ArrayLike,
    *,
    margin: float = 2.0,
    mask: ArrayLike | None = None,
    form: str = "paper",
    axis_name: AxisName = None,
) -> jax.Array:
    """Squared hinge: a unit is above the margin where its teacher is active, else below minus it.

    Heo et al., "Knowledge transfer via distillation of activation boundaries formed by hidden
    neurons" (AAAI 2019), equation 6: (s + m)^2 where t <= 0 and s > -m; (s - m)^2 where t > 0 and
    s <= m. Mean over rows and units, in both forms.

    Raises:
        PrimusError: shapes that differ, or an unknown form.
    """
    name = "activation-boundary"
    check_form(name, form)
    rows = make_rows(name, student, teacher, mask, axis_name, same_width=True)
    # Towards the side of the teacher: one hinge for both.
    side = jnp.where(rows.teacher > 0, -1, 1).astype(rows.student.dtype)
    short = jnp.maximum(side * rows.student + margin, 0)
    return mean_over_rows(jnp.square(short).mean(-1), rows, axis_name)


def _squared_distance(
    name: str,
    student: ArrayLike,
    teacher: ArrayLike,
    mask: ArrayLike | None,
    form: str,
    axis_name: AxisName,
) -> jax.Array:
    check_form(name, form)
    rows = make_rows(name, student, teacher, mask, axis_name, same_width=True)
    square = jnp.square(rows.student - rows.teacher)
    each = square.sum(-1) / 2 if form == "paper" else square.mean(-1)
    return mean_over_rows(each, rows, axis_name)
