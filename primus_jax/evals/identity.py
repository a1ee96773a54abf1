"""What a row of results states about the encoder that made it."""

import dataclasses
import hashlib
import json
from typing import Any

import jax
import numpy as np

from primus_jax.encoder import Encoder
from primus_jax.evals.hand_features import HandFeatures
from primus_jax.evals.resampled import ResampledEncoder
from primus_jax.models.released import ReleasedConfig

Method = Encoder | ResampledEncoder | HandFeatures


def trained_encoder(method: Method) -> Encoder | None:
    """The encoder behind a method; None for hand-crafted statistics."""
    if isinstance(method, ResampledEncoder):
        return method.encoder
    return method if isinstance(method, Encoder) else None


def encoder_description(method: Method) -> dict[str, Any]:
    """The architecture, ready for JSON."""
    if isinstance(method, HandFeatures):
        return {"hand_features": method.description}
    encoder = method.encoder if isinstance(method, ResampledEncoder) else method
    return dataclasses.asdict(encoder.config)


def encoder_hash(method: Method) -> str:
    """blake2b of the architecture, the rate and every parameter, 32 hex digits."""
    digest = hashlib.blake2b(digest_size=16)
    described = encoder_description(method)
    if described.get("norm") == ReleasedConfig.norm:
        # Hashes of before there was a norm to choose stay valid.
        del described["norm"]
    config = json.dumps(described, sort_keys=True)
    digest.update(f"{config} {method.rate_hz}".encode())
    encoder = trained_encoder(method)
    params = {} if encoder is None else encoder.params
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype}".encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()
