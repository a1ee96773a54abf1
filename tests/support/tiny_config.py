"""Tiny configs: of encoders, of runs in a test's process, and of runs in processes of their own.

Tests that start real processes pass this file as `--config`, so it imports the package alone.
"""

from primus_jax.config import CheckpointConfig, Config, DataConfig
from primus_jax.models.motion import MotionConfig
from primus_jax.models.released import CHOICES, ReleasedConfig
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.optim import OptimConfig

# Quick to compile: it pools over time in place of the GRU. Its heads have CLIP's width.
POOLED = ReleasedConfig(input_norm="fixed", activation="gelu", readout="pool", channels=8)
# One output of few values, for what only reads embeddings.
ONE_HEAD = ReleasedConfig(readout="pool", channels=4, embed_dim=8, multihead=False)
# The released architectures in small. tests/golden/tiny_imu2clip.pt has the weights of the second.
PRIMUS = ReleasedConfig(channels=8, embed_dim=16)
IMU2CLIP = ReleasedConfig(channels=4, embed_dim=3, bins=5, third_pool="max", multihead=False)
# Every read-out, with heads and without.
READOUTS = tuple(
    ReleasedConfig(readout=readout, multihead=multihead, channels=4, bins=6, embed_dim=5)
    for readout in CHOICES["readout"]
    for multihead in (True, False)
)
MOTION = MotionConfig(channels=4, blocks=2, head_layers=2)


def run_config(folder, **values):
    """A run on one device that reads `folder`; `values` replace what is set here."""
    data = DataConfig(train=(str(folder),), batch_size=16, validation_batches=1)
    objective = PrimusConfig(queue_size=32)
    set_here = {"log_every": 1, "devices": 1, "encoder": POOLED, "objective": objective}
    return Config(data=data, **(set_here | values))


def get_config():
    """Forty steps of all three losses; the command line sets the dataset."""
    return Config(
        steps=40,
        log_every=1,
        data=DataConfig(batch_size=16, validation_batches=1),
        encoder=POOLED,
        objective=PrimusConfig(queue_size=32),
        optim=OptimConfig(lr=1e-3, schedule="cosine", warmup_steps=4, clip_norm=5.0),
        checkpoint=CheckpointConfig(every=10, keep=2),
    )
