"""Relational distillation: distances of pairs and angles of triples of the global batch.

Park et al., "Relational knowledge distillation" (CVPR 2019).

Neither `[batch, batch, dim]` nor `[batch, batch, batch, dim]` is built. Squared distances are sums
of squared differences, and rows that agree within rounding are equal: their distance is exactly 0.
An encoder can round equal windows apart, and slopes of 1e7 would follow. The cosine of an angle
follows from three squared distances. Each device takes its own rows as vertices, in blocks that
hold at most `BLOCK` values or those of one vertex, `[batch, batch]`; the backward pass makes each
block again.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

from primus_jax.losses.distillation.rows import Rows, check_form, make_rows
from primus_jax.losses.pairs import AxisName, gather, own_places, total

# Values of an array of one block: 16 MiB of float32.
BLOCK = 1 << 22
# Roundings of a row's norm within which two rows are equal.
ROUNDINGS = 16
SMALLEST = 1e-12  # squared distance below which the released code counts 1e-12


def relational(
    student: ArrayLike,
    teacher: ArrayLike,
    *,
    distance_weight: float = 25.0,
    angle_weight: float = 50.0,
    mask: ArrayLike | None = None,
    form: str = "paper",
    axis_name: AxisName = None,
) -> jax.Array:
    """distance_weight * smooth-L1 of distances + angle_weight * smooth-L1 of cosines of angles.

    Distances are divided by their mean over all pairs of different rows (equations 5 and 6);
    angles are those at i between j - i and k - i (equations 7 and 8). "paper" is the sum over
    ordered pairs and triples of different rows. "released" is the mean over batch^2 and batch^3,
    equal places included, and so does not grow with the batch.

    Between equal rows the distance is 0 (released: 1e-6), the cosine at them 0, and both have a
    gradient of zero. Rows without a teacher are in no pair and no triple.

    Args:
        student: `[batch, dim]`, any float dtype.
        teacher: `[batch, teacher_dim]`; no gradient reaches it.
        distance_weight, angle_weight: of the two terms; 0 leaves a term out.
        mask: bool `[batch]`, False where a row has no teacher; None: all have one.
        form: "paper" or "released".
        axis_name: mesh axis or axes over which the batch is sharded inside `jax.shard_map`.

    Returns:
        The scalar loss: float32, or float64 if an input is.

    Raises:
        PrimusError: shapes that cannot be compared, or an unknown form.
    """
    check_form("relational", form)
    rows = make_rows("relational", student, teacher, mask, axis_name)
    pairs = [squared_distances(x, gather(x, axis_name)) for x in (rows.student, rows.teacher)]
    own = own_places(len(rows.mask), axis_name)
    there = gather(rows.mask, axis_name)
    loss = jnp.zeros((), rows.student.dtype)
    if distance_weight:
        loss += distance_weight * _distances(pairs, rows, own, there, form, axis_name)
    if angle_weight:
        loss += angle_weight * _angles(pairs, rows, own, there, form, axis_name)
    return loss


def squared_distances(x: jax.Array, every: jax.Array) -> jax.Array:
    """Squared distance of each row `[rows, dim]` to each of `[batch, dim]`; `[rows, batch]`."""
    one = jax.checkpoint(lambda row: jnp.sum(jnp.square(every - row), -1))
    square = lax.map(one, x, batch_size=_block(len(x), every.size))
    norms = jnp.square(lax.stop_gradient(x)).sum(-1), jnp.square(lax.stop_gradient(every)).sum(-1)
    rounding = (ROUNDINGS * jnp.finfo(x.dtype).eps) ** 2
    return jnp.where(square > rounding * (norms[0][:, None] + norms[1]), square, 0)


def _distances(
    pairs: list[jax.Array],
    rows: Rows,
    own: jax.Array,
    there: jax.Array,
    form: str,
    axis_name: AxisName,
) -> jax.Array:
    """The distance term: a sum over pairs, or its mean."""
    places = jnp.arange(len(there), dtype=own.dtype)
    keep = rows.mask[:, None] & there & (own[:, None] != places)
    others = jnp.maximum(rows.taught * (rows.taught - 1), 1)

    def relative(square: jax.Array) -> jax.Array:
        distance = jnp.where(keep, _root(square, SMALLEST if form == "released" else 0.0), 0)
        mean = total(distance, axis_name) / others
        return distance / jnp.where(mean > 0, mean, 1)

    ours, theirs = (relative(x) for x in pairs)
    value = total(_smooth_l1(ours - theirs), axis_name)
    return value if form == "paper" else value / jnp.square(jnp.maximum(rows.taught, 1))


def _angles(
    pairs: list[jax.Array],
    rows: Rows,
    own: jax.Array,
    there: jax.Array,
    form: str,
    axis_name: AxisName,
) -> jax.Array:
    """The angle term: a sum over triples, or its mean."""
    every = [gather(x, axis_name) for x in pairs]
    places = jnp.arange(len(there), dtype=own.dtype)

    def vertex(
        at: tuple[jax.Array, jax.Array, jax.Array, jax.Array],
    ) -> jax.Array:
        """The sum over all j, k for one vertex."""
        *sides, place, shown = at
        ours, theirs = (_cosines(s, whole) for s, whole in zip(sides, every, strict=True))
        side = there & shown
        if form == "paper":
            side &= places != place
        keep = side[:, None] & side
        if form == "paper":
            keep &= places[:, None] != places
        return jnp.sum(jnp.where(keep, _smooth_l1(ours - theirs), 0))

    block = _block(len(own), len(there) ** 2)
    sums = lax.map(jax.checkpoint(vertex), (*pairs, own, rows.mask), batch_size=block)
    value = total(sums, axis_name)
    return value if form == "paper" else value / jnp.maximum(rows.taught, 1) ** 3


def _cosines(sides: jax.Array, every: jax.Array) -> jax.Array:
    """Cosines at a vertex, `[batch, batch]`, by the law of cosines; 0 beside a side of length 0.

    `sides` `[batch]` are squared distances from the vertex, `every` `[batch, batch]` those between
    all rows.
    """
    length = _root(sides, 0.0)
    inverse = jnp.where(sides > 0, 1 / jnp.where(sides > 0, length, 1), 0)
    return (sides[:, None] + sides - every) / 2 * inverse[:, None] * inverse


def _root(square: jax.Array, smallest: float) -> jax.Array:
    """Square root of squares, at least of `smallest`, below which the gradient is zero."""
    above = square > smallest
    return jnp.where(above, jnp.sqrt(jnp.where(above, square, 1)), smallest**0.5)


def _smooth_l1(x: jax.Array) -> jax.Array:
    size = jnp.abs(x)
    return jnp.where(size < 1, x * x / 2, size - 0.5)


def _block(rows: int, values: int) -> int:
    """Rows whose `values` values each are held at once."""
    return max(1, min(rows, BLOCK // values))
