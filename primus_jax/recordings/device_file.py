"""Files of Axivity (.cwa), GENEActiv (.bin) and ActiGraph (.gt3x), read through `actipy`.

Its columns are `time`, a wall clock, and `acc_x`, `acc_y`, `acc_z` in g: the device's own numbers,
neither filtered nor calibrated nor resampled. A gyroscope of an AX6 is not read.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.parquet_file import ROWS, Batch

NAMES = ("time", "acc_x", "acc_y", "acc_z")
_ENDINGS = (".cwa", ".bin", ".gt3x", ".cwa.gz", ".bin.gz", ".gt3x.gz")


def is_device(path: Path) -> bool:
    """Whether a file is a device's own, by its ending."""
    return path.name.lower().endswith(_ENDINGS)


def batches(
    path: Path, numeric: Sequence[str], textual: Sequence[str], stamps: Sequence[str]
) -> Iterator[Batch]:
    """Yield batches of at most `parquet_file.ROWS` rows; columns as in `columns.Columns`.

    Raises:
        PrimusError: actipy is not installed, or cannot read the file.
    """
    table = _read(path)
    signal = {name: table[name[-1]].to_numpy(np.float64) for name in NAMES[1:]}
    time = table.index.to_numpy("datetime64[ns]").astype(np.int64)
    for start in range(0, len(table), ROWS):
        rows = slice(start, start + ROWS)
        numbers = {name: signal[name][rows] for name in numeric}
        numbers |= {name: time[rows] if name == "time" else signal[name][rows] for name in stamps}
        words = {name: np.full(len(time[rows]), "", object) for name in textual}
        units = {name: "ns" for name in stamps if name == "time"}
        yield Batch(numbers, words, units, len(time[rows]))


def _read(path: Path) -> Any:
    """The DataFrame of actipy: index of times, columns x, y, z in g."""
    try:
        import actipy
    except ImportError as error:
        raise PrimusError(
            f"{path}: reading a device's own file needs actipy and Java: pip install "
            f"'primus-jax[devices]'. Or export the recording as CSV with the device's program."
        ) from error
    try:
        table, _ = actipy.read_device(
            str(path), lowpass_hz=None, calibrate_gravity=False, detect_nonwear=False,
            resample_hz=None, verbose=False,
        )  # fmt: skip
    except Exception as error:
        # Java's failures reach Python as exceptions of any kind
        raise PrimusError(f"{path}: actipy cannot read the file ({error}).") from error
    return table
