"""Looks at the metrics of every step a little late, and stops a run that is no longer a number."""

import collections
import math

import jax

from primus_jax.data.pipeline import Pipeline
from primus_jax.parallel.processes import CommonError
from primus_jax.training.metrics import MetricsLog, NoMetrics, Progress

# Steps that may be in flight before the host looks, so that the device never waits for it.
LAG = 2


class NotFinite(CommonError):
    """The loss or the gradient stopped being a number, which every process sees at that step."""


class MetricsMonitor:
    """Checks, logs and prints the metrics of a run, in order.

    Attributes:
        step: the newest that was started.
        stop: a step has said that some process was asked to stop. Every process looks at the same
            steps at the same time, so it changes on all of them after the same one.
    """

    def __init__(
        self, data: Pipeline, log: MetricsLog | NoMetrics, progress: Progress, log_every: int
    ):
        self._data, self._log, self._progress, self._every = data, log, progress, log_every
        self._pending: collections.deque[tuple[int, dict[str, jax.Array]]] = collections.deque()
        self._saved, self._good, self.step = [0], 0, 0
        self.stop = False

    def add(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Take the metrics of a step that may still be running, and look at older ones."""
        self.step = step
        self._pending.append((step, metrics))
        while len(self._pending) > LAG:
            self._look(*self._pending.popleft())

    def catch_up(self) -> None:
        """Wait for every step taken so far and look at it."""
        while self._pending:
            self._look(*self._pending.popleft())

    def validated(self, step: int, loss: float) -> None:
        """Log the validation loss of a step.

        Raises:
            NotFinite: it is not a number.
        """
        if not math.isfinite(loss):
            raise NotFinite(f"step {step}: the validation loss is {loss}; {self._last_good()}.")
        self._log.write(step, {"validation_loss": loss})
        self._progress.log(f"step {step}  validation loss {loss:.4f}")

    def saved(self, step: int, validated: bool) -> None:
        """A save was started; its checkpoint is good once its weights gave a finite loss."""
        self._saved.append(step)
        if validated:
            self._good = step
        self.step = step
        self._progress.pause(step)

    def not_saved(self, step: int) -> None:
        """The save of this step failed."""
        self._saved.remove(step)
        self._good = max(s for s in self._saved if s <= self._good)

    def _look(self, step: int, metrics: dict[str, jax.Array]) -> None:
        loss, norm = float(metrics["loss"]), float(metrics["grad_norm"])
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise NotFinite(
                f"step {step}: loss {loss}, gradient norm {norm}; {self._last_good()}. "
                f"The windows of its batch: {', '.join(self._data.window_ids(step - 1))}. "
                f"Look at them, or lower config.optim.lr."
            )
        if step > self._saved[-1]:
            self._good = self._saved[-1]
        self.stop = self.stop or bool(metrics["stop"])
        if step % self._every == 0:
            values = {name: float(value) for name, value in metrics.items() if name != "stop"}
            values["windows_per_second"] = self._progress.line(step, values)
            self._log.write(step, values)

    def _last_good(self) -> str:
        return (
            f"the last good checkpoint is {self._good}" if self._good else "no checkpoint is good"
        )
