"""Windows on disk while their labels, groups and counts are still being gathered."""

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from data_prep.recording import Recording
from data_prep.windows import WindowSpec, cut
from primus_jax.errors import PrimusError


@dataclasses.dataclass
class Spool:
    """All windows, one after another in a file, and what is known about each."""

    path: Path
    samples: int
    headers: list[Recording] = dataclasses.field(default_factory=list)
    rows: list[tuple[int, float, str]] = dataclasses.field(default_factory=list)
    drops: Counter[str] = dataclasses.field(default_factory=Counter)

    def fill(
        self, recordings: Iterable[Recording], spec: WindowSpec, report: Callable[[str], None]
    ) -> None:
        seen: set[str] = set()
        told = time.monotonic()
        with self.path.open("wb") as file:
            for recording in recordings:
                if recording.id in seen:
                    raise PrimusError(f"two recordings are called {recording.id!r}.")
                seen.add(recording.id)
                imu, starts, texts = cut(recording, spec, self.drops)
                if len(imu):
                    file.write(imu.tobytes())
                    nothing = np.zeros((1, 6), np.float32)
                    self.headers.append(dataclasses.replace(recording, signal=nothing))
                    begins = recording.start_seconds + starts / spec.rate_hz
                    index = len(self.headers) - 1
                    self.rows.extend(
                        (index, begin, text)
                        for begin, text in zip(begins.tolist(), texts, strict=True)
                    )
                if time.monotonic() - told > 2:
                    told = time.monotonic()
                    report(f"  {len(seen):,} recordings read, {len(self.rows):,} windows")
        report(f"  {len(seen):,} recordings read, {len(self.rows):,} windows")

    def imu(self) -> np.ndarray:
        shape = (len(self.rows), self.samples, 6)
        return np.memmap(self.path, np.float32, "r", shape=shape)
