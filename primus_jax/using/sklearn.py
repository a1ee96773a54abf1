"""The old name of `primus_jax.classify.sklearn`, which pickled pipelines hold."""

from primus_jax.classify.sklearn import PrimusFeatures

__all__ = ["PrimusFeatures"]
