"""Hugging Face's names and layouts of CLIP's tensors -> the parameters of our towers.

`layout` is the whole correspondence; everything else follows from it.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.models.clip.config import ClipConfig, TextConfig, VisionConfig
from primus_jax.weights.safetensors import read_safetensors
from primus_jax.weights.torch_file import read_torch_file

SINGLE, INDEX, PICKLED = "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
PROJECTIONS = {"text": "text_projection.weight", "vision": "visual_projection.weight"}
# Held by folders, used by no tower: the loss's temperature, and buffers of old versions.
UNUSED = {"logit_scale", *(f"{t}_model.embeddings.position_ids" for t in PROJECTIONS)}
SHOWN = 8


@dataclasses.dataclass(frozen=True)
class Entry:
    """Where one tensor goes, in which block, and how it is turned."""

    shape: tuple[int, ...]
    place: tuple[str, ...]
    block: int | None = None
    turn: Literal["", "linear", "patches"] = ""


def layout(config: TextConfig | VisionConfig) -> dict[str, Entry]:
    """Every tensor of a tower, by its name in Hugging Face's layout."""
    tower = "text" if isinstance(config, TextConfig) else "vision"
    width = config.width
    root = f"{tower}_model"
    entries: dict[str, Entry] = {}

    def norm(name: str, place: tuple[str, ...], block: int | None = None) -> None:
        for theirs, ours in (("weight", "scale"), ("bias", "bias")):
            entries[f"{root}.{name}.{theirs}"] = Entry((width,), (*place, ours), block)

    if isinstance(config, TextConfig):
        for name, rows in (("token", config.vocabulary), ("position", config.positions)):
            entries[f"{root}.embeddings.{name}_embedding.weight"] = Entry(
                (rows, width), (f"{name}_embedding",)
            )
        norm("final_layer_norm", ("final_layer_norm",))
    else:
        embeddings = f"{root}.embeddings"
        entries[f"{embeddings}.class_embedding"] = Entry((width,), ("class_embedding",))
        entries[f"{embeddings}.patch_embedding.weight"] = Entry(
            (width, 3, config.patch, config.patch), ("patch_embedding", "kernel"), turn="patches"
        )
        entries[f"{embeddings}.position_embedding.weight"] = Entry(
            (config.side**2 + 1, width), ("position_embedding",)
        )
        norm("pre_layrnorm", ("pre_layer_norm",))  # their spelling
        norm("post_layernorm", ("post_layer_norm",))
    blocks = ("transformer", "blocks")
    sizes = {f"self_attn.{name}_proj": (width, width) for name in ("q", "k", "v", "out")}
    sizes |= {"mlp.fc1": (config.hidden, width), "mlp.fc2": (width, config.hidden)}
    for block in range(config.layers):
        for name in ("layer_norm1", "layer_norm2"):
            norm(f"encoder.layers.{block}.{name}", (*blocks, name), block)
        for name, shape in sizes.items():
            place = (*blocks, name.rpartition(".")[2])
            theirs = f"{root}.encoder.layers.{block}.{name}"
            entries[f"{theirs}.weight"] = Entry(shape, (*place, "kernel"), block, "linear")
            entries[f"{theirs}.bias"] = Entry(shape[:1], (*place, "bias"), block)
    shape = (config.projection, width)
    entries[PROJECTIONS[tower]] = Entry(shape, ("projection", "kernel"), turn="linear")
    return entries


def read_tensors(folder: Path) -> tuple[dict[str, np.ndarray], Path]:
    """Tensors by name from the folder's weights, and the file that they, or their list, came from.

    Raises:
        PrimusError: no weights, a shard missing from the list's folder, or a damaged file.
    """
    if (folder / SINGLE).is_file():
        return read_safetensors(folder / SINGLE)[0], folder / SINGLE
    if (folder / INDEX).is_file():
        return _read_shards(folder / INDEX), folder / INDEX
    if (folder / PICKLED).is_file():
        return read_torch_file(folder / PICKLED), folder / PICKLED
    raise PrimusError(f"{folder} holds no weights; expected {SINGLE}, {INDEX} or {PICKLED}.")


def _read_shards(index: Path) -> dict[str, np.ndarray]:
    try:
        files = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted(set(files.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PrimusError(f"{index} is not a list of shards: {error!r}.") from error
    tensors: dict[str, np.ndarray] = {}
    for name in names:
        if Path(name).name != name:
            raise PrimusError(f"{index} names the shard {name!r}; expected a file beside it.")
        tensors |= read_safetensors(index.parent / name)[0]
    return tensors


def check(
    tensors: Mapping[str, np.ndarray], wanted: Mapping[str, Entry], config: ClipConfig, where: Path
) -> None:
    """Raise PrimusError naming every tensor that is missing, unknown or of another shape."""
    missing = sorted(wanted.keys() - tensors.keys())
    extra = sorted(tensors.keys() - wanted.keys() - UNUSED)
    shapes = [
        f"{name} {tensors[name].shape}, expected {entry.shape}"
        for name, entry in wanted.items()
        if name in tensors and tensors[name].shape != entry.shape
    ]
    problems = [
        f"{title}: {_some(names)}"
        for title, names in (("missing", missing), ("unknown", extra), ("of another shape", shapes))
        if names
    ]
    position = "vision_model.embeddings.position_embedding"
    if (vision := config.vision) and any(position in line for line in shapes):
        problems.append(
            f"config.json's image_size {vision.image} and patch_size {vision.patch} make "
            f"{vision.side}² + 1 positions, so these weights are for images of another size"
        )
    if problems:
        raise PrimusError(
            f"{where} does not hold the CLIP towers that config.json describes; tensors "
            f"{'; '.join(problems)}. Take both files from one model."
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def to_params(tensors: Mapping[str, np.ndarray], wanted: Mapping[str, Entry]) -> dict[str, Any]:
    """The parameter tree of one tower, float32."""
    found: dict[tuple[str, ...], Any] = {}
    for name, entry in wanted.items():
        value = tensors[name].astype(np.float32)
        if entry.turn == "linear":
            value = value.T
        elif entry.turn == "patches":
            value = value.transpose(2, 3, 1, 0).reshape(-1, entry.shape[0])
        if entry.block is None:
            found[entry.place] = np.ascontiguousarray(value)
        else:
            found.setdefault(entry.place, []).append(value)
    params: dict[str, Any] = {}
    for place, value in found.items():
        node = params
        for part in place[:-1]:
            node = node.setdefault(part, {})
        node[place[-1]] = np.stack(value) if isinstance(value, list) else value
    return params


def digest(tensors: Mapping[str, np.ndarray], wanted: Mapping[str, Entry]) -> str:
    """32 hex digits of a tower's names and float32 values, whatever file and type held them."""
    total = hashlib.blake2b(digest_size=16)
    for name in sorted(wanted):
        total.update(f"{name}\0".encode())
        total.update(np.ascontiguousarray(tensors[name], np.float32).data)
    return total.hexdigest()
