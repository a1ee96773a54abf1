"""PRIMUS on a pod: 256 v5e chips, or 64 GPUs, 20 million parameters, batch 32,768.

    launch/tpu_pod.sh ... -- pretrain --config configs/primus_pod.py --workdir /mnt/runs/pod
    sbatch --nodes 8 ... launch/slurm.sbatch pretrain --config configs/primus_pod.py --workdir ...
    python launch/compile_pod.py --config configs/primus_pod.py --topology v5e:16x16

This recipe has not been run: every number is compiled or computed (docs/scaling.md), none is timed.

Batch: 128 windows on each of 256 chips, 512 on each of 64 GPUs. A device then has 2^22 or 2^24
logits, below the 2^25 from which "auto" takes the ring.
Data: Ego4D has about 863,000 windows around narrations (docs/corpora.md), and Ego-Exo4D adds to
them. 5,000 steps are 164 million windows, some 150 passes. A window is 6,000 bytes of signal and
twice 1,024 of embeddings: 264 MB a step, 4.1 MB for each of 64 hosts. At 50 steps a second each
host decodes 26,000 windows a second, which takes several reading processes per host.
Queue: 131,072 rows, four batches deep, of 6,159 bytes: 807 MB, split 3.2 MB per chip.
Learning rate: Adam's steps may grow with the square root of the batch. By that rule 1e-3 at 256
(primus_small.py) and 2e-4 at 16 (primus.py) both come to about 1e-2. No run has tested such a
rate, so the recipe has 4e-3 after ten per cent of warm-up, with clipping. Vary this value first.
Memory per v5e chip, TPU compiler: 1.65 GiB of 16: arguments 0.25 (20.3 million parameters and
Adam's moments, 12 bytes each), temporaries 1.28, code 0.12.
Cost: a step on v5e, by published rates: 554 GFLOP of matrix products 7.0 ms, memory 8.7 ms,
2.2 GB sent 11.2 ms. 19.9 ms are expected, so 5,000 steps take two minutes. That is a lower bound:
the pod waits for its data first, and ten times as long is plausible. This encoder is small for 256
chips (more than half of the step is communication). primus_pod_300m.py has the larger encoder.
"""

from primus_jax.augment import AugmentConfig
from primus_jax.config import CheckpointConfig, Config, DataConfig
from primus_jax.models.compute import ComputeConfig
from primus_jax.models.motion import MotionConfig
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.optim import OptimConfig


def get_config() -> Config:
    """The recipe for 256 v5e chips or 64 GPUs."""
    return Config(
        seed=0,
        steps=5000,
        log_every=50,
        data=DataConfig(train=("data/ego4d", "data/egoexo4d"), batch_size=32_768),
        encoder=MotionConfig(channels=128, blocks=3, head_dim=512, head_layers=2),
        objective=PrimusConfig(
            alpha=0.5,
            targets=("text", "video"),
            contrastive="auto",
            queue_size=131_072,
            queue_sharded=True,
            first_view=AugmentConfig(rotation_degrees=30.0),
            second_view=AugmentConfig(
                rotation_degrees=30.0, scale=0.25, segments=5, noise=0.3, warp=0.2
            ),
        ),
        optim=OptimConfig(
            name="adamw",
            lr=4e-3,
            schedule="cosine",
            warmup_steps=500,
            weight_decay=0.05,
            clip_norm=5.0,
        ),
        compute=ComputeConfig(dtype="bfloat16"),
        checkpoint=CheckpointConfig(every=500, keep=3),
    )
