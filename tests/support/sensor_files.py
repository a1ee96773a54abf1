"""A sensor at 50 Hz in tables as loggers write them: any columns, any stamps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

RATE = 50.0
NAMES = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")


def at(time: np.ndarray) -> np.ndarray:
    """A slow movement at any times, float64 `[rows, 6]` in SI units, known everywhere."""
    sway = 0.3 * np.sin(2 * np.pi * 0.5 * time)
    zero = 0 * time
    acc = 9.80665 * np.stack([np.sin(sway), zero, np.cos(sway)], 1)
    turn = 0.3 * np.pi * np.cos(2 * np.pi * 0.5 * time)
    return np.concatenate([acc, np.stack([zero, turn, 0.1 * turn], 1)], 1)


def write(
    path: Path, names: Sequence[str], columns: Sequence[np.ndarray], above: Sequence[str] = ()
) -> Path:
    """A CSV file of columns of numbers or words, below other lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [",".join(cell(value) for value in row) for row in zip(*columns, strict=True)]
    path.write_text("\n".join([*above, *([",".join(names)] if names else []), *rows]) + "\n")
    return path


def cell(value: object) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.6f}"
    return str(value)


def table(path: Path, time: np.ndarray, six: np.ndarray, **more: np.ndarray) -> Path:
    """A CSV file with the usual names."""
    return write(path, ["time", *NAMES, *more], [time, *six.T, *more.values()])
