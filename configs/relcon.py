"""RelCon as released, stage 2: ResNet1D, 3,635,840 parameters, Adam 1e-6 at batch 64.

    primus-jax pretrain --config configs/relcon.py --workdir runs/relcon \\
        --config.data.train="('data/watch',)" --config.objective.distance=distances/motif
    primus-jax export runs/relcon --to encoders/relcon

Needs the distance of configs/motif.py, trained on windows of the same rate, and a dataset that
names its people. An anchor has 83 candidates: the 63 other anchors and 20 windows of the same
person within the same hour. The released training takes 100 epochs; set `steps` to 100 times the
windows over 64. The rate of the run on a billion segments was not published, and may differ.

Cost: a step measures 64 x 84 distances of windows of 256 samples; two CPU cores measure about 570 a
second, so this recipe is for an accelerator. No score is expected here: the published ones are of
closed data.

Three choices of the released program are options: `--config.objective.ties=released
--config.objective.statistics=apart --config.objective.attention=softmax`, the last with a distance
whose attention is "released".
"""

from primus_jax.config import CheckpointConfig, Config, DataConfig
from primus_jax.models.resnet1d import ResNet1DConfig
from primus_jax.objectives.relcon import RelConConfig
from primus_jax.optim import OptimConfig


def get_config() -> Config:
    """The released recipe of the encoder."""
    return Config(
        seed=1234,
        steps=200_000,
        log_every=50,
        data=DataConfig(batch_size=64),
        encoder=ResNet1DConfig(),
        objective=RelConConfig(
            distance="distances/motif", candidates=20, near="minutes", minutes=60.0, temperature=0.1
        ),
        optim=OptimConfig(name="adam", lr=1e-6, schedule="constant"),
        checkpoint=CheckpointConfig(every=2000, keep=2),
    )
