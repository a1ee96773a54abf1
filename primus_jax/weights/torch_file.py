"""Reads PyTorch files of weights (`.pt`, `.ckpt`, zip format) without PyTorch or unpickling.

Only the structure is read at first (`pickle_program`), then the numbers of the tensors that are
asked for: of a Lightning checkpoint with frozen towers, only those of the encoder.
"""

import contextlib
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.weights.lfs import refuse_pointer
from primus_jax.weights.pickle_program import LARGEST_PROGRAM, Global, PickleMachine, RefusedCall
from primus_jax.weights.printable import shown

STORAGES: dict[str, np.dtype[Any]] = {
    "torch.DoubleStorage": np.dtype("<f8"),
    "torch.FloatStorage": np.dtype("<f4"),
    "torch.HalfStorage": np.dtype("<f2"),
    "torch.BFloat16Storage": np.dtype(jnp.bfloat16),
    "torch.LongStorage": np.dtype("<i8"),
    "torch.IntStorage": np.dtype("<i4"),
    "torch.ShortStorage": np.dtype("<i2"),
    "torch.CharStorage": np.dtype("i1"),
    "torch.ByteStorage": np.dtype("u1"),
    "torch.BoolStorage": np.dtype("?"),
}
# Where training frameworks keep the state dict among other things.
NESTED = ("state_dict", "model_state_dict", "model", "encoder")
# Dictionaries inside dictionaries that are looked into.
LEVELS = 2
MOST_AXES = 8
LARGEST_NUMBER = 1 << 40
# Characters of what went wrong; names in it are the file's.
MOST_SAID = 300


class Storage(NamedTuple):
    """A flat block of numbers: the member `data/<key>` of the archive."""

    dtype: np.dtype | None
    key: str
    length: int


class Tensor(NamedTuple):
    """A view of a storage; offset and strides count elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class TorchFile:
    """The state dict of an open archive: every name and shape, numbers on demand.

    Attributes:
        shapes: of every tensor, by name.
        others: entries of the state dict that are no tensors, name -> type.
        description: None; only our own safetensors files describe themselves.
    """

    description = None

    def __init__(self, archive: zipfile.ZipFile, size: int):
        self._archive, self._left = archive, 2 * size
        self._members = members_of(archive, size)
        state = state_dict(read_program(archive, self._members))
        self._tensors = {n: v for n, v in state.items() if isinstance(v, Tensor)}
        self.shapes = {name: tensor.shape for name, tensor in self._tensors.items()}
        self.others = {n: type(v).__name__ for n, v in state.items() if n not in self._tensors}

    def read(self, name: str) -> np.ndarray:
        """The numbers of one tensor, of the dtype in the file; the checksum is verified."""
        tensor = self._tensors[name]
        member = self._members.get(f"data/{tensor.storage.key}")
        if member is None:
            raise ValueError(f"the numbers of {name} are missing")
        if tensor.storage.dtype is None:
            raise ValueError(f"{name} is of a dtype that is not known here")
        # Tied weights are read twice; a file of a thousand views of one block is an attack.
        self._left -= math.prod(tensor.shape) * tensor.storage.dtype.itemsize
        if self._left < 0:
            raise ValueError("its tensors hold far more numbers than the file")
        return view(self._archive.read(member), tensor)


@contextlib.contextmanager
def open_torch_file(path: str | os.PathLike[str]) -> Iterator[TorchFile]:
    """Open a file of `torch.save`: a state dict, or a checkpoint with one inside.

    Raises:
        PrimusError: no such file, not a PyTorch zip file, damaged, without a state dict, or one
            that would call a function when it is unpickled.
    """
    refuse_pointer(path)
    try:
        with zipfile.ZipFile(path) as archive:
            yield TorchFile(archive, os.path.getsize(path))
    except PrimusError:
        raise
    except OSError as error:
        raise PrimusError(f"cannot read {path}: {error.strerror or error}.") from error
    except RefusedCall as error:
        raise PrimusError(
            f"{path} is not a plain PyTorch file of weights: {shown(str(error), MOST_SAID)}. "
            f"Nothing of it was run. If you trust it, write torch.save(model.state_dict(), "
            f"'weights.pt') where it was made, and read that."
        ) from error
    # A damaged zip or pickle makes its reader fail in almost any way.
    except Exception as error:
        raise PrimusError(
            f"{path} is damaged, or is not a plain PyTorch file of weights: "
            f"{shown(str(error), MOST_SAID)}. Expected a file of "
            f"torch.save(module.state_dict(), path) or a Lightning checkpoint, PyTorch 1.6 or "
            f"newer."
        ) from error


def read_torch_file(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """All tensors by name of a state dict; shape and dtype are those of the file.

    Raises:
        PrimusError: as `open_torch_file`, or an entry that is no tensor.
    """
    with open_torch_file(path) as file:
        for name, kind in file.others.items():
            raise ValueError(f"entry {name[:MOST_SAID]!r} is a {kind}, not a tensor")
        return {name: file.read(name) for name in file.shapes}


def members_of(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Members of an archive of `size` bytes by their names without the outermost folder."""
    members, folders = {}, set()
    for info in archive.infolist():
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"member {info.filename} is compressed")
        if info.file_size != info.compress_size or info.file_size > size:
            raise ValueError(f"member {info.filename} claims {info.file_size:,} bytes")
        folder, *rest = PurePosixPath(info.filename).parts or ("",)
        name = "/".join(rest)
        # Of two members of one name, readers disagree which is meant.
        if name in members:
            raise ValueError(f"member {info.filename} is there twice")
        members[name] = info
        folders.add(folder)
    if len(folders) > 1:
        raise ValueError(f"its members lie in {len(folders)} folders, not in one")
    if "data.pkl" not in members:
        raise ValueError("it has no member data.pkl")
    if members["data.pkl"].file_size > LARGEST_PROGRAM:
        raise ValueError(f"its data.pkl has {members['data.pkl'].file_size:,} bytes")
    if "byteorder" in members and archive.read(members["byteorder"]) != b"little":
        raise ValueError("its numbers are not little-endian")
    return members


def read_program(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> Any:
    """What the pickle of the archive describes; tensors become `Tensor`."""
    functions: dict[str, Callable[..., Any]] = {
        "collections.OrderedDict": lambda: {},
        "torch._utils._rebuild_tensor_v2": rebuild_tensor,
        # For dtypes that have no kind of storage, none of which an encoder can have.
        "torch._utils._rebuild_tensor_v3": lambda storage, *rest: rebuild_tensor(
            storage._replace(dtype=None), *rest
        ),
        "torch._utils._rebuild_parameter": lambda tensor, *unused: tensor,
        "torch._utils._rebuild_parameter_with_state": lambda tensor, *unused: tensor,
    }
    return PickleMachine(functions, load_storage).run(archive.read(members["data.pkl"]))


def load_storage(reference: Any) -> Storage:
    """The storage that a persistent id names."""
    kind, storage, key, _, length = reference
    if kind != "storage" or not isinstance(storage, Global) or not isinstance(key, str):
        raise ValueError("a reference to something that is not a storage")
    return Storage(STORAGES.get(storage.name), key, length)


def rebuild_tensor(
    storage: object, offset: object, shape: object, strides: object, *unused: object
) -> Tensor:
    """`torch._utils._rebuild_tensor_v2`, which notes the view and touches no data."""
    if not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise ValueError("a tensor without a shape")
    if max(len(shape), len(strides)) > MOST_AXES:
        raise ValueError("a tensor without a shape")
    numbers = (offset, *shape, *strides)
    if not isinstance(offset, int) or not all(
        type(n) is int and 0 <= n < LARGEST_NUMBER for n in numbers
    ):
        raise ValueError("a tensor whose offset, shape or strides are no sizes")
    if not isinstance(storage, Storage) or len(shape) != len(strides):
        raise ValueError("a tensor without a storage")
    return Tensor(storage, offset, shape, strides)


def state_dict(content: Any) -> dict[str, Any]:
    """The state dict in what a file holds: the whole of it, or one of the `NESTED` entries.

    Without these, the dictionaries of tensors up to two levels down, each name behind those of its
    dictionaries: whoever looks for an encoder finds it, or lists those that there are.
    """
    if not isinstance(content, dict):
        name = getattr(content, "name", type(content).__name__)
        raise ValueError(f"it holds a {name}, not a dictionary")
    for key in NESTED:
        inner = content.get(key)
        if isinstance(inner, dict) and any(isinstance(v, Tensor) for v in inner.values()):
            content = inner
            break
    else:
        if not any(isinstance(value, Tensor) for value in content.values()):
            content = _flat(content, LEVELS) or content
    return {str(name): value for name, value in content.items()}


def _flat(content: dict[Any, Any], levels: int) -> dict[str, Tensor]:
    """Tensors in dictionaries at most `levels` down, by names with dots."""
    found: dict[str, Tensor] = {}
    for key, value in content.items():
        if isinstance(value, Tensor):
            found[str(key)] = value
        elif isinstance(value, dict) and levels:
            inner = _flat(value, levels - 1)
            found |= {f"{key}.{name}": tensor for name, tensor in inner.items()}
    return found


def view(content: bytes, tensor: Tensor) -> np.ndarray:
    """The array that `tensor` describes, a copy; raises if it reaches outside its storage."""
    storage, offset, shape, strides = tensor
    flat = np.frombuffer(content, storage.dtype)
    if len(flat) != storage.length:
        raise ValueError(f"storage {storage.key} has {len(flat)} numbers, not {storage.length}")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    size = math.prod(shape)
    if size > len(flat) or (size and last >= len(flat)):
        raise ValueError(f"shape {shape}, strides {strides} reach outside storage {storage.key}")
    steps = tuple(step * flat.itemsize for step in strides)
    return np.lib.stride_tricks.as_strided(flat[offset:], shape, steps).copy()
