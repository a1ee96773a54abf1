"""Sensor-aware MoCo on a small folder of pictures, for two CPU cores.

    primus-jax prepare images my_pictures --out data/pictures
    primus-jax pretrain --config configs/img2imu_small.py --workdir runs/img2imu_small
    primus-jax export runs/img2imu_small --to encoders/img2imu_small --rate 50 --window 5

Cost: 300 steps of 32 pictures; not run whole, so no score is expected.

The ResNet is a quarter as wide as the paper's, and its rate a thousand times that of the paper,
which took 200,000 steps.
"""

from primus_jax.config import CheckpointConfig, Config, DataConfig
from primus_jax.models.vision.encoder import VisionConfig
from primus_jax.objectives.moco import MocoConfig
from primus_jax.optim import OptimConfig


def get_config() -> Config:
    """A recipe for two CPU cores."""
    return Config(
        steps=300,
        data=DataConfig(train=("data/pictures",), batch_size=32),
        encoder=VisionConfig(channels=16),
        objective=MocoConfig(queue_size=1024, momentum=0.99),
        optim=OptimConfig(lr=1e-3, schedule="cosine", warmup_steps=30, clip_norm=5.0),
        checkpoint=CheckpointConfig(every=100, keep=2),
    )
