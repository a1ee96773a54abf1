"""The hub folder: weights with PyTorch's names, what they are, a card, and a PyTorch module.

The safetensors header carries what `config.json` tells of the encoder itself, so that the file
alone is not mistaken for another architecture whose tensors have the same names. How the encoder
was trained is in `config.json` alone: equal parameters give equal weights files. Older files carry
the training too, and are read as before.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from primus_jax.errors import PrimusError
from primus_jax.files import new_folder
from primus_jax.hub.card import model_card
from primus_jax.hub.recognise import recognise
from primus_jax.hub.torch_names import from_torch_names, to_torch_names
from primus_jax.models.base import EncoderConfig, check_window
from primus_jax.models.encoders import encoder_from_dict, encoder_to_dict
from primus_jax.models.released import ReleasedConfig
from primus_jax.reports.rows import ResultRow
from primus_jax.trees import Params
from primus_jax.weights.printable import MOST_SAID, shown, shown_value
from primus_jax.weights.safetensors import file_digest, open_safetensors, write_safetensors
from primus_jax.window import CHANNELS

FORMAT = "primus-jax encoder 2"
# Format 1 had one class for all architectures; see `models.encoders.of_this_version`.
READABLE = (FORMAT, "primus-jax encoder 1")
WEIGHTS = "model.safetensors"
DESCRIPTION = "config.json"
CARD = "README.md"
# The PyTorch module of a folder, by the kind of its network.
MODULES = {
    "released": "modeling_primus.py",
    "motion": "modeling_primus.py",
    "resnet1d": "modeling_relcon.py",
    "motif": "modeling_relcon.py",
    "vision": "modeling_vision.py",
}
ONNX, ONNX_INT8, STABLEHLO = "model.onnx", "model_int8.onnx", "model.stablehlo"
# Keys of `config.json` that equal parameters need not share.
OF_THE_TRAINING = ("metrics", "provenance")
FILES = (WEIGHTS, DESCRIPTION, CARD, *sorted({*MODULES.values()}), ONNX, ONNX_INT8, STABLEHLO)
FIXED = "none outside; the encoder divides by (9.80665 m/s2, 2 rad/s)"
NORMALISATION = {
    "group": "none outside; GroupNorm per window and sensor is the encoder's first layer",
    "layer": "none outside; LayerNorm per window over time and channels is the first layer",
    "instance": "none outside; InstanceNorm per window and channel is the first layer",
    "vision": "none outside; every image is stretched to 0..1 and standardised as ImageNet's are",
    "resnet1d": "none outside, and none of the input inside",
    "motif": "none outside; by the statistics of the candidate window",
}
# No encoder is deeper; a hostile description must not make a loop of it.
MOST_BLOCKS = 64
# No window is longer: an hour at 25 Hz
MOST_SAMPLES = 100_000


class Artefact(Protocol):
    """Writes one more file into a folder and returns what `config.json` says about it."""

    def __call__(
        self, path: Path, params: Params, config: EncoderConfig, description: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Write `path`."""


def write_folder(
    folder: str | os.PathLike[str],
    params: Params,
    config: EncoderConfig,
    *,
    rate_hz: float,
    window_seconds: float,
    provenance: dict[str, Any],
    head: str = "emb",
    licence: str = "unknown",
    metrics: Mapping[str, float] | None = None,
    results: Sequence[ResultRow] = (),
    artefacts: Mapping[str, Artefact] | None = None,
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
        licence: of the weights, an SPDX identifier or words.
        metrics: of its training, by name.
        results: rows of a `results.jsonl`, for the table in the card.
        artefacts: further files, by name (`ONNX`, `ONNX_INT8`, `STABLEHLO`).
        overwrite: replace an existing folder.

    Raises:
        PrimusError: parameters that do not fit `config`, an unknown head, windows that the encoder
            cannot take, provenance that JSON cannot hold, or an existing folder.
    """
    tensors = to_torch_names(params, config)
    description: dict[str, Any] = {
        "format": FORMAT,
        "encoder": encoder_to_dict(config),
        "rate_hz": float(rate_hz),
        "window_seconds": float(window_seconds),
        "channels": list(CHANNELS),
        "axes": "right-handed, fixed to the device; gyroscope axes are the accelerometer's",
        "units": {"acc": "m/s2 with gravity", "gyro": "rad/s"},
        "normalisation": _normalisation(config),
        "head": head,
        "heads": list(config.heads),
        "parameters": sum(tensor.size for tensor in tensors.values()),
        "license": licence,
        "metrics": dict(metrics or {}),
    }
    check_description(description | {"provenance": provenance}, f"the export to {folder}")
    try:
        json.dumps(description | {"provenance": provenance}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise PrimusError(f"the provenance cannot be written as JSON: {error}.") from error
    about = {name: value for name, value in description.items() if name not in OF_THE_TRAINING}
    header = json.dumps(about, sort_keys=True)
    with new_folder(folder, overwrite=overwrite, own=FILES) as temporary:
        weights = temporary / WEIGHTS
        write_safetensors(tensors, weights, {"format": "pt", "primus_jax": header})
        description |= {"weights_sha256": file_digest(weights), "provenance": provenance}
        description["files"] = {}
        for name, write in (artefacts or {}).items():
            told = write(temporary / name, params, config, description)
            size = {"bytes": (temporary / name).stat().st_size}
            description["files"][name] = told | size
        (temporary / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
        (temporary / CARD).write_text(model_card(description, results), encoding="utf-8")
        module = MODULES[config.kind]
        shutil.copyfile(Path(__file__).with_name(module), temporary / module)
    return description


def _normalisation(config: EncoderConfig) -> str:
    """What `config.json` tells of the scale of the input."""
    if isinstance(config, ReleasedConfig) and config.input_norm == "group":
        return NORMALISATION[config.norm]
    return NORMALISATION.get(config.kind, FIXED)


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
                f"{folder} has no {name}; expected a folder of `primus-jax export`, or a file of "
                f"weights."
            )
    try:
        description = json.loads((folder / DESCRIPTION).read_text())
    except (ValueError, RecursionError) as error:
        said = shown(str(error), MOST_SAID)
        raise PrimusError(f"{folder / DESCRIPTION} is not JSON: {said}. Export again.") from error
    config = check_description(description, str(folder / DESCRIPTION))
    if file_digest(folder / WEIGHTS) != description.get("weights_sha256"):
        raise PrimusError(
            f"{folder / WEIGHTS} is not the file that {DESCRIPTION} was written with: it is "
            f"damaged or was replaced. Export or copy it again."
        )
    with open_safetensors(folder / WEIGHTS) as file:
        recognise(file.shapes, config, "")
        tensors = {name: file.read(name) for name in file.shapes}
    params, config = from_torch_names(tensors, config)
    return params, config, description


def training_beside(weights: Path) -> dict[str, Any]:
    """Return what the `config.json` beside a weights file holds of its training.

    {} where the weights are not those that the `config.json` was written with.
    """
    try:
        description = json.loads((weights.parent / DESCRIPTION).read_text())
        if description["weights_sha256"] == file_digest(weights):
            return {name: description[name] for name in OF_THE_TRAINING}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        pass  # it belongs to something else
    return {}


def check_description(description: object, where: str) -> EncoderConfig:
    """The architecture in a description; raises PrimusError, naming `where`, if that is wrong."""
    if not isinstance(description, dict) or description.get("format") not in READABLE:
        found = description.get("format") if isinstance(description, dict) else description
        raise PrimusError(
            f"{where}: format {shown_value(found)}; expected {FORMAT!r}. Export again with "
            f"this version."
        )
    config = encoder_from_dict(description.get("encoder"), where)
    blocks = getattr(config, "blocks", 0)
    if blocks > MOST_BLOCKS:
        raise PrimusError(f"{where}: encoder.blocks is {blocks}; expected at most {MOST_BLOCKS}.")
    check_length(config, description.get("rate_hz"), description.get("window_seconds"), where)
    head = description.get("head")
    if head not in config.heads:
        raise PrimusError(f"{where}: head is {shown_value(head)}; expected one of {config.heads}.")
    provenance = description.get("provenance", {})
    if not isinstance(provenance, dict):
        raise PrimusError(f"{where}: provenance is not a dictionary.")
    data = provenance.get("data", {})
    splits = [
        about.get("splits", {}) if isinstance(about, dict) else None
        for about in (data.values() if isinstance(data, dict) else [None])
    ]
    if not all(isinstance(s, dict) and all(isinstance(n, int) for n in s.values()) for s in splits):
        raise PrimusError(
            f"{where}: provenance.data is {shown_value(data)}; expected what is known of each "
            f"dataset, by name."
        )
    return config


def check_length(config: EncoderConfig, rate_hz: Any, window_seconds: Any, where: str) -> None:
    """Raise PrimusError, naming `where`, unless the encoder can take windows of this length."""
    for field, value in (("rate_hz", rate_hz), ("window_seconds", window_seconds)):
        number = isinstance(value, float | int) and not isinstance(value, bool)
        if not number or not 0 < value < 1e6:
            raise PrimusError(
                f"{where}: {field} is {shown_value(value)}; expected a positive number."
            )
    samples = round(rate_hz * window_seconds)
    try:
        check_window(config, (1, samples, 6))
    except PrimusError as error:
        raise PrimusError(f"{where}: {window_seconds:g} s at {rate_hz:g} Hz: {error}") from error
    if samples > MOST_SAMPLES:
        raise PrimusError(
            f"{where}: {window_seconds:g} s at {rate_hz:g} Hz are windows of {samples:,} samples; "
            f"expected at most {MOST_SAMPLES:,}."
        )
