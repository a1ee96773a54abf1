"""Losses that compare which rows of the global batch are alike: for the student, for the teacher.

All three take student `[batch, dim]` and teacher `[batch, teacher_dim]` of any float dtype and any
widths, a bool mask `[batch]` of the rows that have a teacher, and the mesh axis or axes over which
the batch is sharded inside `jax.shard_map`. They return a scalar: float32, or float64 if an input
is. Rows without a teacher are in no pair: the loss is that of the batch without them. No gradient
reaches the teacher. Each device holds `[rows, batch]` values.
"""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from primus_jax.errors import PrimusError
from primus_jax.losses.distillation.rows import FORMS, check_form, make_rows
from primus_jax.losses.pairs import AxisName, gather, own_places, total
from primus_jax.numerics import dot, normalize

EPSILON = 1e-6  # of the released probabilistic loss: added to norms and to probabilities


def similarity_preservation(
    student: ArrayLike,
    teacher: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    form: str = "paper",
    axis_name: AxisName = None,
) -> jax.Array:
    """Mean over pairs of the squared difference of two Gram matrices with unit-norm rows.

    Tung and Mori, "Similarity-preserving knowledge distillation" (ICCV 2019), equation 4. Both
    forms are equal. "report" divides by the batch in place of its square, as equation 4 of the
    Ambient AI report does.

    Raises:
        PrimusError: shapes that cannot be compared, or an unknown form.
    """
    check_form("similarity-preservation", form, (*FORMS, "report"))
    rows = make_rows("similarity-preservation", student, teacher, mask, axis_name)
    ours, theirs = (normalize(dot(x, gather(x, axis_name).T)) for x in (rows.student, rows.teacher))
    count = jnp.maximum(rows.taught, 1)
    divisor = count if form == "report" else count * count
    return total(jnp.square(ours - theirs), axis_name) / divisor


def correlation_congruence(
    student: ArrayLike,
    teacher: ArrayLike,
    *,
    gamma: float = 0.4,
    order: int = 2,
    mask: ArrayLike | None = None,
    form: str = "paper",
    axis_name: AxisName = None,
) -> jax.Array:
    """Mean over pairs of the squared difference of two correlations, each a polynomial of cosines.

    Peng et al., "Correlation congruence for knowledge distillation" (ICCV 2019), equations 6 to 8:
    the Gaussian kernel exp(-gamma |a - b|^2) of unit rows, expanded to `order`,
    exp(-2 gamma) * sum over p of (2 gamma)^p / p! cos^p. Both forms are equal.

    Raises:
        PrimusError: shapes that cannot be compared, an order below 1, or an unknown form.
    """
    check_form("correlation-congruence", form)
    if order < 1:
        raise PrimusError(f"order {order} of the correlation-congruence loss; expected 1 or more.")
    rows = make_rows("correlation-congruence", student, teacher, mask, axis_name)

    def correlation(x: jax.Array) -> jax.Array:
        """The expansion without its constant, which both sides share."""
        unit = normalize(x)
        cosine = dot(unit, gather(unit, axis_name).T)
        powers = ((2 * gamma) ** p / math.factorial(p) * cosine**p for p in range(1, order + 1))
        return math.exp(-2 * gamma) * sum(powers, jnp.zeros_like(cosine))

    difference = correlation(rows.student) - correlation(rows.teacher)
    return total(jnp.square(difference), axis_name) / jnp.square(jnp.maximum(rows.taught, 1))


def probabilistic(
    student: ArrayLike,
    teacher: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    form: str = "paper",
    axis_name: AxisName = None,
) -> jax.Array:
    """KL of the probabilities that a row picks each other row as its neighbour, by cosine.

    Passalis and Tefas, "Learning deep representations with probabilistic knowledge transfer"
    (ECCV 2018), equations 3 to 6: p(j | i) is (1 + cos) / 2 over its sum, a row is not its own
    neighbour, and the divergences of all rows are summed. "released" keeps the row itself, adds
    1e-6 to norms and probabilities, and is the mean over pairs.

    Raises:
        PrimusError: shapes that cannot be compared, or an unknown form.
    """
    check_form("probabilistic", form)
    rows = make_rows("probabilistic", student, teacher, mask, axis_name)
    keep = rows.mask[:, None] & gather(rows.mask, axis_name)
    if form == "paper":
        own = own_places(len(rows.mask), axis_name)
        keep &= own[:, None] != jnp.arange(keep.shape[1], dtype=own.dtype)

    def neighbours(x: jax.Array) -> jax.Array:
        unit = normalize(x) if form == "paper" else x / (_length(x) + EPSILON)
        kernel = (1 + dot(unit, gather(unit, axis_name).T)) / 2
        # Opposite rows have no kernel at all; their probability keeps a logarithm.
        kernel = jnp.where(keep, jnp.maximum(kernel, jnp.finfo(x.dtype).eps), 0)
        whole = kernel.sum(1, keepdims=True)
        return jnp.where(keep, kernel / jnp.where(whole > 0, whole, 1), 1)

    ours, theirs = neighbours(rows.student), neighbours(rows.teacher)
    epsilon = 0.0 if form == "paper" else EPSILON
    divergence = theirs * (jnp.log(theirs + epsilon) - jnp.log(ours + epsilon))
    value = total(jnp.where(keep, divergence, 0), axis_name)
    return value if form == "paper" else value / jnp.square(jnp.maximum(rows.taught, 1))


def _length(x: jax.Array) -> jax.Array:
    """Euclidean norm of rows, `[rows, 1]`; the gradient of a row of zeros is zero."""
    square = jnp.sum(jnp.square(x), -1, keepdims=True)
    there = square > 0
    return jnp.where(there, jnp.sqrt(jnp.where(there, square, 1)), 0)
