"""What the training loop knows of a method: one protocol carries all of them."""

from typing import Any, Protocol

import jax

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

    def loss(
        self,
        params: Tree,
        extra: Tree,
        towers: Tree,
        batch: Batch,
        key: jax.Array,
        *,
        axis_name: str | None = None,
    ) -> tuple[jax.Array, tuple[Tree, Metrics]]:
        """Loss of the global batch, the next `extra`, and scalar metrics.

        `key` belongs to the step; what is random about a window comes from
        `fold_in(key, its index in the global batch)` (law 2).
        """

    def constrain(self, params: Tree) -> Tree:
        """Bring `params` back into their bounds after an update."""

    def encoder_params(self, params: Tree) -> Tree:
        """The part that is exported."""
