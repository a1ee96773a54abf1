"""What is found in a recording while it is read, and how it is called."""

import dataclasses
import os
from typing import Any

from primus_jax.recordings.sources import SensorFiles


@dataclasses.dataclass
class Report:
    """What was found in a recording while it was read."""

    rate_hz: float = 0.0
    rows: int = 0
    seconds: float = 0.0
    gaps: int = 0
    gap_seconds: float = 0.0
    missing: int = 0
    short: int = 0
    averaged: int = 0
    wraps: int = 0
    evened: int = 0
    joined: int = 0
    touched: int = 0
    windows: int = 0
    bad_spans: list[tuple[float, float]] = dataclasses.field(default_factory=list)

    def problems(self) -> str:
        """What is missing, in a sentence; "" if nothing is."""
        parts = []
        if self.gaps:
            parts.append(f"{self.gaps} gaps, together {self.gap_seconds:.4g} s, were skipped")
        if self.missing:
            parts.append(f"{self.missing} rows held missing values")
        if self.averaged:
            parts.append(f"{self.averaged} rows with the time of another were averaged")
        if self.wraps:
            parts.append(f"the counter of times began anew {self.wraps} times, which was undone")
        if self.evened:
            parts.append(f"the times of {self.evened} rows, those of arrival, were evened out")
        if self.joined:
            parts.append(f"{self.joined} rows were joined from sensors with times of their own")
        if self.touched:
            parts.append(f"{self.touched} windows that touch missing values were left out")
        if self.short:
            parts.append(f"{self.short} stretches between gaps were shorter than a window")
        return "; ".join(parts)


def name_of(recording: Any) -> str:
    """Name a recording for a person: its file or files, or "the recording"."""
    named = isinstance(recording, str | os.PathLike | SensorFiles)
    return str(recording) if named else "the recording"
