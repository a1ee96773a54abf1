"""What all distillation losses share: the rows that count, and sums over the global batch."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from primus_jax.errors import PrimusError
from primus_jax.losses.pairs import AxisName, total

FORMS = ("paper", "released")


class Rows(NamedTuple):
    """This device's rows of both sides, float32 or float64; zeros where no teacher is.

    student: `[rows, dim]`, or feature maps `[rows, channels, length]`.
    teacher: `[rows, teacher_dim]` or `[rows, teacher_channels, length]`, without gradient.
    mask: bool `[rows]`, False where the row has no teacher.
    taught: how many rows of the global batch have a teacher, a scalar of the dtype of the rows.
    """

    student: jax.Array
    teacher: jax.Array
    mask: jax.Array
    taught: jax.Array


def make_rows(
    name: str,
    student: ArrayLike,
    teacher: ArrayLike,
    mask: ArrayLike | None,
    axis_name: AxisName,
    *,
    same_width: bool = False,
    maps: bool = False,
) -> Rows:
    """The arguments of a loss, checked; bfloat16 and float16 become float32.

    Args:
        name: of the loss, for messages.
        student, teacher, mask: of the loss; a mask of None means that every row has a teacher.
        axis_name: mesh axis or axes over which the rows are sharded, or None.
        same_width: whether unit i of the student is compared with unit i of the teacher.
        maps: whether feature maps `[rows, channels, length]` are allowed.

    Raises:
        PrimusError: shapes that the loss cannot compare.
    """
    student, teacher = jnp.asarray(student), jnp.asarray(teacher)
    shapes = f"{name} loss of student {student.shape} and teacher {teacher.shape}"
    allowed = (2, 3) if maps else (2,)
    if student.ndim not in allowed or student.ndim != teacher.ndim or 0 in student.shape:
        also = ", or [batch, channels, length] twice" if maps else ""
        raise PrimusError(f"{shapes}; expected [batch, dim] twice{also}.")
    if student.shape[0] != teacher.shape[0]:
        raise PrimusError(f"{shapes}; expected one teacher row for each student row.")
    if student.ndim == 3 and student.shape[2] != teacher.shape[2]:
        raise PrimusError(f"{shapes}; expected maps of one length.")
    if same_width and student.shape != teacher.shape:
        raise PrimusError(
            f"{shapes}; it compares unit with unit and needs equal widths. Project the student "
            f"first (objective.teacher_projection, for hints and logits)."
        )
    if mask is not None and jnp.shape(mask) != student.shape[:1]:
        raise PrimusError(f"mask has shape {jnp.shape(mask)}; expected {student.shape[:1]}.")
    dtype = jnp.float64 if jnp.float64 in (student.dtype, teacher.dtype) else jnp.float32
    there = jnp.ones(student.shape[:1], bool) if mask is None else jnp.asarray(mask, bool)
    shown = there.reshape(-1, *(1,) * (student.ndim - 1))
    return Rows(
        jnp.where(shown, student.astype(dtype), 0),
        lax.stop_gradient(jnp.where(shown, teacher.astype(dtype), 0)),
        there,
        total(there.astype(dtype), axis_name),
    )


def check_form(name: str, form: str, forms: tuple[str, ...] = FORMS) -> None:
    """Raise PrimusError unless the loss has a form of that name."""
    if form not in forms:
        raise PrimusError(f"form {form!r} of the {name} loss; expected one of {forms}.")


def mean_over_rows(values: jax.Array, rows: Rows, axis_name: AxisName) -> jax.Array:
    """The mean of `values` `[rows]` over the rows of the global batch that have a teacher, or 0."""
    shown = jnp.where(rows.mask, values, 0)
    return total(shown, axis_name) / jnp.maximum(rows.taught, 1)
