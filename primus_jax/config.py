"""The whole experiment as typed dataclasses, validated once.

A config file is a Python file with `get_config()` that returns a `Config`. On the command line
`--config.optim.lr=1e-3` sets one value; unknown names and wrong types are refused.
"""

import dataclasses
import hashlib
import json
import typing
from typing import Any

from primus_jax.errors import PrimusError
from primus_jax.models.compute import ComputeConfig
from primus_jax.models.imu_encoder import EncoderConfig
from primus_jax.objectives.multitask import MultitaskConfig
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.optim import OptimConfig
from primus_jax.parallel.sharding import MeshConfig


@dataclasses.dataclass
class DataConfig:
    """What is read. Datasets are folders written by `primus-jax prepare`."""

    train: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()  # share of each dataset; (): in proportion to its windows
    batch_size: int = 256  # windows of the global batch
    embedding_dim: int = 512  # width of text and video embeddings
    towers: str = ""  # folder of CLIP towers that embed texts and frames in the step; "": stored
    validation_batches: int = 8  # at most
    skip_damaged: bool = False  # records are replaced by the next good one, and counted


@dataclasses.dataclass
class CheckpointConfig:
    """When to save. The best by validation loss is kept besides the last ones."""

    every: int = 500  # steps; validation runs at the same steps
    keep: int = 2


@dataclasses.dataclass
class Config:
    """One pretraining run."""

    seed: int = 0
    steps: int = 10_000
    log_every: int = 20
    devices: int = 0  # 0: all
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    encoder: EncoderConfig = dataclasses.field(default_factory=EncoderConfig)
    objective: PrimusConfig | MultitaskConfig = dataclasses.field(default_factory=PrimusConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    compute: ComputeConfig = dataclasses.field(default_factory=ComputeConfig)
    mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
    checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)

    def validate(self) -> None:
        """Raise PrimusError for the first value that means nothing, by its name."""
        for name, value, low in (
            ("steps", self.steps, 1),
            ("log_every", self.log_every, 1),
            ("devices", self.devices, 0),
            ("data.batch_size", self.data.batch_size, 2),
            ("data.embedding_dim", self.data.embedding_dim, 1),
            ("data.validation_batches", self.data.validation_batches, 1),
            ("checkpoint.every", self.checkpoint.every, 1),
            ("checkpoint.keep", self.checkpoint.keep, 1),
        ):
            if value < low:
                raise PrimusError(f"config.{name} is {value}; expected at least {low}.")
        if not 0 <= self.seed < 2**31:
            raise PrimusError(f"config.seed is {self.seed}; expected 0 to 2**31 - 1.")
        if not self.data.train:
            raise PrimusError(
                "config.data.train is empty; give one or more dataset folders, as in "
                "--config.data.train=\"('data/a','data/b')\"."
            )
        if len(set(self.data.train)) != len(self.data.train):
            raise PrimusError(f"config.data.train {self.data.train} names a folder twice.")
        self.encoder.validate()
        self.objective.validate(self.data.batch_size)
        self.optim.validate(self.steps)
        self.compute.validate()
        self.mesh.validate()
        head = "mmcl" if self.encoder.multihead else "emb"
        width, dim = self.encoder.width(head), self.data.embedding_dim
        if self.objective.targets and width != dim:
            raise PrimusError(
                f"the output {head!r} of config.encoder is {width} wide, config.data.embedding_dim "
                f"{dim}; they are compared. Set the latter to the width of the stored embeddings, "
                f"and config.encoder.head_dim (or, without heads, embed_dim) to the same."
            )
        if self.data.towers and not self.objective.targets:
            raise PrimusError(
                f"config.data.towers is {self.data.towers!r}, but the objective has no targets "
                f"for them to embed. Leave it empty, or set config.objective.targets."
            )


def to_dict(config: Config) -> dict[str, Any]:
    """The config as JSON-ready nested dicts."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(values: dict[str, Any], kind: type = Config) -> Any:
    """The inverse of `to_dict`.

    Raises:
        PrimusError: names that a config does not have, as from another version.
    """
    hints = typing.get_type_hints(kind)
    unknown = values.keys() - _names(kind)
    if unknown:
        raise PrimusError(f"{kind.__name__} has no {sorted(unknown)}: made by another version?")
    return kind(**{name: _value(value, hints[name]) for name, value in values.items()})


def _value(value: Any, hint: Any) -> Any:
    """A JSON value as what the hint says; of several dataclasses, the one with these fields."""
    if not isinstance(value, dict):
        return tuple(value) if isinstance(value, list) else value
    kinds = typing.get_args(hint) or (hint,)
    return from_dict(value, min(kinds, key=lambda kind: len(value.keys() - _names(kind))))


def _names(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def config_hash(config: Config) -> str:
    """Twelve hex digits that name the experiment."""
    text = json.dumps(to_dict(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"optim": {"lr": 1}}` -> `{"optim.lr": 1}`."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
