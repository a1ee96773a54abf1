"""Reads a PyTorch state dict (`.pt`, zip format) without PyTorch and without running its code.

The pickle inside is a program. Only the few instructions and the three names that a state dict
needs are allowed; everything else is refused before it runs.
"""

import collections
import io
import math
import os
import pickle
import pickletools
import zipfile
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from primus_jax.errors import PrimusError

# fmt: off
OPCODES = frozenset({
    "PROTO", "STOP", "FRAME", "MARK", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "BINPERSID",
    "EMPTY_DICT", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "SETITEM", "SETITEMS",
    "BINPUT", "LONG_BINPUT", "MEMOIZE", "BINGET", "LONG_BINGET", "NONE", "NEWTRUE", "NEWFALSE",
    "BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE",
})
# fmt: on
STORAGES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}


class Storage(NamedTuple):
    """A flat block of numbers: the member `data/<key>` of the archive."""

    dtype: np.dtype
    key: str
    length: int


class Tensor(NamedTuple):
    """A view of a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class RebuildTensor:
    """Stands in for `torch._utils._rebuild_tensor_v2`: notes the view and touches no data.

    An object without attributes, because a pickle may set attributes of whatever it is given.
    """

    __slots__ = ()

    def __call__(self, storage, offset, shape, strides, *unused) -> Tensor:
        return Tensor(storage, offset, shape, strides)


class StateDictUnpickler(pickle.Unpickler):
    """Knows three names; any other is an error."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return RebuildTensor()
        if module == "torch" and name in STORAGES:
            return name
        raise pickle.UnpicklingError(f"it wants {module}.{name}, which no plain state dict needs")

    def persistent_load(self, reference: Any) -> Storage:
        kind, storage, key, _, length = reference
        if kind != "storage":
            raise pickle.UnpicklingError(f"unknown reference {kind!r}")
        return Storage(STORAGES[storage], key, length)


def read_torch_file(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Tensors by name from a file written by `torch.save(module.state_dict(), path)`.

    Arrays keep the shape and dtype of the file. Checksums of the zip archive are verified.

    Raises:
        PrimusError: no such file, not a PyTorch zip file, damaged, or anything but a flat
            dictionary of tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return read_archive(archive)
    except OSError as error:
        raise PrimusError(f"cannot read {path}: {error.strerror or error}.") from error
    # A damaged zip or pickle makes its reader fail in almost any way.
    except Exception as error:
        raise PrimusError(
            f"{path} is damaged, or is not a plain PyTorch state dict: {error}. Expected a file "
            f"of torch.save(module.state_dict(), path), PyTorch 1.6 or newer."
        ) from error


def read_archive(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    """All tensors of an open archive; raises whatever is wrong with it."""
    members = {}
    for info in archive.infolist():
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"member {info.filename} is compressed")
        members["/".join(PurePosixPath(info.filename).parts[1:])] = info
    if "data.pkl" not in members:
        raise ValueError("it has no member data.pkl")
    if "byteorder" in members and archive.read(members["byteorder"]) != b"little":
        raise ValueError("its numbers are not little-endian")
    program = archive.read(members["data.pkl"])
    check_program(program)
    state = StateDictUnpickler(io.BytesIO(program)).load()
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__}, not a dictionary")
    tensors = {}
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(f"entry {name!r} is a {type(tensor).__name__}, not a tensor")
        member = members.get(f"data/{tensor.storage.key}")
        if member is None:
            raise ValueError(f"the numbers of {name} are missing")
        tensors[name] = view(archive.read(member), tensor)
    return tensors


def check_program(program: bytes) -> None:
    """Raise unless every instruction is one that a state dict needs."""
    for opcode, argument, position in pickletools.genops(program):
        if opcode.name not in OPCODES:
            raise ValueError(f"instruction {opcode.name} at byte {position} of data.pkl")
        # A huge memo index would make the unpickler reserve memory for it.
        if opcode.name == "LONG_BINPUT" and argument > len(program):
            raise ValueError(f"memo index {argument} at byte {position} of data.pkl")


def view(content: bytes, tensor: Tensor) -> np.ndarray:
    """The array that `tensor` describes, a copy; raises if it reaches outside its storage."""
    storage, offset, shape, strides = tensor
    flat = np.frombuffer(content, storage.dtype)
    if len(flat) != storage.length or len(shape) != len(strides):
        raise ValueError(f"storage {storage.key} has {len(flat)} numbers, not {storage.length}")
    if not all(isinstance(n, int) and n >= 0 for n in (offset, *shape, *strides)):
        raise ValueError(f"offset {offset}, shape {shape}, strides {strides}")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    size = math.prod(shape)
    if size > len(flat) or (size and last >= len(flat)):
        raise ValueError(f"shape {shape}, strides {strides} reach outside storage {storage.key}")
    steps = tuple(step * flat.itemsize for step in strides)
    return np.lib.stride_tricks.as_strided(flat[offset:], shape, steps).copy()
