"""Truncated, bit-flipped and hostile files: a PrimusError or the right tensors, nothing else."""

import dataclasses
import json
import pickle
import resource
import struct
import time
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save
from support.random_weights import GOLDEN
from support.tiny_config import IMU2CLIP

from primus_jax.errors import PrimusError
from primus_jax.hub.folder import check_description
from primus_jax.hub.layout import layout
from primus_jax.hub.loading import read_encoder
from primus_jax.models.released import ReleasedConfig

MOST_SECONDS, MOST_KILOBYTES = 20, 300 << 10


def tiny_safetensors():
    tensors = {
        name: np.full(shape, 0.5, np.float32) for name, (_, shape) in layout(IMU2CLIP).items()
    }
    return save(tensors)


def archive(path, program, members=()):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", program)
        for name, content in members:
            file.writestr(f"archive/{name}", content)
    return path


def refused(path):
    """Reading `path` raises PrimusError, soon and in little memory."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(PrimusError) as error:
        read_encoder(path)
    assert time.process_time() - start < MOST_SECONDS
    # kilobytes; the largest so far, which only grows
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_KILOBYTES
    return str(error.value)


def tensor_program(storage_length, shape, strides, kind="FloatStorage", count=1):
    """A state dict of `count` views of storage "0", as `torch.save` pickles it."""
    out = [b"\x80\x02}("]
    for i in range(count):
        out.append(b"X" + struct.pack("<I", len(f"t{i}")) + f"t{i}".encode())
        out.append(b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage")
        out.append(f"ctorch\n{kind}\n".encode() + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu")
        out.append(_integer(storage_length) + b"tQ" + _integer(0))
        for numbers in (shape, strides):
            out.append(b"(" + b"".join(map(_integer, numbers)) + b"t")
        out.append(b"\x89}tR")
    return b"".join([*out, b"u."])


def _integer(value):
    return b"\x8a\x0b" + int(value).to_bytes(11, "little", signed=True)


HOSTILE_PROGRAMS = {
    "ten million empty lists": b"\x80\x02" + b"]" * 10_000_000 + b".",
    "a million empty lists": b"\x80\x02" + b"]" * 1_000_000 + b".",
    "deep tuples": b"\x80\x02K\x01" + b"\x85" * 200_000 + b".",
    "deep tuple as a key": b"\x80\x02}K\x01" + b"\x85" * 200_000 + b"K\x01s.",
    "a list that holds itself": b"\x80\x02]q\x00h\x00a.",
    "laughter": b"\x80\x02" + b"K\x01q\x00" + b"h\x00h\x00\x86q\x00" * 20_000 + b".",
    "a string longer than the file": b"\x80\x02X\xff\xff\xff\x7f.",
    "a long integer longer than the file": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "a memo index of two billion": b"\x80\x02}r\xff\xff\xff\x7f.",
    "no end": b"\x80\x02}",
    "nothing on the stack": b"\x80\x02R.",
    "no mark": b"\x80\x02t.",
    "an extension": b"\x80\x02\x82\x01.",
    "an import of a class": b"(ios\nsystem\n.",
    "eval": b"\x80\x02c__builtin__\neval\nX\x03\x00\x00\x001+1\x85R.",
    "getattr": b"\x80\x02c__builtin__\ngetattr\n)R.",
    "shape of huge integers": tensor_program(4, (1 << 80, 1), (0, 0)),
    "shape of many axes": tensor_program(4, (1,) * 10_000, (0,) * 10_000),
    "negative strides": tensor_program(4, (4,), (-1,)),
    "negative offset": tensor_program(4, (-4,), (1,)),
    "storage with another length": tensor_program(1 << 40, (1 << 39,), (0,)),
    "unknown storage": tensor_program(4, (4,), (1,), kind="EvilStorage"),
}


@pytest.mark.parametrize("name", HOSTILE_PROGRAMS)
def test_hostile_programs(name, tmp_path):
    path = archive(tmp_path / "x.pt", HOSTILE_PROGRAMS[name], [("data/0", bytes(16))])
    refused(path)


def test_hostile_pickles_under_the_right_names(tmp_path):
    """Every tensor of the encoder is a view of one block, and lies about its size."""
    shapes = {name: shape for name, (_, shape) in layout(IMU2CLIP).items()}
    program = tensor_program(1 << 30, (1 << 30,), (0,), count=len(shapes))
    for i, name in enumerate(shapes):
        old = f"t{i}".encode()
        program = program.replace(
            b"X" + struct.pack("<I", len(old)) + old,
            b"X" + struct.pack("<I", len(name)) + name.encode(),
            1,
        )
    assert "of the wrong shape" in refused(archive(tmp_path / "x.pt", program))


def test_hostile_zip_files(tmp_path):
    path = archive(tmp_path / "x.pt", pickle.dumps({}, 2))
    content = path.read_bytes()
    place = content.rindex(b"PK\x01\x02")
    for offset in (20, 24):  # compressed and uncompressed size in the directory
        huge = bytearray(content)
        huge[place + offset : place + offset + 4] = b"\xf0\xff\xff\x7f"
        path.write_bytes(huge)
        refused(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(50 << 20))
    assert "compressed" in refused(path)
    path.write_bytes(b"\x80\x02" + b"legacy" * 100)
    refused(path)


@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_flipped_and_truncated_files(kind, tmp_path):
    content = GOLDEN.read_bytes() if kind == "pt" else tiny_safetensors()
    path, rng = tmp_path / f"x.{kind}", np.random.default_rng(7)
    for length in rng.integers(len(content), size=40):
        path.write_bytes(content[:length])
        refused(path)
    survivors = 0
    for _ in range(150):
        damaged = bytearray(content)
        for place in rng.integers(8 * min(len(content), 4000), size=rng.integers(1, 4)):
            damaged[place // 8] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        try:
            params, _, _ = read_encoder(path)
        except PrimusError:
            continue
        survivors += 1
        assert set(params) == {"norm0", "norm1", "conv1", "conv2", "conv3", "gru"}
    assert survivors < 150


def test_hostile_safetensors(tmp_path):
    path = tmp_path / "x.safetensors"
    headers = [
        {"net.1.net.0.weight": {"dtype": "F32", "shape": [1 << 60], "data_offsets": [0, 4]}},
        {"net.1.net.0.weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 1 << 60]}},
        {"__metadata__": {"primus_jax": "[" * 100_000}},
        {"__metadata__": {"primus_jax": "{"}},
        {"__metadata__": {"primus_jax": '{"format": 3}'}},
    ]
    for header in headers:
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
        refused(path)
    for size in (0, 1 << 31, (1 << 64) - 1):
        path.write_bytes(struct.pack("<Q", size) + b"{}")
        refused(path)


@pytest.mark.parametrize(
    "change",
    [
        {"rate_hz": 10**400},
        {"rate_hz": "50"},
        {"rate_hz": True},
        {"rate_hz": 1e-300},
        {"window_seconds": 1e5},
        {"window_seconds": 1},
        {"provenance": {"data": 5}},
        {"provenance": {"data": [1]}},
        {"provenance": {"data": {"x": 3}}},
        {"provenance": {"data": {"x": {"splits": 3}}}},
        {"provenance": {"data": {"x": {"splits": {"train": "many"}}}}},
        {"window_seconds": -1},
        {"head": ["emb"]},
        {"provenance": 3},
        {"encoder": {"blocks": 10**12, "trunk": "motion"}},
        {"encoder": {"trunk": []}},
        {"encoder": {"channels": 10**30}},
    ],
)
def test_hostile_descriptions(change, tmp_path):
    encoder = {"trunk": "released", **dataclasses.asdict(ReleasedConfig())} | change.get(
        "encoder", {}
    )
    description = {"format": "primus-jax encoder 1", "rate_hz": 50, "window_seconds": 5}
    description |= {"head": "emb"} | change | {"encoder": encoder}
    text = json.dumps({"__metadata__": {"primus_jax": json.dumps(description)}}).encode()
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    refused(path)
    if "channels" not in change.get("encoder", {}):
        with pytest.raises(PrimusError):
            check_description(description, "here")
