"""Attention transfer: where the energy of a sample lies.

Zagoruyko and Komodakis, "Paying more attention to attention" (ICLR 2017): a map of |f|^p over
positions, scaled to unit norm, compared by its squared difference.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from primus_jax.errors import PrimusError
from primus_jax.losses.distillation.rows import check_form, make_rows, mean_over_rows
from primus_jax.losses.pairs import AxisName, total

EPSILON = 1e-6  # added to the norm, as released


def attention(
    student: ArrayLike,
    teacher: ArrayLike,
    *,
    power: float = 2.0,
    mask: ArrayLike | None = None,
    form: str = "paper",
    axis_name: AxisName = None,
) -> jax.Array:
    """Mean over rows and positions of the squared difference of two unit-norm attention maps.

    The map of features `[channels, length]` is the sum over channels of |f|^power, one value for
    each position. The units of an embedding are its positions: the map is |f|^power, `[dim]`.
    "released" adds 1e-6 to the norm. On embeddings it also is another loss: one number per row, the
    sum of |f|^power, divided by the norm of these numbers over the batch.

    Every map is made of features that are divided by their largest magnitude, so that no power
    overflows or vanishes; a map of zeros stays zero.

    Args:
        student: `[batch, dim]`, or maps `[batch, channels, length]`; any float dtype.
        teacher: of the same width or, for maps, of the same length; no gradient reaches it.
        power: of the magnitudes, at least 1; 2 in the paper, 5 for "focused" attention.
        mask: bool `[batch]`, False where a row has no teacher; None: all have one.
        form: "paper" or "released".
        axis_name: mesh axis or axes over which the batch is sharded inside `jax.shard_map`.

    Returns:
        The scalar loss: float32, or float64 if an input is.

    Raises:
        PrimusError: shapes that cannot be compared, a power below 1, or an unknown form.
    """
    check_form("attention", form)
    if not power >= 1:
        raise PrimusError(f"power {power} of the attention loss; expected 1 or more.")
    embeddings = jnp.ndim(student) == 2
    over_batch = embeddings and form == "released"
    rows = make_rows(
        "attention",
        student,
        teacher,
        mask,
        axis_name,
        same_width=embeddings and not over_batch,
        maps=True,
    )
    epsilon = EPSILON if form == "released" else 0.0
    if over_batch:
        maps = (_batch_map(x, power, axis_name) for x in (rows.student, rows.teacher))
        ours, theirs = (x[:, None] for x in maps)
    else:
        ours, theirs = (_sample_map(x, power, epsilon) for x in (rows.student, rows.teacher))
    return mean_over_rows(jnp.square(ours - theirs).mean(-1), rows, axis_name)


def _sample_map(x: jax.Array, power: float, epsilon: float) -> jax.Array:
    """Unit-norm map of each sample, `[rows, positions]`."""
    largest = _safe(jnp.max(jnp.abs(x), tuple(range(1, x.ndim)), keepdims=True))
    energy = jnp.power(jnp.abs(x / largest), power)
    energy = energy if x.ndim == 2 else energy.sum(1)
    square = jnp.sum(jnp.square(energy), -1, keepdims=True)
    norm = jnp.sqrt(jnp.where(square > 0, square, 1))
    return energy / (norm + epsilon * largest.reshape(norm.shape) ** -power)


def _batch_map(x: jax.Array, power: float, axis_name: AxisName) -> jax.Array:
    """Energy of each row of `[rows, dim]`, divided by its norm over the global batch; `[rows]`."""
    largest = lax.stop_gradient(jnp.max(jnp.abs(x)))
    largest = _safe(largest if axis_name is None else lax.pmax(largest, axis_name))
    energy = jnp.power(jnp.abs(x / largest), power).sum(-1)
    square = total(jnp.square(energy), axis_name)
    norm = jnp.sqrt(jnp.where(square > 0, square, 1))
    return energy / (norm + EPSILON * largest**-power)


def _safe(largest: jax.Array) -> jax.Array:
    """A divisor: 1 in place of 0, without gradient, since no map depends on it."""
    return lax.stop_gradient(jnp.where(largest > 0, largest, 1))
