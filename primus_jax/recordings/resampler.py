"""Resampling of a signal that arrives in blocks: overlap and save."""

from collections.abc import Iterable, Iterator

import numpy as np

from primus_jax.recordings.report import Report
from primus_jax.recordings.uniform import Block
from primus_jax.window import resample, resampling


class Resampler:
    """`window.resample` of a signal that arrives in blocks: overlap and save.

    What `push` and `finish` return, one after another, is what `resample` returns for the whole.
    """

    def __init__(self, from_hz: float, to_hz: float) -> None:
        self.rates = from_hz, to_hz
        self.up, self.down, self.reach = resampling(from_hz, to_hz)
        self.held = np.empty((0, 6), np.float32)
        # held samples whose output was returned already
        self.done = 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take `[time, 6]`; return the output that no later sample changes."""
        self.held = np.concatenate([self.held, samples])
        ready = (len(self.held) - self.reach) // self.down * self.down
        if ready <= self.done:
            return np.empty((0, 6), np.float32)
        output = self._output(ready * self.up // self.down)
        drop = max(ready - self.reach, 0) // self.down * self.down
        self.held, self.done = self.held[drop:], ready - drop
        return output

    def finish(self) -> np.ndarray:
        """The rest, its end continued as `resample` does."""
        return self._output(None) if len(self.held) else self.held

    def _output(self, stop: int | None) -> np.ndarray:
        return resample(self.held, *self.rates)[self.done * self.up // self.down : stop]


def resampled(blocks: Iterable[Block], rate_hz: float, report: Report) -> Iterator[Block]:
    """Yield the blocks at `rate_hz`; every stretch without gaps is resampled by itself."""
    resampler: Resampler | None = None
    start: float | None = None
    for block in blocks:
        if block.start is not None or resampler is None:
            if resampler is not None:
                yield Block(start, resampler.finish())
            resampler, start = Resampler(report.rate_hz, rate_hz), block.start
        samples = resampler.push(block.samples)
        if len(samples):
            yield Block(start, samples)
            start = None
    if resampler is not None:
        yield Block(start, resampler.finish())
