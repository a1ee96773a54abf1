"""PRIMUS on a pod of 256 v5e chips, with an encoder of 302 million parameters split over them.

    launch/tpu_pod.sh ... -- pretrain --config configs/primus_pod_300m.py --workdir /mnt/runs/300m
    python launch/compile_pod.py --config configs/primus_pod_300m.py --fake-devices 256 --chip v5e

Everything but encoder, mesh, learning rate and clipping is from primus_pod.py. The recipe has not
been run: its numbers are compiled and computed, not timed.

Encoder: 512 channels in the first of three stages, four residual blocks each: 104 million
parameters of convolutions, an embedding of 5,312 values, 136 million in the projector and 62 in the
heads.
Mesh: four groups of 64 chips, each with the whole state, because 64 divides every large matrix
and 256 does not (5,312 is 64 x 83). A group scatters its gradient, then the four sum their parts.
Memory per chip: Adam's state is 12 bytes per parameter, 3.6 GB, 0.06 GiB on each of 64. Gathered
parameters, gradients and activations in bfloat16 are 6.4 GiB of temporaries by the CPU compiler:
6.5 GiB of 16. --config.compute.micro_batches=2 or remat=True reduce the activations.
Cost: a step on v5e, by published rates: 8.2 TFLOP of matrix products 46 ms; memory 79 ms by
the fusions of a CPU; 3.8 GB sent 19 ms. 98 ms are expected. 5,000 steps thus take at least eight
minutes, and about an hour at a realistic distance from that bound.
Learning rate: a quarter of primus_pod.py's, as wider layers take less; not tuned.
"""

import dataclasses
from pathlib import Path

from primus_jax.config import Config
from primus_jax.config_file import read_config
from primus_jax.models.compute import ComputeConfig
from primus_jax.models.motion import MotionConfig
from primus_jax.parallel.sharding import MeshConfig

RECIPE = Path(__file__).parent / "primus_pod.py"


def get_config() -> Config:
    """The recipe of primus_pod.py, wider and deeper, with parameters split over the chips."""
    config = read_config(str(RECIPE), [])
    return dataclasses.replace(
        config,
        encoder=MotionConfig(channels=512, blocks=4, head_dim=512, head_layers=2),
        optim=dataclasses.replace(config.optim, lr=1e-3, clip_norm=1.0),
        compute=ComputeConfig(dtype="bfloat16"),
        mesh=MeshConfig(replicas=4, fsdp=True),
    )
