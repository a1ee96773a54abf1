"""Distillation on the four small real datasets of configs/primus_small.py, which prepares them.

    primus-jax pretrain --config configs/distill_small.py --workdir runs/distill_small

InfoNCE with the sentences, and attention transfer that is held at a tenth of its gradient. The
metrics have that ratio (`gradient_ratio_at_text`) and the factor that it took (`weight_at_text`).

Cost: 2 minutes on 2 CPU cores. The sentences are one per class, and the embeddings stand in for
CLIP, so no score of it compares with the report's; configs/study_distillation.py compares methods.
"""

from primus_jax.augment import AugmentConfig
from primus_jax.config import CheckpointConfig, Config, DataConfig
from primus_jax.models.motion import MotionConfig
from primus_jax.objectives.distill import DistillConfig
from primus_jax.optim import OptimConfig


def get_config() -> Config:
    """The motion encoder, balanced attention transfer."""
    return Config(
        seed=0,
        steps=500,
        log_every=20,
        data=DataConfig(
            train=(
                "data/small/utd_mhad",
                "data/small/sisfall",
                "data/small/classyglass2",
                "data/small/bandai",
            ),
            weights=(0.08, 0.42, 0.20, 0.30),
            batch_size=256,
            embedding_dim=512,
        ),
        encoder=MotionConfig(channels=32, blocks=1, head_layers=2),
        objective=DistillConfig(
            targets=("text",),
            weights={"at": 0.1},
            balance="gradient",
            view=AugmentConfig(rotation_degrees=30.0),
        ),
        optim=OptimConfig(lr=1e-3, schedule="cosine", warmup_steps=50, clip_norm=5.0),
        checkpoint=CheckpointConfig(every=125, keep=2),
    )
