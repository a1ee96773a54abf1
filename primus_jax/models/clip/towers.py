"""Frozen CLIP towers: load them from a folder, embed texts, images and videos.

Parameters are always arguments (law 4): close over them and a compiled step holds them as
constants. Parity with the PyTorch classes of `transformers` is tested to 1e-5 in float32.
"""

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from primus_jax.errors import PrimusError
from primus_jax.models.clip import weights
from primus_jax.models.clip.config import ClipConfig, read_config
from primus_jax.models.clip.text import TextTower
from primus_jax.models.clip.vision import VisionTower
from primus_jax.numerics import normalize
from primus_jax.trees import Params

TOWERS = ("text", "vision")


@dataclasses.dataclass(frozen=True)
class Towers:
    """CLIP's towers as they were loaded.

    Attributes:
        name: of the folder.
        digests: 32 hex digits of the weights of each tower there is, by "text" and "vision".
        config: of both; a tower that is not there is None.
        params: float32 numpy arrays under "text" and "vision".
    """

    name: str
    digests: dict[str, str]
    config: ClipConfig
    params: Params

    @property
    def digest(self) -> str:
        """32 hex digits of all weights."""
        text = " ".join(f"{name} {value}" for name, value in sorted(self.digests.items()))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def load_towers(path: str | os.PathLike[str]) -> Towers:
    """Load CLIP's towers from a folder in Hugging Face's layout; nothing is downloaded.

    Args:
        path: holds `config.json` and `model.safetensors`, its shards and their index, or
            `pytorch_model.bin` (read without running its code), of a `CLIPModel`,
            `CLIPTextModelWithProjection` or `CLIPVisionModelWithProjection`. Pixel statistics come
            from `preprocessor_config.json`, where it is there.

    Raises:
        PrimusError: no such folder, another kind of model, a value that is not supported, a
            damaged file, or tensors that are missing, unknown or of another shape (all named).
    """
    folder = Path(path)
    config, required = read_config(folder)
    tensors, file = weights.read_tensors(folder)
    there = {
        name: getattr(config, name)
        for name in TOWERS
        if name in required or any(key.startswith(f"{name}_model.") for key in tensors)
    }
    config = ClipConfig(there.get("text"), there.get("vision"))
    layouts = {name: weights.layout(part) for name, part in there.items() if part is not None}
    wanted = {key: entry for entries in layouts.values() for key, entry in entries.items()}
    weights.check(tensors, wanted, config, file)
    return Towers(
        folder.resolve().name,
        {name: weights.digest(tensors, entries) for name, entries in layouts.items()},
        config,
        {name: weights.to_params(tensors, entries) for name, entries in layouts.items()},
    )


def embed_text(
    params: Params,
    config: ClipConfig,
    tokens: jax.Array | np.ndarray,
    mask: jax.Array | np.ndarray | None = None,
    *,
    dtype: DTypeLike = jnp.float32,
) -> jax.Array:
    """Embed sentences: the projection at their end, not normalised.

    Args:
        params: `Towers.params`.
        config: `Towers.config`.
        tokens: int32 `[n, time]`, `time` at most the tower's 77, padded with anything.
        mask: bool `[n, time]`, steps that may be looked at (`attention_mask` of `transformers`);
            None: all. Padding behind the end changes nothing either way.
        dtype: of the arithmetic, float32 or bfloat16.

    Returns:
        float32 `[n, dim]`.

    Raises:
        PrimusError: there is no text tower, or sentences are longer than it takes.
    """
    if config.text is None:
        raise PrimusError("these towers have no text tower; load a folder that holds one.")
    if tokens.ndim != 2 or tokens.shape[1] > config.text.positions:
        raise PrimusError(
            f"tokens have shape {tokens.shape}; expected [n, time] with time at most "
            f"{config.text.positions}."
        )
    mask = jnp.ones(tokens.shape, bool) if mask is None else mask
    rows = TextTower(config.text, dtype).apply({"params": params["text"]}, tokens, mask)
    return cast(jax.Array, rows)


def embed_image(
    params: Params,
    config: ClipConfig,
    images: jax.Array | np.ndarray,
    *,
    dtype: DTypeLike = jnp.float32,
) -> jax.Array:
    """Embed images, uint8 `[n, H, W, 3]`: the projection float32 `[n, dim]`, not normalised.

    Raises:
        PrimusError: there is no vision tower, or images are not of the size that it was made for.
    """
    if config.vision is None:
        raise PrimusError("these towers have no vision tower; load a folder that holds one.")
    size = config.vision.image
    if images.shape[1:] != (size, size, 3) or images.dtype != jnp.uint8:
        raise PrimusError(
            f"images have shape {images.shape[1:]} and type {images.dtype}; this vision tower "
            f"takes uint8 ({size}, {size}, 3). Prepare frames of that size."
        )
    rows = VisionTower(config.vision, dtype).apply({"params": params["vision"]}, images)
    return cast(jax.Array, rows)


def embed_video(
    params: Params,
    config: ClipConfig,
    frames: jax.Array | np.ndarray,
    *,
    dtype: DTypeLike = jnp.float32,
) -> jax.Array:
    """Embed videos, uint8 `[n, frames, H, W, 3]` -> float32 `[n, dim]` of unit norm.

    Frames are embedded and normalised, averaged, and normalised again: the parameter-free
    similarity of Luo et al., "CLIP4Clip" (2021), section 3.3.

    Raises:
        PrimusError: there is no vision tower, or frames are not of the size that it was made for.
    """
    if frames.ndim != 5 or frames.shape[1] == 0:
        raise PrimusError(f"frames have shape {frames.shape}; expected [n, frames, H, W, 3].")
    images = frames.reshape(-1, *frames.shape[2:])
    rows = normalize(embed_image(params, config, images, dtype=dtype))
    return normalize(rows.reshape(*frames.shape[:2], -1).mean(1))
