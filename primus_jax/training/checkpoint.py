"""Orbax checkpoints of the train state, with digests of our own.

Orbax commits a step atomically but does not check array payloads: a flipped bit would restore as
wrong numbers. So every save stores a digest of the state, and a restore that does not reproduce it
steps back to the checkpoint before.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging as absl_logging
from orbax.checkpoint import v1 as ocp

from primus_jax.errors import PrimusError
from primus_jax.training.state import TrainState

METRIC = "validation_loss"


class Checkpoints:
    """The checkpoints of one run: the last `keep`, and the best by validation loss."""

    def __init__(self, folder: Path, keep: int = 2):
        policies = ocp.training.preservation_policies
        self._checkpointer = ocp.training.Checkpointer(
            folder.absolute(),
            save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
            preservation_policy=policies.AnyPreservationPolicy(
                [
                    policies.LatestN(keep),
                    policies.BestN(
                        get_metric_fn=lambda metrics: metrics[METRIC],
                        reverse=True,
                        n=1,
                        keep_checkpoints_without_metrics=False,
                    ),
                ]
            ),
            cleanup_tmp_directories=True,
        )

    def save(self, state: TrainState, validation_loss: float | None) -> int:
        """Start saving; returns the step. The next save or `close` waits for it."""
        step = int(state.step)
        self._checkpointer.save_checkpointables_async(
            step,
            {"state": _own_memory(state)},
            overwrite=True,
            metrics=None if validation_loss is None else {METRIC: validation_loss},
            custom_metadata={"digest": digest(state)},
        )
        return step

    def steps(self) -> list[int]:
        """Steps with a complete checkpoint, oldest first."""
        return sorted(c.step for c in self._checkpointer.checkpoints)

    def best(self) -> int | None:
        """The step of the lowest validation loss among the checkpoints kept."""
        scored = [
            (c.metrics[METRIC], c.step)
            for c in self._checkpointer.checkpoints
            if c.metrics and METRIC in c.metrics
        ]
        return min(scored)[1] if scored else None

    def restore_step(self, step: int, abstract: Any) -> TrainState:
        """The state of one step, shaped and sharded as `abstract`.

        Raises:
            PrimusError: the checkpoint cannot be read, or its content is not what was saved.
        """
        where = f"checkpoint {step} in {self._checkpointer.directory}"
        verbosity = absl_logging.get_verbosity()
        try:
            absl_logging.set_verbosity(absl_logging.FATAL)
            loaded = _own_memory(
                self._checkpointer.load_checkpointables(step, {"state": abstract})["state"]
            )
            saved = self._checkpointer.metadata(step).custom_metadata["digest"]
        except Exception as error:
            reason = str(error).strip().split("\n")[0][:200]
            raise PrimusError(
                f"{where} cannot be read ({type(error).__name__}: {reason})"
            ) from error
        finally:
            absl_logging.set_verbosity(verbosity)
        if digest(loaded) != saved:
            raise PrimusError(f"{where} is damaged: its content does not match its digest.")
        return loaded

    def restore_newest(self, abstract: Any, warn=print) -> TrainState | None:
        """The newest state that is whole, or None where there is no checkpoint.

        Raises:
            PrimusError: there are checkpoints, and none of them is whole.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return self.restore_step(step, abstract)
            except PrimusError as error:
                warn(f"warning: {error} Trying the one before.")
        if steps:
            raise PrimusError(
                f"none of the checkpoints {steps} in {self._checkpointer.directory} is whole. "
                f"Start again in another --workdir."
            )
        return None

    def close(self) -> None:
        """Wait for a save in progress and release the folder."""
        self._checkpointer.close()


def _own_memory(state: TrainState) -> TrainState:
    """The same state in buffers that nobody else can see.

    On a CPU the host's arrays and the device's may be the same memory, and the step donates its
    state: it would overwrite what a save is still writing, or run in what a load has let go of.
    """
    if jax.default_backend() != "cpu":
        return state
    return jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))(state)


def digest(state: TrainState) -> str:
    """Digest of names, shapes, dtypes and bytes of all leaves (each whole on this process)."""
    hasher = hashlib.blake2b(digest_size=16)
    for path, leaf in jax.tree_util.tree_leaves_with_path(state):
        values = np.asarray(leaf.addressable_data(0))
        hasher.update(
            json.dumps([jax.tree_util.keystr(path), values.shape, str(values.dtype)]).encode()
        )
        hasher.update(np.ascontiguousarray(values))
    return hasher.hexdigest()
