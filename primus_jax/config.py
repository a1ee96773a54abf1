"""The whole experiment as typed dataclasses, validated once.

A config file is a Python file with `get_config()` that returns a `Config`. On the command line
`--config.optim.lr=1e-3` sets one value, and `--config.encoder.kind=motion` takes another class
with its defaults; unknown names and wrong types are refused.
"""

import dataclasses
import hashlib
import json
import typing
from collections.abc import Mapping
from typing import Any, ClassVar

from primus_jax.errors import PrimusError
from primus_jax.models.base import EncoderConfig
from primus_jax.models.compute import ComputeConfig
from primus_jax.models.encoders import ENCODERS, of_this_version
from primus_jax.models.released import ReleasedConfig
from primus_jax.objectives.base import ObjectiveConfig
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.objectives.registry import OBJECTIVES
from primus_jax.optim import OptimConfig
from primus_jax.parallel.sharding import MeshConfig

# The fields of a config that hold one of several classes, which "kind" names.
KINDS: dict[str, Mapping[str, type]] = {"encoder": ENCODERS, "objective": OBJECTIVES}


@dataclasses.dataclass
class DataConfig:
    """What is read. Datasets are folders written by `primus-jax prepare`."""

    free: ClassVar[tuple[str, ...]] = ("validation_batches",)

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

    free: ClassVar[tuple[str, ...]] = ("every", "keep")

    every: int = 500  # steps; validation runs at the same steps
    keep: int = 2


@dataclasses.dataclass
class Config:
    """One pretraining run.

    `free` of this class, and of the classes of its fields, names what may differ between a run and
    its continuation, because it does not change what is trained.
    """

    free: ClassVar[tuple[str, ...]] = ("log_every", "devices")

    seed: int = 0
    steps: int = 10_000
    log_every: int = 20
    devices: int = 0  # 0: all
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    encoder: EncoderConfig = dataclasses.field(default_factory=ReleasedConfig)
    objective: ObjectiveConfig = dataclasses.field(default_factory=PrimusConfig)
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
        self.objective.check_encoder(self.encoder, self.data.embedding_dim)
        self._check_statistics()

    def _check_statistics(self) -> None:
        """Raise PrimusError where statistics of the batch are needed and cannot be had."""
        if not self.encoder.batch_statistics:
            return
        if not self.objective.keeps_statistics:
            keeping = [kind for kind, config in OBJECTIVES.items() if config.keeps_statistics]
            raise PrimusError(
                f"config.encoder.kind {self.encoder.kind!r} normalises by statistics of the batch, "
                f"which the objective {self.objective.kind!r} does not keep. Choose another "
                f"encoder, or an objective of {tuple(keeping)}."
            )
        if self.compute.micro_batches > 1:
            raise PrimusError(
                f"config.compute.micro_batches is {self.compute.micro_batches}, but the encoder "
                f"{self.encoder.kind!r} normalises by statistics of the whole batch. Set it to 1, "
                f"and config.compute.remat to save memory."
            )


def to_dict(config: Any) -> dict[str, Any]:
    """Return a config as JSON-ready nested dicts; a class with a kind also has "kind"."""
    values: dict[str, Any] = {"kind": config.kind} if hasattr(config, "kind") else {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        values[field.name] = to_dict(value) if dataclasses.is_dataclass(value) else value
    return json.loads(json.dumps(values))


def from_dict(values: Mapping[str, Any], kind: type = Config) -> Any:
    """Return the config that `to_dict` wrote, or that version 0.1.0 wrote.

    Raises:
        PrimusError: names or kinds that no config has, as from another version.
    """
    hints = typing.get_type_hints(kind)
    unknown = values.keys() - {field.name for field in dataclasses.fields(kind)}
    if unknown:
        raise PrimusError(f"{kind.__name__} has no {sorted(unknown)}: made by another version?")
    return kind(**{name: _value(name, value, hints[name]) for name, value in values.items()})


def _value(name: str, value: Any, hint: type) -> Any:
    if not isinstance(value, dict):
        return tuple(value) if isinstance(value, list) else value
    if name not in KINDS:
        return from_dict(value, hint)
    value = dict(_with_kind(name, value))
    kind = value.pop("kind")
    if kind not in KINDS[name]:
        raise PrimusError(
            f"config.{name} is of the kind {kind!r}; expected one of {tuple(KINDS[name])}. Was it "
            f"made by another version?"
        )
    return from_dict(value, KINDS[name][kind])


def _with_kind(name: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the same with a kind: version 0.1.0 had two methods, of which one made copies."""
    if name == "encoder":
        return of_this_version(value)
    return {"kind": "multitask" if "copies" in value else "primus", **value}


def free_options(config: Any, prefix: str = "") -> set[str]:
    """Return the dotted names of all fields that may change when a run resumes."""
    names = {prefix + name for name in getattr(config, "free", ())}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            names |= free_options(value, f"{prefix}{field.name}.")
    return names


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
