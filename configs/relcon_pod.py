"""RelCon on a pod: a billion windows of wrist accelerometers, 256 v5e chips, batch 4096.

    launch/tpu_pod.sh ... -- pretrain --config configs/relcon_pod.py --workdir /mnt/runs/relcon
    python launch/compile_pod.py --config configs/relcon_pod.py --fake-devices 256 --chip v5e \\
        --window-samples 256

Cost: 39 hours on 256 chips, by the estimate below. This recipe has not been run: its numbers are
compiled (CPU compiler) or computed, none is timed.
The distance is that of configs/motif.py, trained on a sample of the windows: 20,000 steps of 64.
Where its folder is missing, the step is compiled for the published distance.

Batch: 16 anchors on each chip, each with 4,115 candidates: 4,095 other anchors, 20 of the person.
The encoder sees 336 windows on each chip in a step. One pass is 244,140 steps.
Distance: a step measures 4,096 x 4,116 = 16.9 million pairs, 65,856 on each chip. They are 1,842
of 2,301 GFLOP on each chip. The pairs grow with the square of the batch, the encoder with the
batch: at 1,024 a window costs the distance a quarter as much. One pass has 4.1e12 pairs.
Time: the products of a step take 11.7 ms on v5e at published rates, memory 576 ms by the fusions of
a CPU; without the distance they take 2.3 and 19.7 ms. So 7,100 anchors (149,000 windows) a second
on 256 chips, 28 (580) on each, and 39 hours for one pass, 10,000 hours of chips. Sparsemax loops
until its support is found, ten times at most as a rule; the estimate counts one. A TPU's fusions
move fewer bytes. Measure 100 steps first.
Network: 50 MB a step on each chip, 0.4 ms. Anchors are gathered as windows, for the distance.
Memory: 1.6 of 16 GiB on each chip; 1,024 pairs at once.
Storage: a window of 256 samples is 6,144 bytes with its silent gyroscope, so a billion take 6.1 TB,
and 3.1 TB without it, which shards do not support. A step reads 86,016 windows, 528 MB: 0.9 GB a
second in all, 14 MB on each of 64 hosts. `people.npz` takes 12 GB, in the memory of every host.
Learning rate: the published 1e-6 at a batch of 64 is of another run; 1e-3 is that of
relcon_small.py. Not tuned.
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
