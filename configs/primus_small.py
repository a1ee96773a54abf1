"""PRIMUS on four small real datasets: wrist, thigh, waist, head and hips; 17 hours, 3 s windows.

    for name in utd_mhad sisfall classyglass2 bandai; do
      primus-jax prepare pack packs/$name.npz --embeddings packs/embeddings.npz \\
          --window 3 --hop 1.5 --out data/small/$name
    done
    primus-jax pretrain --config configs/primus_small.py --workdir runs/primus_small

Cost: 3 minutes on 2 CPU cores. Expected macro-F1, few-shot on usc_had (unseen subjects), at 1, 5
and 20 shots: 53, 73 and 80 per cent, against 44, 64 and 77 for the same encoder untrained.
docs/results.md has the whole table.

The sentences are one per class, not narrations, and the embeddings stand in for CLIP. Windows are
3 s because many clips of utd_mhad and bandai are shorter than 5 s, and padding would reveal a clip.
The encoder takes any length, and is evaluated on 5 s windows. The weights give the smaller
datasets more than their share of windows.
"""

from primus_jax.augment import AugmentConfig
from primus_jax.config import CheckpointConfig, Config, DataConfig
from primus_jax.models.motion import MotionConfig
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.optim import OptimConfig


def get_config() -> Config:
    """The recipe of docs/results.md."""
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
        objective=PrimusConfig(
            alpha=0.2,
            targets=("text", "video"),
            queue_size=8192,
            first_view=AugmentConfig(rotation_degrees=30.0),
            second_view=AugmentConfig(
                rotation_degrees=30.0, scale=0.25, segments=5, noise=0.3, warp=0.2
            ),
        ),
        optim=OptimConfig(lr=1e-3, schedule="cosine", warmup_steps=50, clip_norm=5.0),
        checkpoint=CheckpointConfig(every=125, keep=2),
    )
