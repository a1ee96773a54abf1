"""What `primus-jax demo` pretrains: all three losses of PRIMUS on simulated people.

`--config.data.train` is set by the command. The read-out pools over time instead of running the
released GRU over channels, because that trains in a minute on two cores; `configs/primus.py` has
the released architecture.
"""

from primus_jax.augment import AugmentConfig
from primus_jax.config import CheckpointConfig, Config, DataConfig
from primus_jax.models.released import ReleasedConfig
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.optim import OptimConfig


def get_config() -> Config:
    """The demo's experiment."""
    return Config(
        seed=0,
        steps=400,
        log_every=10,
        data=DataConfig(batch_size=128),
        encoder=ReleasedConfig(input_norm="fixed", activation="gelu", readout="pool"),
        objective=PrimusConfig(
            queue_size=2048,
            first_view=AugmentConfig(rotation_degrees=30.0),
            second_view=AugmentConfig(rotation_degrees=30.0, scale=0.25, segments=5),
        ),
        optim=OptimConfig(lr=1e-3, schedule="cosine", warmup_steps=30, clip_norm=5.0),
        checkpoint=CheckpointConfig(every=100, keep=2),
    )
