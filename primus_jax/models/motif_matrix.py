"""The motif distance of many anchors from many candidates."""

from typing import cast

import jax
from jax import lax

from primus_jax.models.distance_matrix import Measure, distance_matrix
from primus_jax.models.motif import MotifDist
from primus_jax.trees import Params


def motif_distances(
    module: MotifDist,
    params: Params,
    anchors: jax.Array,
    everybody: jax.Array,
    own: jax.Array,
    *,
    attention: str,
    pairs: int,
) -> jax.Array:
    """Return the distance of every anchor from everybody, and from its own candidates.

    A pair takes the memory of its attention, `time * time` weights. Keys and values of a candidate
    are computed once for all anchors.

    Args:
        module, params: of the frozen distance.
        anchors, everybody, own, pairs: as of `distance_matrix`.
        attention: "sparsemax" or "softmax".

    Returns:
        float32 `[rows, batch + K]` (float64 where the windows are), a constant of the gradient.
    """
    variables = {"params": lax.stop_gradient(params)}

    def to_own(anchor: jax.Array, candidate: jax.Array) -> jax.Array:
        memory = module.apply(variables, candidate, method="remember")
        measured = module.apply(variables, anchor, memory, attention, method="distance")
        return cast(jax.Array, measured)

    def to_block(candidates: jax.Array) -> Measure:
        memory = module.apply(variables, candidates[:, None], method="remember")

        def measure(anchor: jax.Array) -> jax.Array:
            measured = module.apply(variables, anchor, memory, attention, method="distance")
            return cast(jax.Array, measured)

        return measure

    return distance_matrix(to_block, to_own, anchors, everybody, own, pairs=pairs)
