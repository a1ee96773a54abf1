"""Orbax checkpoints of the train state, with digests of our own.

Orbax commits a step atomically but does not check array payloads: a flipped bit would restore as
wrong numbers. So every save stores a digest of the state, and a restore that does not reproduce it
steps back to the checkpoint before. Several processes write one checkpoint together, and agree
whether it was written and whether it can be read.
"""

import concurrent.futures
import contextlib
import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging as absl_logging
from orbax.checkpoint import v1 as ocp

from primus_jax.errors import PrimusError
from primus_jax.parallel.processes import CommonError, Processes
from primus_jax.training.digest import digest
from primus_jax.training.plain_path import PlainPath
from primus_jax.training.state import TrainState

METRIC = "validation_loss"
# In which a checkpoint must be whole, once the next is due, where several processes write it.
SAVE_SECONDS = 600.0


@dataclasses.dataclass(frozen=True)
class FailedSave:
    """A checkpoint that is not there: its step, and why."""

    step: int
    message: str


class Checkpoints:
    """The checkpoints of one run: the last `keep`, and the best by validation loss."""

    def __init__(
        self,
        folder: Path,
        keep: int = 2,
        processes: Processes | None = None,
        *,
        reads_only: bool = False,
    ):
        """Open the folder; with `reads_only` half-written checkpoints of others are left alone."""
        self._folder, self._keep, self._reads_only = folder, keep, reads_only
        self._processes = processes or Processes()
        self._saving: int | None = None
        self._error: BaseException | None = None
        self._stuck = False
        self._plain = PlainPath(folder, self._processes)
        self._checkpointer = self._open()

    def save(self, state: TrainState, validation_loss: float | None) -> int:
        """Start saving, once `wait_until_saved` has waited for the last save; returns the step."""
        step = int(state.step)
        digested = digest(state)
        self._saving, self._error = step, None
        try:
            self._plain.refresh()
            self._checkpointer.save_checkpointables_async(
                step,
                {"state": _own_memory(state)},
                overwrite=True,
                metrics=None if validation_loss is None else {METRIC: validation_loss},
                custom_metadata={"digest": digested},
            )
        except Exception as error:
            # A full disk, a lost mount: `wait_until_saved` tells all processes.
            self._error = error
        return step

    def wait_until_saved(self) -> "FailedSave | None":
        """Wait for the save in progress; what kept it from being whole, on whichever process.

        Raises:
            CommonError: some processes still wait for another that could not write its part.
        """
        if self._saving is None:
            return None
        step, self._saving = self._saving, None
        waiting = _in_thread(self._checkpointer.wait)
        concurrent.futures.wait([waiting], SAVE_SECONDS if self._processes.count > 1 else None)
        if waiting.done():
            self._error = self._error or waiting.exception()
        self._stuck = any(self._processes.exchange(not waiting.done()))
        if self._stuck:
            # Orbax of those who wrote their part waits for the one who could not, and has lost
            # count of its barriers: nothing more can be saved from here.
            raise CommonError(
                f"checkpoint {step} was not whole after {SAVE_SECONDS:.0f} s; the process that "
                f"could not write its part has said why. {self.newest().capitalize()}. Make room, "
                f"and run the same command again."
            )
        reasons = self._processes.exchange(None if self._error is None else _line(self._error))
        failed = [i for i, reason in enumerate(reasons) if reason is not None]
        if not failed:
            return None
        # Its folder is removed, which also makes room, and what is whole is read anew.
        with contextlib.suppress(Exception):
            self._checkpointer.close()
        self._checkpointer = self._open()
        on = f" on {self._processes.name(failed[0])}" if self._processes.count > 1 else ""
        why = reasons[failed[0]]
        return FailedSave(
            step, f"checkpoint {step} could not be saved{on} ({why}); {self.newest()}."
        )

    def steps(self) -> list[int]:
        """Steps with a complete checkpoint, oldest first."""
        return sorted(c.step for c in self._checkpointer.checkpoints)

    def newest(self) -> str:
        """Which checkpoint is the newest that is complete, in words; any thread may ask."""
        names = [path.name for path in self._folder.iterdir()] if self._folder.is_dir() else []
        steps = [int(name) for name in names if name.isdecimal()]
        return (
            f"the last good checkpoint is {max(steps)}" if steps else "there is no checkpoint yet"
        )

    def best(self) -> int | None:
        """The step of the lowest validation loss among the checkpoints kept."""
        scored = [
            (c.metrics[METRIC], c.step)
            for c in self._checkpointer.checkpoints
            if c.metrics and METRIC in c.metrics
        ]
        return min(scored)[1] if scored else None

    def restore_step(self, step: int, abstract: Any) -> TrainState:
        """The state of one step, shaped and sharded as `abstract`; all processes read it.

        Raises:
            PrimusError: the checkpoint cannot be read, or its content is not what was saved.
        """
        where = f"checkpoint {step} in {self._folder}"
        verbosity = absl_logging.get_verbosity()
        with self._processes.raise_together():
            try:
                absl_logging.set_verbosity(absl_logging.FATAL)
                loaded = _own_memory(
                    self._checkpointer.load_checkpointables(step, {"state": abstract})["state"]
                )
                saved = self._checkpointer.metadata(step).custom_metadata["digest"]
            except Exception as error:
                raise PrimusError(f"{where} cannot be read ({_line(error)})") from error
            finally:
                absl_logging.set_verbosity(verbosity)
        if digest(loaded) != saved:
            raise CommonError(f"{where} is damaged: its content does not match its digest.")
        return loaded

    def restore_newest(
        self, abstract: Any, warn: Callable[[str], None] = print
    ) -> TrainState | None:
        """The newest state that is whole, or None where there is no checkpoint.

        Raises:
            PrimusError: there are checkpoints, and none of them is whole.
        """
        # A folder that is shared over a network may not look the same everywhere at once.
        steps = self._processes.exchange(self.steps())[0]
        for step in reversed(steps):
            try:
                return self.restore_step(step, abstract)
            except PrimusError as error:
                warn(f"warning: {error} Trying the one before.")
        if steps:
            raise CommonError(
                f"none of the checkpoints {steps} in {self._folder} is whole. "
                f"Start again in another --workdir."
            )
        return None

    def close(self) -> None:
        """Wait for a save in progress and release the folder."""
        if not self._stuck:
            self._checkpointer.close()
            self._plain.close()

    def _open(self) -> ocp.training.Checkpointer:
        policies = ocp.training.preservation_policies
        return ocp.training.Checkpointer(
            self._plain.path,
            save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
            preservation_policy=policies.AnyPreservationPolicy(
                [
                    policies.LatestN(self._keep),
                    policies.BestN(
                        get_metric_fn=lambda metrics: metrics[METRIC],
                        reverse=True,
                        n=1,
                        keep_checkpoints_without_metrics=False,
                    ),
                ]
            ),
            cleanup_tmp_directories=not self._reads_only,
        )


def _in_thread(function: Callable[[], Any]) -> concurrent.futures.Future:
    """Call it beside us; nobody has to wait for it."""
    future: concurrent.futures.Future = concurrent.futures.Future()

    def call() -> None:
        try:
            future.set_result(function())
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return future


def _line(error: BaseException) -> str:
    reason = str(error).strip().split("\n")[0][:200]
    return f"{type(error).__name__}: {reason}"


def _own_memory(state: TrainState) -> TrainState:
    """The same state in buffers that nobody else can see.

    On a CPU the host's arrays and the device's may be the same memory, and the step donates its
    state: it would overwrite what a save is still writing, or run in what a load has let go of.
    """
    if jax.default_backend() != "cpu":
        return state
    shardings = jax.tree.map(lambda x: x.sharding, state)
    return jax.jit(_copied, out_shardings=shardings)(state)


def _copied(state: TrainState) -> TrainState:
    """Copy every leaf; one function, so that a run compiles its copy once and not at every save."""
    return jax.tree.map(jnp.copy, state)
