"""PRIMUS as released: architecture, losses, Adam 2e-4 at batch 16.

    primus-jax pretrain --config configs/primus.py --workdir runs/primus \\
        --config.data.train="('data/egoexo4d',)"

Cost: on two CPU cores the released GRU runs a few hundred windows a second. One pass over 500,000
windows is an overnight run there, and minutes to an hour on one accelerator. No score is expected
here: the paper's scores are on recordings that every user has to download.

Three accidents of the released script stay off: per-step scaling, empty queue rows as neighbours,
and missing masks. `--config.objective.temperature=raw --config.objective.second_view.scale_per=step
--config.objective.ignore_empty_rows=False --config.objective.masked_negatives=True` restores them.
"""

from primus_jax.augment import AugmentConfig
from primus_jax.config import CheckpointConfig, Config, DataConfig
from primus_jax.models.released import ReleasedConfig
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.optim import OptimConfig


def get_config() -> Config:
    """The released recipe, with the released multi-head encoder."""
    return Config(
        seed=0,
        steps=500_000,
        log_every=50,
        data=DataConfig(batch_size=16),
        encoder=ReleasedConfig(
            input_norm="group", activation="none", readout="gru_channels", third_pool="adaptive"
        ),
        objective=PrimusConfig(
            alpha=0.5,
            targets=("text", "video"),
            temperature_initial=0.1,
            queue_size=8192,
            first_view=AugmentConfig(),
            second_view=AugmentConfig(scale=0.25, segments=5),
        ),
        optim=OptimConfig(name="adam", lr=2e-4, schedule="constant"),
        checkpoint=CheckpointConfig(every=2000, keep=2),
    )
