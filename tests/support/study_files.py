"""The beginning of a study file, for the tests of studies: a tiny pretraining config."""

BASE = """
import dataclasses
from primus_jax.augment import AugmentConfig
from primus_jax.config import CheckpointConfig, Config, DataConfig
from primus_jax.models.released import ReleasedConfig
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.study.study import Study

def base(steps, every, train):
    return Config(
        steps=steps, log_every=1, devices=1,
        data=DataConfig(train=(train,), batch_size=8, validation_batches=1),
        encoder=ReleasedConfig(input_norm="fixed", activation="gelu", readout="pool", channels=8),
        objective=PrimusConfig(neighbors=False, second_view=AugmentConfig(noise=0.1)),
        checkpoint=CheckpointConfig(every=every, keep=1),
    )
"""
