"""Neuron selectivity transfer: which inputs excite a neuron, compared by a kernel.

Huang and Wang, "Like what you like: Knowledge distill via neuron selectivity transfer" (2017):
squared maximum mean discrepancy between the neurons of both networks, with the kernel (a·b)^2.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from primus_jax.losses.distillation.rows import check_form, make_rows, mean_over_rows
from primus_jax.losses.pairs import AxisName, gather, total
from primus_jax.numerics import dot, normalize


def neuron_selectivity(
    student: ArrayLike,
    teacher: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    form: str = "paper",
    axis_name: AxisName = None,
) -> jax.Array:
    """The discrepancy of two sets of unit-norm response patterns under the kernel (a·b)^2.

    Of feature maps `[batch, channels, length]` a neuron is a channel and its pattern the responses
    over positions; the loss is the mean over samples, in both forms. Of embeddings `[batch, dim]` a
    neuron is a unit and its pattern the responses over the global batch: with unit-norm columns
    F of dim units, || F_s F_s' / dim_s - F_t F_t' / dim_t ||^2. The released call on embeddings
    scales patterns of one value, which become ±1: the loss and its gradient are identically 0, and
    so are those of "released" here.

    The loss of embeddings needs `[rows, batch]` on each device, that of maps
    `[rows, channels, channels]`.

    Args:
        student: `[batch, dim]`, or maps `[batch, channels, length]`; any float dtype.
        teacher: of any width or number of channels, maps of the same length; no gradient reaches
            it.
        mask: bool `[batch]`, False where a row has no teacher; None: all have one.
        form: "paper" or "released".
        axis_name: mesh axis or axes over which the batch is sharded inside `jax.shard_map`.

    Returns:
        The scalar loss: float32, or float64 if an input is.

    Raises:
        PrimusError: shapes that cannot be compared, or an unknown form.
    """
    check_form("neuron-selectivity", form)
    rows = make_rows("neuron-selectivity", student, teacher, mask, axis_name, maps=True)
    if rows.student.ndim == 3:
        ours, theirs = normalize(rows.student), normalize(rows.teacher)
        each = _kernel(theirs, theirs) + _kernel(ours, ours) - 2 * _kernel(ours, theirs)
        return mean_over_rows(each, rows, axis_name)
    if form == "released":
        return jnp.zeros((), rows.student.dtype)
    ours, theirs = (_patterns(x, axis_name) for x in (rows.student, rows.teacher))
    every_ours, every_theirs = gather((ours, theirs), axis_name)
    difference = dot(ours, every_ours.T) / ours.shape[1]
    difference = difference - dot(theirs, every_theirs.T) / theirs.shape[1]
    return total(jnp.square(difference), axis_name)


def _kernel(a: jax.Array, b: jax.Array) -> jax.Array:
    """Mean over pairs of channels of (a·b)^2, `[rows]`."""
    return jnp.square(dot(a, b.swapaxes(1, 2))).mean((1, 2))


def _patterns(x: jax.Array, axis_name: AxisName) -> jax.Array:
    """`[rows, dim]` with columns of unit norm over the global batch; columns of zeros stay."""
    largest = lax.stop_gradient(jnp.max(jnp.abs(x), 0))
    largest = largest if axis_name is None else lax.pmax(largest, axis_name)
    x = x / jnp.where(largest > 0, largest, 1)
    square = jnp.sum(jnp.square(x), 0)
    square = square if axis_name is None else lax.psum(square, axis_name)
    return x * lax.rsqrt(jnp.where(square > 0, square, 1))
