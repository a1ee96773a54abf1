"""What the tests of studies share: the beginning of a study file, and simulated people."""

from pathlib import Path

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from data_prep.simulated.simulate import recordings
from primus_jax.recordings.windows import WindowSpec

# A tiny pretraining config.
BASE = """
import dataclasses
from primus_jax.augment import AugmentConfig
from primus_jax.config import CheckpointConfig, Config, DataConfig
from primus_jax.models.released import ReleasedConfig
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.study.study import Study

def base(steps, every, train):
    return Config(
        steps=steps, log_every=1, devices=1,
        data=DataConfig(train=(train,), batch_size=8, validation_batches=1),
        encoder=ReleasedConfig(input_norm="fixed", activation="gelu", readout="pool", channels=8),
        objective=PrimusConfig(neighbors=False, second_view=AugmentConfig(noise=0.1)),
        checkpoint=CheckpointConfig(every=every, keep=1),
    )
"""


def write_people(folder: Path, seed: int) -> Path:
    """Six simulated people with sentences, all in the training split."""
    write_dataset(
        recordings(seed=seed, people=6, bouts=1, seconds=2.6),
        folder,
        Origin(f"simulated people {seed}", "Apache-2.0", simulated=True),
        Recipe(WindowSpec(seconds=2.6, hop_seconds=2.6), Splits((1.0, 0.0, 0.0), seed=0)),
    )
    return folder
