"""What the training loop knows of a method: one protocol carries all of them."""

from typing import Any, Protocol

import jax

from primus_jax.models.compute import Forward

Tree = Any
Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]


class Objective(Protocol):
    """A method of pretraining, as pure functions on trees.

    `params` is trained by gradient. `extra` is not, but must survive a restart (a queue, a
    momentum encoder). `towers` is frozen: an argument, never part of the train state (law 4).
    A batch is a dict of arrays whose first axis is this device's part of the global batch.
    """

    def init(self, key: jax.Array, batch: Batch) -> tuple[Tree, Tree]:
        """Fresh `params` and `extra`, from the shapes of a batch."""

    def forward(self, params: Tree, batch: Batch, key: jax.Array) -> Tree:
        """What treats every window by itself: leaves `[batch, ...]`, no collectives.

        `key` belongs to the step; what is random about a window comes from
        `fold_in(key, its index in the global batch)` (law 2).
        """

    def loss(
        self,
        params: Tree,
        extra: Tree,
        towers: Tree,
        batch: Batch,
        key: jax.Array,
        *,
        axis_name: str | tuple[str, ...] | None = None,
        forward: Forward | None = None,
    ) -> tuple[jax.Array, tuple[Tree, Metrics]]:
        """Loss of the global batch, the next `extra`, and scalar metrics.

        Args:
            params, extra, towers, batch: see above; inside `jax.shard_map` what this device holds.
            key: as of `forward`.
            axis_name: the mesh axes over which the batch is split.
            forward: computes what `self.forward` does, in another way.
        """

    def extra_rows(self, extra: Tree) -> Tree:
        """True for the leaves of `extra` whose first axis is split over the devices."""

    def constrain(self, params: Tree) -> Tree:
        """Bring `params` back into their bounds after an update."""

    def encoder_params(self, params: Tree) -> Tree:
        """The part that is exported."""
