"""How the encoder is computed, never what: number format, memory against time, parts of a batch."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar, TypeVar

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from primus_jax.errors import PrimusError
from primus_jax.numerics import vary_like
from primus_jax.trees import Params, Tree

DTYPES = ("float32", "bfloat16")
# (params, batch, key) -> outputs, leaves [rows, ...]; see `forward` in `objectives/base.py`.
Forward = Callable[[Params, dict[str, jax.Array], jax.Array], Tree]


@dataclasses.dataclass(unsafe_hash=True)
class ComputeConfig:
    """How the encoder is computed. It is no part of the architecture, and weights do not know it.

    Attributes:
        dtype: of the encoder's activations, "float32" or "bfloat16". Parameters, their gradients,
            statistics, outputs and losses are float32 with either.
        remat: compute the activations of every block again in the backward pass, instead of
            keeping them.
        micro_batches: parts in which a device encodes its windows, one after the other (gradient
            caching); must divide the windows of a device.
    """

    free: ClassVar[tuple[str, ...]] = ("micro_batches", "remat")

    dtype: str = "float32"
    remat: bool = False
    micro_batches: int = 1

    @property
    def activations(self) -> DTypeLike | None:
        """Dtype of products and of what flows between blocks; None: that of the input."""
        return jnp.bfloat16 if self.dtype == "bfloat16" else None

    def validate(self) -> None:
        """Raise PrimusError if a value is not one of those that the attributes allow."""
        if self.dtype not in DTYPES:
            raise PrimusError(f"compute.dtype is {self.dtype!r}; expected one of {DTYPES}.")
        if not isinstance(self.remat, bool):
            raise PrimusError(f"compute.remat is {self.remat!r}; expected True or False.")
        count = self.micro_batches
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise PrimusError(
                f"compute.micro_batches is {count!r}; expected a positive integer, 1 to encode the "
                f"windows of a device at once."
            )


Leaves = TypeVar("Leaves")
# Nothing rounded, computed twice or cut.
PLAIN = ComputeConfig()


def mark_varying(params: Leaves, rows: jax.Array) -> Leaves:
    """`params`, typed inside `shard_map` as varying over the devices as `rows` do.

    Their gradients are then summed over devices once, in the parameters' own dtype; else where
    each is used: in bfloat16 behind a cast, and once per part inside a loop.
    """
    return jax.tree.map(lambda leaf: vary_like(leaf, rows), params)


def micro_batched(forward: Forward, count: int) -> Forward:
    """`forward` with the same values and gradients, one part of the rows at a time.

    Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup" (2021).
    The forward pass computes the outputs of all rows, part by part, and keeps nothing else. A loss
    over all rows gives the gradient with respect to the outputs. The backward pass encodes each
    part again, and sends its share of that gradient through it. Activations take the memory of one
    part; the price is one more forward pass.

    Args:
        forward: treats every row by itself and talks to no other device.
        count: of parts; 1 returns `forward`.

    Raises:
        PrimusError: when called, if `count` does not divide the rows of the batch.
    """
    if count == 1:
        return forward

    def parts_in_turn(params: Params, batch: dict[str, jax.Array], key: jax.Array) -> Tree:
        rows = batch["index"].shape[0]
        if rows % count:
            raise PrimusError(
                f"compute.micro_batches is {count}, which does not divide the {rows} windows of a "
                f"device. Set it to a divisor of {rows}, or change data.batch_size."
            )
        params = mark_varying(params, batch["index"])
        part = jax.checkpoint(lambda rows: forward(params, rows, key), prevent_cse=False)
        split = lambda leaf: leaf.reshape(count, rows // count, *leaf.shape[1:])  # noqa: E731
        outputs = lax.map(part, jax.tree.map(split, batch))
        return jax.tree.map(lambda leaf: jnp.reshape(leaf, (rows, *leaf.shape[2:])), outputs)

    return parts_in_turn
