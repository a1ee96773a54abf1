"""The inertial streams of an Aria VRS file, with Meta's own reader (PyPI `vrs`, extra `[aria]`)."""

from collections import Counter
from pathlib import Path

import numpy as np

from data_prep.egoexo4d.samples import STREAMS, Samples, ordered
from primus_jax.errors import PrimusError

# Fields of an IMU record in Aria's data layout: m/s^2, rad/s, and the hardware clock.
_STAMP, _ACC, _GYRO = "capture_timestamp_ns", "accelerometer", "gyroscope"
_VALID = ("accelerometer_valid", "gyroscope_valid")


def installed() -> bool:
    """Whether VRS files can be read here."""
    try:
        import pyvrs
    except ImportError:
        return False
    return hasattr(pyvrs, "SyncVRSReader")


def read_vrs(path: Path, stream: str, drops: Counter[str]) -> Samples:
    """Read one IMU ("right" or "left") of a VRS file.

    Readings are the sensor's own, without the factory calibration. A sample takes about 10 us.

    Raises:
        PrimusError: the extra is not installed, or the file is damaged or has no such stream.
    """
    if not installed():
        raise PrimusError(
            f"reading {path} needs Meta's VRS reader: pip install 'primus-jax[aria]' (the package "
            f"`vrs`; `pyvrs` on PyPI is something else). Or export CSV files, and pass --imu csv."
        )
    import pyvrs

    stream_id = STREAMS[stream][0]
    try:
        reader = pyvrs.SyncVRSReader(path)
        if stream_id not in reader.stream_ids:
            raise PrimusError(
                f"{path}: no stream {stream_id} (imu-{stream}); the file has "
                f"{sorted(reader.stream_ids)}."
            )
        records = reader.filtered_by_fields(stream_ids={stream_id}, record_types={"data"})
        stamps = np.empty(len(records), np.int64)
        signal = np.empty((len(records), 6))
        for row, record in enumerate(records):
            fields = record.metadata_blocks[0]
            stamps[row] = fields[_STAMP]
            signal[row, :3], signal[row, 3:] = fields[_ACC], fields[_GYRO]
            if not all(fields[flag] for flag in _VALID):
                signal[row] = np.nan
    except (RuntimeError, ValueError, KeyError, IndexError, OSError) as error:
        raise PrimusError(f"{path}: not a readable Aria VRS file ({error!r}).") from error
    return ordered(stamps, signal, path, drops)
