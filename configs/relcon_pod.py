"""RelCon on a pod: a billion windows of wrist accelerometers, 256 v5e chips, batch 4096.

ARITHMETIC
"""

import dataclasses
from pathlib import Path

from primus_jax.config import CheckpointConfig, Config
from primus_jax.config_file import read_config
from primus_jax.models.compute import ComputeConfig
from primus_jax.optim import OptimConfig

RECIPE = Path(__file__).parent / "relcon.py"
WINDOWS = 10**9
BATCH = 4096


def get_config() -> Config:
    """The recipe of relcon.py for one pass over a billion windows."""
    config = read_config(str(RECIPE), [])
    return dataclasses.replace(
        config,
        steps=WINDOWS // BATCH,
        data=dataclasses.replace(config.data, train=("data/watch",), batch_size=BATCH),
        objective=dataclasses.replace(config.objective, distance_dtype="bfloat16", pairs=1024),
        optim=OptimConfig(lr=1e-3, schedule="cosine", warmup_steps=5000, clip_norm=5.0),
        compute=ComputeConfig(dtype="bfloat16"),
        checkpoint=CheckpointConfig(every=5000, keep=3),
    )
