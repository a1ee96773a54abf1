"""Frozen towers inside the step: what they need of the data, and what they do to a batch.

Their parameters are the step's `towers` argument (law 4); the rest here is decided at the start.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from primus_jax.config import Config
from primus_jax.data.folder import DatasetFolder
from primus_jax.data.pipeline import LiveInput
from primus_jax.errors import PrimusError
from primus_jax.models.clip.config import ClipConfig
from primus_jax.models.clip.towers import Towers, embed_text, embed_video, load_towers

# For each target of an objective: the tower, what it reads, and what adds that to a dataset.
NEEDS = {"text": ("text", "tokens", "--tokenizer"), "video": ("vision", "frames", "--frames")}


@dataclasses.dataclass(frozen=True)
class InStepTowers:
    """Towers that run in the step; none for training on stored embeddings.

    Attributes:
        inputs: what the pipeline must yield for each target that is embedded in the step.
        params: of the towers in use, float32, by "text" and "vision".
        digests: of the same towers.
        config: of the towers, None without any.
    """

    inputs: dict[str, LiveInput] = dataclasses.field(default_factory=dict)
    params: dict[str, Any] = dataclasses.field(default_factory=dict)
    digests: dict[str, str] = dataclasses.field(default_factory=dict)
    config: ClipConfig | None = None

    def embed(self, towers: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """The batch with `NAME_embedding` float32 `[b, dim]` of its tokens and frames.

        Without live targets the batch as it is. Nothing flows back into the towers.

        Args:
            towers: `params`, as the step's argument.
            batch: rows of this device, with the tensors of `inputs`.
        """
        batch = dict(batch)
        for name, wanted in self.inputs.items():
            embed = embed_text if name == "text" else embed_video
            vectors = embed(towers, self.config, batch.pop(wanted.tensor))
            # Rows without the target are zeros, as they are stored.
            vectors = jnp.where(batch[f"{name}_mask"][:, None], vectors, 0)
            batch[f"{name}_embedding"] = jax.lax.stop_gradient(vectors)
        return batch


def open_in_step_towers(config: Config, folders: Sequence[DatasetFolder]) -> InStepTowers:
    """The towers of `config.data.towers` for every target of the objective; none if it is "".

    Raises:
        PrimusError: a target without a tower, a tower of another width than the encoder, or data
            without tokens or frames of the shape that the tower takes; without towers, a target
            that no dataset stores, or that is stored in another width.
    """
    if not config.data.towers:
        _check_stored(config, folders)
        return InStepTowers()
    towers = load_towers(config.data.towers)
    inputs: dict[str, LiveInput] = {}
    for name in config.objective.targets:
        tower, tensor, option = NEEDS[name]
        part = getattr(towers.config, tower)
        if part is None:
            raise PrimusError(
                f"{config.data.towers} holds no {tower} tower, which the target {name!r} needs. "
                f"Load a folder that holds it, or leave {name!r} out of config.objective.targets."
            )
        if part.projection != config.data.embedding_dim:
            raise PrimusError(
                f"the {tower} tower of {config.data.towers} gives {part.projection} values, but "
                f"config.data.embedding_dim is {config.data.embedding_dim}. Set it, and "
                f"config.encoder.head_dim (or, without heads, embed_dim), to {part.projection}."
            )
        shape = _shape(folders, tensor, option)
        below = 256 if tensor == "frames" else part.vocabulary
        inputs[name] = LiveInput(tensor, shape, below)
    _check_inputs(config.data.towers, towers, inputs)
    if "text" in inputs:
        _check_tokenizers(folders)
    used = [NEEDS[name][0] for name in inputs]
    return InStepTowers(
        inputs,
        {tower: towers.params[tower] for tower in used},
        {tower: towers.digests[tower] for tower in used},
        towers.config,
    )


def _check_stored(config: Config, folders: Sequence[DatasetFolder]) -> None:
    """Refuse a target that would be masked in every window, and embeddings of another width."""
    objective, dim = config.objective, config.data.embedding_dim
    for name in objective.compared_targets:
        key = f"{name}_embedding"
        widths = {f.path: f.metadata["tensors"].get(key, [None])[0] for f in folders}
        if not any(widths.values()):
            raise PrimusError(
                f"no {name} embeddings in {', '.join(map(str, widths))}, but {name!r} is one of "
                f"config.objective.targets {objective.targets}. Make them with `primus-jax embed`, "
                f"name frozen towers in config.data.towers, or leave {name!r} out of the targets."
            )
        for path, width in widths.items():
            if width not in (None, dim):
                raise PrimusError(
                    f"{path}: {key} has {width} values, expected {dim}. Set "
                    f"config.data.embedding_dim to the width of the stored embeddings."
                )


def _shape(folders: Sequence[DatasetFolder], tensor: str, option: str) -> tuple[int, ...]:
    """The one shape of a tensor in the datasets that have it.

    Windows without a sentence or a video are masked, so a dataset without any may lack the tensor.
    """
    shapes = {f.path: tuple(f.metadata["tensors"].get(tensor, ())) for f in folders}
    for folder in folders:
        sentences = sum(counts["with_text"] for counts in folder.metadata["counts"].values())
        if not shapes[folder.path] and (tensor == "tokens" and sentences):
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


def _check_tokenizers(folders: Sequence[DatasetFolder]) -> None:
    """Raise PrimusError where equal ids of two datasets mean different words."""
    used = {f.path: f.metadata["tokenizer"] for f in folders if f.metadata["tokenizer"]}
    if len({tokenizer["hash"] for tokenizer in used.values()}) > 1:
        made = ", ".join(f"{t['name']} ({t['hash']}) in {path}" for path, t in used.items())
        raise PrimusError(f"different tokenizers: {made}. Prepare all with the towers' own.")


def _check_inputs(path: str, towers: Towers, inputs: dict[str, LiveInput]) -> None:
    """Raise PrimusError unless the towers take inputs of these shapes, before anything starts."""
    for name, wanted in inputs.items():
        embed = embed_text if name == "text" else embed_video
        rows = jax.ShapeDtypeStruct((1, *wanted.shape), "int32" if name == "text" else "uint8")
        try:
            jax.eval_shape(lambda p, x, e=embed: e(p, towers.config, x), towers.params, rows)
        except PrimusError as error:
            raise PrimusError(f"config.data.towers {path} does not fit the data: {error}") from None
