"""The hash of an encoder: what it depends on, and that it stays what it was."""

import dataclasses

import jax
import numpy as np

from primus_jax.encoder import Encoder
from primus_jax.evals.identity import encoder_hash
from primus_jax.models.released import CHOICES, ReleasedConfig

CONFIG = ReleasedConfig(readout="pool", channels=4, embed_dim=8)


def of_ones(config: ReleasedConfig) -> Encoder:
    imu = np.zeros((1, 130, 6), np.float32)
    shapes = jax.eval_shape(config.build().init, jax.random.key(0), imu)["params"]
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    return Encoder(config, params, 50, 2.6)


def test_evaluations_of_before_there_was_a_norm_are_found_again():
    assert encoder_hash(of_ones(CONFIG)) == "c431b9c85824d281c462ce40563b3e8e"


def test_norms_are_different_encoders():
    norms = (dataclasses.replace(CONFIG, norm=norm) for norm in CHOICES["norm"])
    assert len({encoder_hash(of_ones(config)) for config in norms}) == 3
