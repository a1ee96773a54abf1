"""The kinds of inertial encoders by name, and their configs as plain values."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from primus_jax.errors import PrimusError
from primus_jax.models.base import EncoderConfig
from primus_jax.models.motif import MotifConfig
from primus_jax.models.motion import MotionConfig
from primus_jax.models.released import ReleasedConfig
from primus_jax.models.resnet1d import ResNet1DConfig
from primus_jax.models.vision.encoder import VisionConfig

ENCODERS: dict[str, type[EncoderConfig]] = {
    config.kind: config
    for config in (ReleasedConfig, MotionConfig, MotifConfig, ResNet1DConfig, VisionConfig)
}
# Fields of the one config class of version 0.1.0 by the kind that has no such choice.
_NOT_CHOSEN = {
    "released": {"blocks"},
    "motion": {"input_norm", "activation", "readout", "third_pool", "bins", "embed_dim"},
}


def encoder_to_dict(config: EncoderConfig) -> dict[str, Any]:
    """Return the fields of a config and its "kind", ready for JSON."""
    return {"kind": config.kind, **dataclasses.asdict(config)}


def encoder_from_dict(values: Any, where: str) -> EncoderConfig:
    """Return the config that `encoder_to_dict` wrote, or that version 0.1.0 wrote.

    Args:
        values: the dictionary.
        where: names the file in messages.

    Raises:
        PrimusError: an unknown kind, missing or unknown fields, or values that mean nothing.
    """
    values = of_this_version(values) if isinstance(values, Mapping) else values
    kind = values.get("kind") if isinstance(values, Mapping) else None
    if not isinstance(kind, str) or kind not in ENCODERS:
        raise PrimusError(
            f"{where}: encoder is {values!r:.300}; expected a dictionary whose kind is one of "
            f"{tuple(ENCODERS)}."
        )
    fields = {field.name for field in dataclasses.fields(ENCODERS[kind])}
    given = {name: value for name, value in values.items() if name != "kind"}
    if given.keys() != fields:
        raise PrimusError(
            f"{where}: encoder is {values!r:.300}; expected the keys {sorted(fields | {'kind'})}."
        )
    config = ENCODERS[kind](**given)
    config.validate()
    return config


def of_this_version(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an encoder as this version names them.

    Version 0.1.0 had one class for all architectures, with the kind under "trunk". Fields without
    effect on that kind go; "head_dim", which came last, is 0 where it is missing. The released
    encoder had the norm "group" before that field was there.
    """
    found = dict(values)
    if "trunk" in found:
        kind = found.pop("trunk")
        if isinstance(kind, str):
            found = {n: v for n, v in found.items() if n not in _NOT_CHOSEN.get(kind, ())}
        found = {"kind": kind, "head_dim": 0, **found}
    before = {"norm": ReleasedConfig.norm} if found.get("kind") == ReleasedConfig.kind else {}
    return before | found
