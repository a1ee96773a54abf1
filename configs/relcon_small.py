"""RelCon on three small real datasets: accelerometers at wrist, thigh, waist and head.

The datasets are those of configs/primus_small.py, 3 s windows at 50 Hz, but for bandai, which does
not name its people. The distance first, then the encoder:

    primus-jax pretrain --config configs/motif.py --workdir runs/motif_small --config.steps=600 \\
        --config.checkpoint.every=200 --config.data.train="('data/small/utd_mhad',\\
        'data/small/sisfall','data/small/classyglass2')"
    primus-jax export runs/motif_small --to distances/motif_small
    primus-jax pretrain --config configs/relcon_small.py --workdir runs/relcon_small

Cost: 600 steps of the distance take 11 minutes and 400 of the encoder 5 on two CPU cores, measured
at 57 and 45 windows a second while others used the machine. No score is expected yet.

The encoder is a quarter as wide as the published one, and its rate a thousand times that of the
published run, which took a billion windows. An anchor has 35 candidates. Clips are short, so the
person's windows of all recordings are near.
"""

from primus_jax.config import CheckpointConfig, Config, DataConfig
from primus_jax.models.resnet1d import ResNet1DConfig
from primus_jax.objectives.relcon import RelConConfig
from primus_jax.optim import OptimConfig


def get_config() -> Config:
    """A recipe for two CPU cores."""
    return Config(
        seed=0,
        steps=400,
        log_every=20,
        data=DataConfig(
            train=(
                "data/small/utd_mhad",
                "data/small/sisfall",
                "data/small/classyglass2",
            ),
            weights=(0.11, 0.60, 0.29),
            batch_size=32,
        ),
        encoder=ResNet1DConfig(width1=16, width2=32, width3=64),
        objective=RelConConfig(
            distance="distances/motif_small", candidates=4, near="person", pairs=16
        ),
        optim=OptimConfig(lr=1e-3, schedule="cosine", warmup_steps=40, clip_norm=5.0),
        checkpoint=CheckpointConfig(every=100, keep=2),
    )
