"""A config file for tests that start real processes; the dataset is set on the command line."""

from primus_jax.config import CheckpointConfig, Config, DataConfig
from primus_jax.models.released import ReleasedConfig
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.optim import OptimConfig


def get_config():
    """Forty steps of all three losses with a small encoder."""
    return Config(
        steps=40,
        log_every=1,
        data=DataConfig(batch_size=16, validation_batches=1),
        encoder=ReleasedConfig(input_norm="fixed", activation="gelu", readout="pool", channels=8),
        objective=PrimusConfig(queue_size=32),
        optim=OptimConfig(lr=1e-3, schedule="cosine", warmup_steps=4, clip_norm=5.0),
        checkpoint=CheckpointConfig(every=10, keep=2),
    )
