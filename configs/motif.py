"""The distance of RelCon, stage 1: MotifDist as released, 58,617 parameters.

    primus-jax prepare table my/*.csv --target-rate 100 --window 2.56 --out data/watch
    primus-jax pretrain --config configs/motif.py --workdir runs/motif \\
        --config.data.train="('data/watch',)"
    primus-jax export runs/motif --to distances/motif

The windows are 256 samples of a wrist accelerometer at 100 Hz. The released training takes ten
epochs of batches of 64; set `steps` to ten times the windows over 64. Every step rebuilds 64
windows from augmented copies.

Cost: two CPU cores take 57 windows of 150 samples a second, and a third of that at 256 samples. The
recipe is for an accelerator. No score is expected here: `relative_error` in metrics.jsonl is 1 for
a distance that rebuilds the mean of each window, and shall fall below that.

A folder of kind "motif" is what configs/relcon.py needs. `--config.encoder.attention=released`
measures by softmax, though training attends by sparsemax; the default attends by one in both.
"""

from primus_jax.config import CheckpointConfig, Config, DataConfig
from primus_jax.models.motif import MotifConfig
from primus_jax.objectives.motif import MotifObjectiveConfig
from primus_jax.optim import OptimConfig


def get_config() -> Config:
    """The released recipe of the distance."""
    return Config(
        seed=1234,
        steps=20_000,
        log_every=50,
        data=DataConfig(batch_size=64),
        encoder=MotifConfig(features=64, blocks=2),
        objective=MotifObjectiveConfig(),
        optim=OptimConfig(name="adam", lr=1e-3, schedule="constant"),
        checkpoint=CheckpointConfig(every=1000, keep=2),
    )
