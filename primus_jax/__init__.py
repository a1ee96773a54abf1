"""primus-jax: multimodal self-supervised pretraining of IMU encoders in JAX/Flax."""

import importlib
from importlib.metadata import version as _version

_PUBLIC = {
    "Config": "primus_jax.config",
    "DatasetFolder": "primus_jax.data.folder",
    "Encoder": "primus_jax.encoder",
    "MotionConfig": "primus_jax.models.motion",
    "Pairs": "primus_jax.losses.pairs",
    "PrimusError": "primus_jax.errors",
    "PrimusFeatures": "primus_jax.classify.sklearn",
    "ReleasedConfig": "primus_jax.models.released",
    "SignalWarning": "primus_jax.recordings.arrays",
    "info_nce": "primus_jax.losses.contrastive",
    "load_encoder": "primus_jax.encoder",
    "pretrain": "primus_jax.training.loop",
    "resample": "primus_jax.window",
}
__all__ = sorted(_PUBLIC)
__version__ = _version("primus-jax")


def __getattr__(name: str):
    """Import a public name when it is first used, so that `import primus_jax` is instant."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'primus_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
