"""Encoder parameters <-> arrays by the names and in the layouts of PyTorch, without PyTorch."""

from collections.abc import Mapping

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from primus_jax.hub.layout import layout
from primus_jax.hub.recognise import check_tensors, recognise
from primus_jax.models.base import EncoderConfig
from primus_jax.trees import Params


def to_torch_names(params: Params, config: EncoderConfig) -> dict[str, np.ndarray]:
    """Encoder parameters (the tree inside "params") -> float32 arrays by PyTorch name.

    Raises:
        PrimusError: the parameters are not those of `config`.
    """
    table = layout(config)
    ours = flatten_dict(params)
    tensors = {
        torch_name: np.ascontiguousarray(to_torch_axes(np.asarray(ours[path], np.float32)))
        for torch_name, (path, _) in table.items()
        if path in ours
    }
    unknown = sorted(ours.keys() - {path for path, _ in table.values()})
    extra = {"/".join(path): ours[path] for path in unknown}
    check_tensors(tensors | extra, table)
    return tensors


def from_torch_names(
    tensors: Mapping[str, np.ndarray], config: EncoderConfig | None = None
) -> tuple[Params, EncoderConfig]:
    """Arrays by PyTorch name -> (encoder parameters, float32; config).

    Args:
        tensors: a whole state dict of the encoder, nothing missing or extra.
        config: the architecture; None recognises it by `recognise.recognise`.

    Raises:
        PrimusError: missing, unexpected, wrongly shaped or non-finite tensors, all of them listed.
    """
    if config is None:
        config, names = recognise({name: np.shape(value) for name, value in tensors.items()})
        tensors = {ours: tensors[theirs] for ours, theirs in names.items()}
    config.validate()
    check_tensors(tensors, layout(config))
    params = {
        path: np.ascontiguousarray(to_our_axes(np.asarray(tensors[torch_name], np.float32)))
        for torch_name, (path, _) in layout(config).items()
    }
    return unflatten_dict(params), config


def to_torch_axes(x: np.ndarray) -> np.ndarray:
    """Reverse the axes of a parameter; an image kernel keeps the order of height and width."""
    return x.transpose(3, 2, 0, 1) if x.ndim == 4 else x.T


def to_our_axes(x: np.ndarray) -> np.ndarray:
    """Undo `to_torch_axes`."""
    return x.transpose(2, 3, 1, 0) if x.ndim == 4 else x.T
