"""Frozen towers inside the step: what they need of the data, and what they do to a batch.

Their parameters are the step's `towers` argument (law 4); the rest here is decided at the start.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax

from primus_jax.config import Config
from primus_jax.data.folder import DatasetFolder
from primus_jax.data.inputs import Input
from primus_jax.errors import PrimusError
from primus_jax.hub.folder import read_folder
from primus_jax.models.clip.config import ClipConfig
from primus_jax.models.clip.towers import load_towers
from primus_jax.objectives.base import Frozen, ObjectiveConfig
from primus_jax.trees import Params


@dataclasses.dataclass(frozen=True)
class InStepTowers:
    """What batches hold, and the towers that run in the step; none for stored embeddings.

    Attributes:
        inputs: what the pipeline yields, as the objective lists it; where a tower runs in the step,
            what it reads instead of a stored embedding.
        params: of the towers in use, float32, by "text" and "vision", and of the objective's frozen
            networks by their names.
        digests: of the same.
        config: of the towers, None without any.
    """

    inputs: tuple[Input, ...]
    params: dict[str, Any] = dataclasses.field(default_factory=dict)
    digests: dict[str, str] = dataclasses.field(default_factory=dict)
    config: ClipConfig | None = None

    def embed(self, towers: Any, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """Return the batch that the objective reads, every input embedded that a tower fills.

        Args:
            towers: `params`, as the step's argument.
            batch: rows of this device, with the arrays of `inputs`.
        """
        for one in self.inputs:
            batch = one.embed(towers, self.config, batch)
        return batch


def open_in_step_towers(config: Config, folders: Sequence[DatasetFolder]) -> InStepTowers:
    """Return the objective's inputs, with the towers of `config.data.towers` where it names any.

    Raises:
        PrimusError: an input without a tower, a tower of another width than the encoder, or
            datasets without what the tower reads; towers that no input needs.
    """
    stored = tuple(config.objective.inputs(folders[0].window_samples, config.data.embedding_dim))
    frozen, frozen_digests = open_frozen(config.objective, folders)
    if not config.data.towers:
        return InStepTowers(stored, frozen, frozen_digests)
    if not any(one.tower for one in stored):
        raise PrimusError(
            f"config.data.towers is {config.data.towers!r}, but the objective reads nothing that "
            f"a tower embeds. Leave it empty, or set config.objective.targets."
        )
    towers = load_towers(config.data.towers)
    inputs = tuple(one.with_towers(towers, folders) for one in stored)
    used = list(dict.fromkeys(one.tower for one in inputs if one.tower))
    return InStepTowers(
        inputs,
        frozen | {tower: towers.params[tower] for tower in used},
        frozen_digests | {tower: towers.digests[tower] for tower in used},
        towers.config,
    )


def open_frozen(
    objective: ObjectiveConfig, folders: Sequence[DatasetFolder]
) -> tuple[dict[str, Params], dict[str, str]]:
    """Return parameters and digests of the frozen networks of an objective, by name.

    Raises:
        PrimusError: no exported folder there, a damaged one, or one that does not fit.
    """
    read = {name: (path, *read_folder(path)) for name, path in objective.frozen.items()}
    networks = {
        name: Frozen(path, config, description)
        for name, (path, _, config, description) in read.items()
    }
    objective.check_frozen(networks, folders)
    params = {name: params for name, (_, params, _, _) in read.items()}
    return params, {name: f.description["weights_sha256"] for name, f in networks.items()}
