"""Contrastive predictive coding on the small real datasets of configs/primus_small.py.

    primus-jax pretrain --config configs/cpc.py --workdir runs/cpc

Windows of 3 s are cut into four pieces of .74 s, and the GRU predicts the next two. Encoder,
datasets, steps and optimizer are those of configs/primus_small.py, whose docstring prepares the
datasets; sentences and videos are not read. This is the baseline of IMG2IMU's table II, which
pretrains on Capture-24 instead: `--config.data.train="('data/capture24',)"`.

Cost: less than configs/primus_small.py, which sees two views of a window; 3 minutes on 2 CPU cores.
No score is expected yet.
"""

import dataclasses
from pathlib import Path

from primus_jax.config import Config
from primus_jax.config_file import read_config
from primus_jax.objectives.cpc import CPCConfig

RECIPE = Path(__file__).parent / "primus_small.py"


def get_config() -> Config:
    """A recipe for two CPU cores."""
    base = read_config(str(RECIPE), [])
    return dataclasses.replace(base, objective=CPCConfig(pieces=4, future=2))
