"""Texts and videos that windows are compared with: stored embeddings, or towers in the step."""

import dataclasses
import itertools
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.data.folder import TENSORS, DatasetFolder
from primus_jax.data.inputs import Input, Spec, Window
from primus_jax.errors import PrimusError
from primus_jax.models.clip.towers import Towers, embed_text, embed_video


@dataclasses.dataclass(frozen=True)
class Target:
    """One kind of target.

    Attributes:
        name: in configs, and the prefix of its arrays in a batch.
        tower: of CLIP, that embeds it.
        tensor: of a dataset, that this tower reads.
        option: of `primus-jax prepare`, that adds the tensor.
        present: whether a record has one, where a tower reads it.
        embed: (parameters, config, tensor `[rows, ...]`) -> embeddings `[rows, dim]`.
    """

    name: str
    tower: str
    tensor: str
    option: str
    present: Callable[[Mapping[str, Any]], bool]
    embed: Callable[..., jax.Array]


TARGETS = {
    target.name: target
    for target in (
        Target("text", "text", "tokens", "--tokenizer", lambda r: bool(r["text"]), embed_text),
        Target(
            "video", "vision", "frames", "--frames", lambda r: bool(r["has_frames"]), embed_video
        ),
    )
}


def identity(target: Target, record: Mapping[str, Any], value: np.ndarray, present: bool) -> int:
    """Return equal numbers for equal texts and for equal videos; -1 for an absent target."""
    content = record["text"].encode() if target.name == "text" else value.tobytes()
    return zlib.crc32(content) & 0x7FFFFFFF if present else -1


@dataclasses.dataclass(frozen=True)
class StoredTarget(Input):
    """The stored embedding of a target, with a mask and a number that equal targets share.

    Arrays: `NAME_embedding` float16 `[dim]` (zeros where absent), `NAME_mask` bool `[]`, `NAME_id`
    int32 `[]`.
    """

    target: Target
    dim: int

    @property
    def arrays(self) -> Mapping[str, Spec]:
        """Embedding, mask and number."""
        name = self.target.name
        return {
            f"{name}_embedding": Spec((self.dim,), "float16"),
            f"{name}_mask": Spec((), "bool"),
            f"{name}_id": Spec((), "int32"),
        }

    def read(self, window: Window) -> Mapping[str, Any]:
        """Return the three arrays."""
        record, name = window.record, self.target.name
        key = f"{name}_embedding"
        present = key in record and bool(record[f"has_{key}"])
        value = np.asarray(record[key], np.float16) if present else np.zeros(self.dim, np.float16)
        return {
            key: value,
            f"{name}_mask": np.bool_(present),
            f"{name}_id": np.int32(identity(self.target, record, value, present)),
        }

    def check(self, folders: Sequence[DatasetFolder]) -> None:
        """Raise PrimusError unless the datasets store embeddings of this width from one tower."""
        name, key = self.target.name, f"{self.target.name}_embedding"
        widths = {f.path: f.metadata.tensors.get(key, (None,))[0] for f in folders}
        if not any(widths.values()):
            raise PrimusError(
                f"no {name} embeddings in {', '.join(map(str, widths))}, but config.objective "
                f"names {name!r} as a target or a teacher. Make them with `primus-jax embed`, name "
                f"frozen towers in config.data.towers, or leave {name!r} out."
            )
        for path, width in widths.items():
            if width not in (None, self.dim):
                raise PrimusError(
                    f"{path}: {key} has {width} values, expected {self.dim}. Set "
                    f"config.data.embedding_dim to the width of the stored embeddings."
                )
        known = [(f.path, tower) for f in folders if (tower := f.metadata.towers.get(name))]
        for (path, mine), (other, theirs) in itertools.pairwise(known):
            if mine.digest != theirs.digest:
                raise PrimusError(
                    f"{path} stores {name} embeddings of the tower {mine.name} (weights "
                    f"{mine.digest}), {other} those of {theirs.name} ({theirs.digest}): "
                    f"they cannot be compared. Embed both with one tower (`primus-jax embed`)."
                )

    @property
    def tower(self) -> str:
        """The tower that can embed this target in the step."""
        return self.target.tower

    def with_towers(self, towers: Towers, folders: Sequence[DatasetFolder]) -> "TowerTarget":
        """Return the same target, embedded in the step."""
        target = self.target
        part = getattr(towers.config, target.tower)
        if part is None:
            raise PrimusError(
                f"{towers.name} holds no {target.tower} tower, which the target {target.name!r} "
                f"needs. Load a folder that holds it, or leave {target.name!r} out of "
                f"config.objective.targets."
            )
        if part.projection != self.dim:
            raise PrimusError(
                f"the {target.tower} tower of {towers.name} gives {part.projection} values, but "
                f"config.data.embedding_dim is {self.dim}. Set it, and config.encoder.head_dim "
                f"(or, without heads, embed_dim), to {part.projection}."
            )
        below = 256 if target.tensor == "frames" else part.vocabulary
        shape = tensor_shape(target, folders)
        if target.tensor == "tokens":
            check_tokenizers(folders)
        made = TowerTarget(target, shape, below)
        made.check_tower(towers)
        return made


@dataclasses.dataclass(frozen=True)
class TowerTarget(Input):
    """What a frozen tower in the step embeds of a target.

    Arrays: `tokens` int32 `[77]` or `frames` uint8 `[n, height, width, 3]`, `NAME_mask` bool `[]`,
    `NAME_id` int32 `[]`. No value may reach `below`.
    """

    target: Target
    shape: tuple[int, ...]
    below: int

    @property
    def tower(self) -> str:
        """The tower that reads the tensor."""
        return self.target.tower

    @property
    def arrays(self) -> Mapping[str, Spec]:
        """The tower's tensor, mask and number."""
        target = self.target
        return {
            target.tensor: Spec(self.shape, str(np.dtype(TENSORS[target.tensor]))),
            f"{target.name}_mask": Spec((), "bool"),
            f"{target.name}_id": Spec((), "int32"),
        }

    def read(self, window: Window) -> Mapping[str, Any]:
        """Return the three arrays; the tensor is zeros where the dataset lacks it."""
        record, target = window.record, self.target
        key, present = target.tensor, False
        value = np.zeros(self.shape, TENSORS[key])
        if key in record:
            value, present = record[key], target.present(record)
            if value.max() >= self.below:
                raise PrimusError(
                    f"{window.path}: {key} up to {value.max()}, but the tower knows those below "
                    f"{self.below}. Take the tokenizer and the towers from one model."
                )
        return {
            key: value,
            f"{target.name}_mask": np.bool_(present),
            f"{target.name}_id": np.int32(identity(target, record, value, present)),
        }

    def embed(self, towers: Any, config: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the batch with `NAME_embedding` float32 `[rows, dim]` in place of the tensor.

        Nothing flows back into the towers.
        """
        target, batch = self.target, dict(batch)
        vectors = target.embed(towers, config, batch.pop(target.tensor))
        # Rows without the target are zeros, as they are stored.
        vectors = jnp.where(batch[f"{target.name}_mask"][:, None], vectors, 0)
        return batch | {f"{target.name}_embedding": jax.lax.stop_gradient(vectors)}

    def check_tower(self, towers: Towers) -> None:
        """Raise PrimusError unless the tower takes inputs of this shape."""
        rows = jax.ShapeDtypeStruct((1, *self.shape), TENSORS[self.target.tensor])
        try:
            jax.eval_shape(lambda p, x: self.target.embed(p, towers.config, x), towers.params, rows)
        except PrimusError as error:
            raise PrimusError(
                f"config.data.towers {towers.name} does not fit the data: {error}"
            ) from None


def tensor_shape(target: Target, folders: Sequence[DatasetFolder]) -> tuple[int, ...]:
    """Return the one shape of the tower's tensor in the datasets that have it.

    Windows without a sentence or a video are masked, so a dataset without any may lack the tensor.
    """
    tensor, option = target.tensor, target.option
    shapes = {f.path: f.metadata.tensors.get(tensor, ()) for f in folders}
    for folder in folders:
        sentences = folder.metadata.windows_with_text
        if not shapes[folder.path] and tensor == "tokens" and sentences:
            raise PrimusError(
                f"{folder.path} holds sentences but no tokens, which the text tower in the step "
                f"reads. Prepare it with {option}, or leave config.data.towers empty to train on "
                f"stored embeddings."
            )
    found = {shape: path for path, shape in shapes.items() if shape}
    if len(found) > 1:
        raise PrimusError(
            f"{tensor} of different shapes: "
            f"{', '.join(f'{list(shape)} in {path}' for shape, path in found.items())}. "
            f"Prepare all datasets with the same {option}."
        )
    if not found:
        raise PrimusError(
            f"no {tensor} in {', '.join(map(str, shapes))}. Prepare with {option}, or leave "
            f"config.data.towers empty to train on stored embeddings."
        )
    return next(iter(found))


def check_tokenizers(folders: Sequence[DatasetFolder]) -> None:
    """Raise PrimusError where equal ids of two datasets mean different words."""
    used = {f.path: f.metadata.tokenizer for f in folders if f.metadata.tokenizer}
    if len({tokenizer.hash for tokenizer in used.values()}) > 1:
        made = ", ".join(f"{t.name} ({t.hash}) in {path}" for path, t in used.items())
        raise PrimusError(f"different tokenizers: {made}. Prepare all with the towers' own.")
