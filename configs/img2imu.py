"""IMG2IMU as published: ResNet-18 by MoCo on ImageNet-1k with sensor-aware augmentations.

    primus-jax prepare images ILSVRC2012/train --out data/imagenet
    primus-jax pretrain --config configs/img2imu.py --workdir runs/img2imu
    primus-jax export runs/img2imu --to encoders/img2imu --rate 50 --window 5

Published (arXiv 2209.00945 v2): 64 values, a
queue of 4,096, batch 256, 40 epochs, Adam 1e-6. Not published: temperature, momentum and head, here
those of MoCo v1; ranges and order of the augmentations (docs/vision.md). The other rows of the
paper's table II:

    --config.objective.augment=moco     MoCo with its default augmentations
    --config.objective.augment=all      MoCo with both sets
    --config.objective.kind=simsiam     SimSiam, with --config.objective.augment=moco

Cost: a step is 0.9 TFLOP, four passes of 0.9 GFLOP for each picture, so the run is 1.8e17 FLOP.
8 H100 need at least 3 ms a step (launch/compile_pod.py; published rates, CPU compiler), and would
then read 84,000 pictures, 3.1 GB, a second; the disk decides before. Memory: 0.6 GiB on each. None
of it is timed. ImageNet takes 47 GB as uint8. Two CPU cores would take months.
Steps: 40 passes over 1,281,167 pictures in batches of 256 are 200,182 steps. With other pictures
set `steps` to 40 times their number over 256.
"""

from primus_jax.config import CheckpointConfig, Config, DataConfig
from primus_jax.models.vision.encoder import VisionConfig
from primus_jax.objectives.moco import MocoConfig
from primus_jax.optim import OptimConfig

PICTURES, EPOCHS, BATCH = 1_281_167, 40, 256


def get_config() -> Config:
    """The published recipe."""
    return Config(
        steps=PICTURES * EPOCHS // BATCH,
        log_every=50,
        data=DataConfig(train=("data/imagenet",), batch_size=BATCH),
        encoder=VisionConfig(),
        objective=MocoConfig(dim=64, queue_size=4096, augment="sensor"),
        optim=OptimConfig(name="adam", lr=1e-6, schedule="constant"),
        checkpoint=CheckpointConfig(every=2000, keep=2),
    )
