"""The export folder: `model.safetensors` with PyTorch's names and `config.json`.

The safetensors header carries the same description as `config.json`, so that the file alone is
not mistaken for another architecture whose tensors have the same names.
"""

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from primus_jax.atomic import new_folder
from primus_jax.errors import PrimusError
from primus_jax.export.torch import Params, from_torch_names, to_torch_names
from primus_jax.models.imu_encoder import EncoderConfig
from primus_jax.window import CHANNELS

FORMAT = "primus-jax encoder 1"
WEIGHTS = "model.safetensors"
DESCRIPTION = "config.json"


def write_folder(
    folder: str | os.PathLike[str],
    params: Params,
    config: EncoderConfig,
    *,
    rate_hz: float,
    window_seconds: float,
    provenance: dict[str, Any],
    head: str = "emb",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write an encoder, whole or not at all, and return what `config.json` says.

    Args:
        folder: must not exist or be empty, unless `overwrite`.
        params: the encoder's parameters, the tree inside "params".
        config: the architecture of `params`.
        rate_hz: samples per second of the windows that it was trained on.
        window_seconds: their length.
        provenance: how it was trained; anything that JSON can hold.
        head: the output that `Encoder.encode` returns unless told otherwise.
        overwrite: replace an existing folder.

    Raises:
        PrimusError: parameters that do not fit `config`, an unknown head, a rate or length that is
            not positive, provenance that JSON cannot hold, or an existing folder.
    """
    tensors = to_torch_names(params, config)
    description = {
        "format": FORMAT,
        "encoder": dataclasses.asdict(config),
        "rate_hz": float(rate_hz),
        "window_seconds": float(window_seconds),
        "channels": list(CHANNELS),
        "units": {"acc": "m/s2 with gravity", "gyro": "rad/s"},
        "head": head,
        "parameters": sum(tensor.size for tensor in tensors.values()),
    }
    check_description(description, f"the export to {folder}")
    try:
        header = json.dumps(description | {"provenance": provenance}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PrimusError(f"the provenance cannot be written as JSON: {error}.") from error
    with new_folder(folder, overwrite=overwrite, own=(WEIGHTS, DESCRIPTION)) as temporary:
        weights = temporary / WEIGHTS
        save_file(tensors, weights, metadata={"format": "pt", "primus_jax": header})
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
        description |= {"weights_sha256": digest, "provenance": provenance}
        (temporary / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
    return description


def read_folder(
    folder: str | os.PathLike[str],
) -> tuple[Params, EncoderConfig, dict[str, Any]]:
    """Read an export folder -> (parameters, architecture, what `config.json` says).

    Raises:
        PrimusError: not an export folder, incomplete, of a newer format, or damaged: the digest of
            the weights is verified.
    """
    folder = Path(folder)
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise PrimusError(
                f"{folder} has no {name}; expected a folder of `primus-jax export`, or a "
                f".safetensors or .pt file."
            )
    try:
        description = json.loads((folder / DESCRIPTION).read_text())
    except ValueError as error:
        raise PrimusError(f"{folder / DESCRIPTION} is not JSON: {error}. Export again.") from error
    config = check_description(description, str(folder / DESCRIPTION))
    content = (folder / WEIGHTS).read_bytes()
    if hashlib.sha256(content).hexdigest() != description.get("weights_sha256"):
        raise PrimusError(
            f"{folder / WEIGHTS} is not the file that {DESCRIPTION} was written with: it is "
            f"damaged or was replaced. Export or copy it again."
        )
    tensors, _ = read_safetensors(folder / WEIGHTS)
    params, config = from_torch_names(tensors, config)
    return params, config, description


def read_safetensors(
    path: str | os.PathLike[str],
) -> tuple[dict[str, np.ndarray], dict[str, Any] | None]:
    """Tensors by name, and the description that `write_folder` put in the header, if any.

    Raises:
        PrimusError: no such file, or damaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = (file.metadata() or {}).get("primus_jax")
        return tensors, None if header is None else json.loads(header)
    except OSError as error:
        raise PrimusError(f"cannot read {path}: {error.strerror or error}.") from error
    except (SafetensorError, ValueError) as error:
        raise PrimusError(f"{path} is not a whole safetensors file: {error}.") from error


def check_description(description: Any, where: str) -> EncoderConfig:
    """The architecture in a description; raises PrimusError, naming `where`, if that is wrong."""
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        found = description.get("format") if isinstance(description, dict) else description
        raise PrimusError(
            f"{where}: format {found!r}; expected {FORMAT!r}. Export again with this version."
        )
    fields = {field.name for field in dataclasses.fields(EncoderConfig)}
    encoder = description.get("encoder")
    if not isinstance(encoder, dict) or encoder.keys() != fields:
        raise PrimusError(f"{where}: encoder is {encoder!r}; expected the keys {sorted(fields)}.")
    config = EncoderConfig(**encoder)
    config.validate()
    for field in ("rate_hz", "window_seconds"):
        value = description.get(field)
        if not isinstance(value, float | int) or not np.isfinite(value) or value <= 0:
            raise PrimusError(f"{where}: {field} is {value!r}; expected a positive number.")
    if description.get("head") not in config.heads:
        raise PrimusError(
            f"{where}: head is {description.get('head')!r}; expected one of {config.heads}."
        )
    return config
