"""Windows for the comparison of exported files: of a dataset, or simulated."""

import numpy as np

from data_prep.simulated.simulate import recordings
from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.export.onnx.checked_file import CheckWindows
from primus_jax.window import resample, same_rate

MOST = 256
# Limits of the simulation.
SHORTEST_SECONDS, RATES = 2.0, (10.0, 400.0)


def check_windows(data: str | None, rate_hz: float, window_seconds: float) -> CheckWindows:
    """Windows of the dataset folder `data`; simulated ones where it is None.

    Raises:
        PrimusError: no such dataset, or windows of another rate or length.
    """
    if data is None:
        return simulated_windows(rate_hz, window_seconds)
    return dataset_windows(DatasetFolder(data), rate_hz, window_seconds)


def simulated_windows(rate_hz: float, window_seconds: float) -> CheckWindows:
    """One window of every simulated activity of two people."""
    samples = round(rate_hz * window_seconds)
    made_hz = float(np.clip(rate_hz, *RATES))
    # one sample more than needed, whatever the rounding
    seconds = max(SHORTEST_SECONDS, window_seconds + 2 / made_hz)
    rows = [r.signal for r in recordings(seed=0, people=2, bouts=1, seconds=seconds,
                                         rate_hz=made_hz)]  # fmt: skip
    imu = resample(np.stack(rows), made_hz, rate_hz)[:, :samples].astype(np.float32)
    return CheckWindows(imu, "simulated")


def dataset_windows(folder: DatasetFolder, rate_hz: float, window_seconds: float) -> CheckWindows:
    """At most 256 windows of a dataset, evenly spread.

    Raises:
        PrimusError: windows of another rate or length.
    """
    samples = round(rate_hz * window_seconds)
    if not same_rate(folder.rate_hz, rate_hz) or folder.window_samples != samples:
        raise PrimusError(
            f"{folder.path}: windows of {folder.window_samples} samples at {folder.rate_hz:g} Hz; "
            f"this encoder expects {samples} samples at {rate_hz:g} Hz."
        )
    split = next((name for name in ("test", "validation", "train") if folder.splits.get(name)), "")
    if not split:
        raise PrimusError(f"{folder.path}: no windows in any split.")
    source = folder.source(split)
    places = np.unique(np.linspace(0, len(source) - 1, MOST).astype(int))
    imu = np.stack([row["imu"] for row in source.__getitems__(places.tolist())])
    kind = "simulated" if folder.simulated else "recorded"
    return CheckWindows(imu.astype(np.float32), f"{kind}, the {split} split of {folder.path.name}")
