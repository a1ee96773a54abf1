"""Metrics of a run: JSON lines, a progress line, and TensorBoard where it is installed."""

import importlib.util
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

from primus_jax.files import replace_file


class MetricsLog:
    """Appends rows to `metrics.jsonl`; a resumed run first drops rows beyond its checkpoint."""

    def __init__(self, folder: Path, resume_step: int):
        path = folder / "metrics.jsonl"
        if path.exists():
            kept = [row for row in read_metrics(folder) if row["step"] <= resume_step]
            with replace_file(path) as temporary:
                temporary.write_text("".join(json.dumps(row) + "\n" for row in kept))
        self._file = path.open("a")
        self._board = None
        if importlib.util.find_spec("tensorboardX"):
            from tensorboardX import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=resume_step + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append one row and flush it."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


class NoMetrics:
    """Stands for the log in every process but the first, which writes for all."""

    def write(self, step: int, values: dict[str, float]) -> None:
        """Write nothing."""

    def close(self) -> None:
        """Nothing is open."""


def read_metrics(folder: str | Path) -> list[dict[str, float]]:
    """The rows of a run's `metrics.jsonl`; a last line cut short by a crash is left out."""
    rows = []
    for line in (Path(folder) / "metrics.jsonl").read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


class Progress:
    """Rate and time left of a run, and its progress line."""

    def __init__(self, steps: int, start: int, batch_size: int, log: Callable[[str], None]):
        self._steps, self._batch, self.log = steps, batch_size, log
        self._mark = (start, time.perf_counter())
        self._rate = math.nan

    def pause(self, step: int) -> None:
        """Restart the clock, so that what happened since the last step is not counted."""
        self._mark = (step, time.perf_counter())

    def line(self, step: int, values: dict[str, float]) -> float:
        """Print one line; returns windows per second since the last line or pause."""
        last, then = self._mark
        now = time.perf_counter()
        if step > last:
            self._rate = (step - last) / (now - then)
        self._mark = (step, now)
        left = (self._steps - step) / self._rate if self._rate > 0 else math.nan
        terms = "  ".join(
            f"{name.removeprefix('loss_')} {value:.3f}"
            for name, value in values.items()
            if name.startswith("loss")
        )
        self.log(
            f"step {step}/{self._steps}  {terms}  "
            f"{self._rate * self._batch:.0f} windows/s  {clock(left)} left"
        )
        return self._rate * self._batch


def clock(seconds: float) -> str:
    """`1:02:03`, `2:03`, or `?` where the time is unknown."""
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
