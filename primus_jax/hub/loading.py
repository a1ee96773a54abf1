"""Weights of any origin -> parameters, architecture and what is known about them."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from primus_jax.errors import PrimusError
from primus_jax.hub.folder import check_description, read_folder, training_beside
from primus_jax.hub.recognise import recognise
from primus_jax.hub.torch_names import from_torch_names
from primus_jax.models.base import EncoderConfig
from primus_jax.models.released import ReleasedConfig
from primus_jax.trees import Params
from primus_jax.weights.safetensors import open_safetensors
from primus_jax.weights.torch_file import open_torch_file

SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
# Hz; what the released weights of each kind were trained on (windows of 5 s)
RELEASED_RATES = {"max": 200.0, "adaptive": 50.0}
RELEASED_SECONDS = 5.0
# Those of RelCon: Hz and seconds.
RELCON_WINDOWS = 100.0, 2.56


class AssumptionWarning(UserWarning):
    """Weights that do not say what windows they were trained on, and nobody else did."""


def read_encoder(
    path: str | os.PathLike[str],
    config: EncoderConfig | None = None,
    prefix: str | None = None,
    rate_hz: float | None = None,
    window_seconds: float | None = None,
) -> tuple[Params, EncoderConfig, dict[str, Any]]:
    """An export folder or a file of weights -> (parameters, architecture, description).

    The description has at least `rate_hz`, `window_seconds` and `provenance`, whose entry "assumed"
    says which of the first two were neither in the file nor stated; `assumed` is true then. Of a
    checkpoint with other models inside, only the encoder's tensors are read.

    Args:
        path: an export folder, or a file of safetensors or of `torch.save`.
        config: the architecture, for a file that does not tell it.
        prefix: what stands before the encoder's names in a file; None finds it.
        rate_hz: of the training windows, in place of what is in the file.
        window_seconds: their length, likewise.

    Raises:
        PrimusError: missing, damaged or unknown weights; a file that would run code in PyTorch;
            missing, unexpected or wrongly shaped tensors, all listed.
    """
    path = Path(path)
    if not path.exists():
        raise PrimusError(
            f"{path} does not exist; expected an export folder or a file {', '.join(SUFFIXES)}."
        )
    description: dict[str, Any] | None
    if path.is_dir():
        params, found, description = read_folder(path)
    elif path.suffix in SUFFIXES:
        params, found, description = read_weights(path, config, prefix)
    else:
        raise PrimusError(f"{path}: expected an export folder or a file {', '.join(SUFFIXES)}.")
    if config is not None and config != found:
        raise PrimusError(f"{path} holds {found}; it cannot be loaded as {config}.")
    asked = {"rate_hz": rate_hz, "window_seconds": window_seconds}
    stated = {name: value for name, value in asked.items() if value is not None}
    if description is None:
        description = released_description(path, found, stated)
    return params, found, description | stated


def read_weights(
    path: Path, config: EncoderConfig | None = None, prefix: str | None = None
) -> tuple[Params, EncoderConfig, dict[str, Any] | None]:
    """Weights of one file -> (parameters, architecture, what the file says about them, if so)."""
    try:
        with (open_safetensors if path.suffix == ".safetensors" else open_torch_file)(path) as file:
            description = file.description
            if description is not None:
                config, prefix = check_description(description, str(path)), ""
                description = training_beside(path) | description
            config, names = recognise(file.shapes, config, prefix)
            tensors = {ours: file.read(theirs) for ours, theirs in names.items()}
        params, config = from_torch_names(tensors, config)
    except PrimusError as error:
        message = str(error)
        raise PrimusError(message if str(path) in message else f"{path}: {message}") from error
    return params, config, description


def released_description(
    path: Path, config: EncoderConfig, stated: Collection[str]
) -> dict[str, Any]:
    """What is assumed of weights that say nothing about themselves, but for what is `stated`."""
    provenance = {"source": path.name}
    unsaid = {"rate_hz": "rate", "window_seconds": "window"}
    words = [word for name, word in unsaid.items() if name not in stated]
    if words:
        provenance["assumed"] = f"{' and '.join(words)}, as of the released weights of this kind"
    rate_hz, seconds = RELEASED_RATES[getattr(config, "third_pool", "adaptive")], RELEASED_SECONDS
    if config.kind in ("motif", "resnet1d"):
        rate_hz, seconds = RELCON_WINDOWS
    return {
        "assumed": bool(words),
        "rate_hz": rate_hz,
        "window_seconds": seconds,
        "provenance": provenance,
    }


def assumption(
    path: str | os.PathLike[str], config: EncoderConfig, rate_hz: float, window_seconds: float
) -> str:
    """What was assumed of weights that say nothing about themselves, and how to state it."""
    fields = ""
    if isinstance(config, ReleasedConfig):
        told = ("norm", "input_norm", "activation", "readout", "third_pool")
        fields = "".join(f", {name} {getattr(config, name)}" for name in told)
    return (
        f"{path} does not say what windows its encoder was trained on; taken as {window_seconds:g} "
        f"s at {rate_hz:g} Hz, head emb{fields}. State it: "
        f"load_encoder(path, rate_hz=..., window_seconds=..., config=...) and encoder.head = ..., "
        f"or once for all `primus-jax import` with --rate, --window, --head and --encoder."
    )
