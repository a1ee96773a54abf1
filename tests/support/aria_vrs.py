"""A writer of the public VRS file format (version 2): IMU streams as Aria glasses lay them out."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

IMU = 1202
DESCRIPTION, INDEX, CONFIGURATION, DATA = 2, 1, 2, 3
FILE_HEADER, RECORD_HEADER = 80, 32
BOOL, TEXT, VECTOR = "DataPieceValue<Bool>", "DataPieceString", "DataPieceArray<float>"
U32, U64 = "DataPieceValue<uint32_t>", "DataPieceValue<uint64_t>"
I64, F64 = "DataPieceValue<int64_t>", "DataPieceValue<double>"
BYTES = {BOOL: 1, U32: 4, U64: 8, I64: 8, F64: 8, VECTOR: 12}
CONFIGURATION_FIELDS = {
    "stream_index": U32,
    "device_id": U64,
    "nominal_rate": F64,
    "has_accelerometer": BOOL,
    "has_gyroscope": BOOL,
    "has_magnetometer": BOOL,
    "device_type": TEXT,
    "device_version": TEXT,
    "device_serial": TEXT,
    "sensor_model": TEXT,
    "factory_calibration": TEXT,
    "online_calibration": TEXT,
    "description": TEXT,
}
DATA_FIELDS = {
    "accelerometer_valid": BOOL,
    "gyroscope_valid": BOOL,
    "magnetometer_valid": BOOL,
    "temperature_deg_c": F64,
    "capture_timestamp_ns": I64,
    "arrival_timestamp_ns": I64,
    "accelerometer": VECTOR,
    "gyroscope": VECTOR,
    "magnetometer": VECTOR,
}


def write_vrs(path: Path, streams: Mapping[int, tuple[float, np.ndarray, np.ndarray]]) -> None:
    """Write IMU streams: instance (1 right, 2 left) -> rate, stamps `[n]` ns, signal `[n, 6]`.

    A row with NaN is marked invalid.
    """
    records = []
    for instance, (rate, stamps, signal) in streams.items():
        payload = struct.pack("<IQd???", instance - 1, instance, rate, True, True, False)
        records.append((stamps[0] * 1e-9, instance, CONFIGURATION, payload + _texts("Aria")))
        for stamp, row, valid in zip(
            stamps.tolist(), signal.tolist(), np.isfinite(signal).all(1).tolist(), strict=True
        ):
            data = struct.pack(
                "<???dqq9f", valid, valid, False, 25.0, stamp, -1, *row, 0.0, 0.0, 0.0
            )
            records.append((stamp * 1e-9, instance, DATA, data))
    records.sort(key=lambda record: record[:3])

    blob = _record(0, DESCRIPTION, 0.0, 0, 1, _description(streams))
    parts, previous, index = [blob], len(blob), b""
    for time, instance, kind, payload in records:
        blob = _record(previous, IMU, time, instance, kind, payload)
        index += struct.pack("<dIBiH", time, len(blob), kind, IMU, instance)
        parts.append(blob)
        previous = len(blob)
    ids = b"".join(struct.pack("<iH", IMU, instance) for instance in sorted(streams))
    index = struct.pack("<I", len(streams)) + ids + struct.pack("<I", len(records)) + index
    place = FILE_HEADER + sum(map(len, parts))
    parts.append(_record(previous, INDEX, 0.0, 0, 1, index))
    sizes = struct.pack("<QIIqqqQQQ", 1, FILE_HEADER, RECORD_HEADER, place, FILE_HEADER, 0, 0, 0, 0)
    path.write_bytes(b"VisionRe" + sizes + b"cord" + b"VRS2" + b"".join(parts))


def _record(previous: int, type_id: int, time: float, instance: int, kind: int, payload: bytes):
    size = RECORD_HEADER + len(payload)
    header = struct.pack("<IIiIdHBBI", size, previous, type_id, 2, time, instance, kind, 0, 0)
    return header + payload


def _description(streams: Mapping[int, object]) -> bytes:
    tags = {
        "DL:Configuration:2:0": _layout(CONFIGURATION_FIELDS),
        "DL:Data:2:0": _layout(DATA_FIELDS),
        "RF:Configuration:2": "data_layout",
        "RF:Data:2": "data_layout",
        "VRS_Original_Recordable_Name": "IMU Data (SLAM)",
    }
    described = [
        struct.pack("<iH", IMU, instance) + _tags({}) + _tags(tags) for instance in sorted(streams)
    ]
    return struct.pack("<I", len(described)) + b"".join(described) + _tags({"device": "Aria"})


def _layout(fields: Mapping[str, str]) -> str:
    """Fixed fields have an offset in bytes, texts an index."""
    described, offset, index = [], 0, 0
    for name, kind in fields.items():
        if kind == TEXT:
            described.append({"name": name, "type": kind, "index": index})
            index += 1
            continue
        described.append({"name": name, "type": kind, "offset": offset})
        if kind == VECTOR:
            described[-1]["size"] = 3
        offset += BYTES[kind]
    return json.dumps({"data_layout": described})


def _texts(first: str) -> bytes:
    """Offset and length of every text of a configuration, then their characters."""
    count = list(CONFIGURATION_FIELDS.values()).count(TEXT)
    lengths = [len(first)] + [0] * (count - 1)
    table = b"".join(struct.pack("<II", len(first) * (i > 0), n) for i, n in enumerate(lengths))
    return table + first.encode()


def _tags(tags: Mapping[str, str]) -> bytes:
    pairs = b"".join(
        struct.pack("<I", len(text.encode())) + text.encode()
        for pair in tags.items()
        for text in pair
    )
    return struct.pack("<I", len(tags)) + pairs
