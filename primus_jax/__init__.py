"""primus-jax: multimodal self-supervised pretraining of IMU encoders in JAX/Flax."""

import importlib
from importlib.metadata import version as _version
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what a type checker and an editor see of the names below
    from primus_jax.classify.sklearn import PrimusFeatures as PrimusFeatures
    from primus_jax.config import Config as Config
    from primus_jax.data.folder import DatasetFolder as DatasetFolder
    from primus_jax.encoder import Encoder as Encoder
    from primus_jax.encoder import load_encoder as load_encoder
    from primus_jax.errors import PrimusError as PrimusError
    from primus_jax.losses.contrastive import info_nce as info_nce
    from primus_jax.losses.pairs import Pairs as Pairs
    from primus_jax.models.motion import MotionConfig as MotionConfig
    from primus_jax.models.released import ReleasedConfig as ReleasedConfig
    from primus_jax.recordings.arrays import SignalWarning as SignalWarning
    from primus_jax.training.loop import pretrain as pretrain
    from primus_jax.window import resample as resample

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


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that `import primus_jax` is instant."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'primus_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
