"""Loss curves of one small run in float32, bfloat16, with rematerialisation and in four parts.

python benchmarks/compute_precision.py --out compute_precision.png

The windows, keys and initial values are always the same; only `config.compute` differs. Prints the
distance of the losses from those of float32 beside the processor time, and draws it below the
curves. On a CPU bfloat16 is slower than float32, because most of its arithmetic is emulated. The
losses therefore hold for accelerators, and the times do not. A second float32 run with another
seed of the data order shows the size of a difference without meaning.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from data_prep.simulated.simulate import recordings
from primus_jax.augment import AugmentConfig
from primus_jax.config import CheckpointConfig, Config, DataConfig
from primus_jax.models.compute import ComputeConfig
from primus_jax.models.motion import MotionConfig
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.optim import OptimConfig
from primus_jax.recordings.windows import WindowSpec
from primus_jax.reports.plots import COLORS
from primus_jax.training.loop import pretrain
from primus_jax.training.metrics import read_metrics

REFERENCE = "float32"
WAYS = {
    REFERENCE: (0, ComputeConfig()),
    "micro_batches=4": (0, ComputeConfig(micro_batches=4)),
    "remat": (0, ComputeConfig(remat=True)),
    "bfloat16": (0, ComputeConfig("bfloat16")),
    "float32, another seed": (1, ComputeConfig()),
}


def main() -> None:
    """Train, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="*", default=[], help="datasets; none: simulated people")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("compute_precision.png"))
    args = parser.parse_args()
    losses, seconds = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        data = tuple(args.data) or (simulated(Path(folder) / "data"),)
        for name, (seed, compute) in WAYS.items():
            workdir, start = Path(folder) / name, time.process_time()
            pretrain(config_of(data, args, seed, compute), workdir, log=lambda line: None)
            seconds[name] = time.process_time() - start
            losses[name] = np.array([r["loss"] for r in read_metrics(workdir) if "loss" in r])
            print(summary(name, losses[name], losses[REFERENCE], seconds[name]), flush=True)
    draw(losses, args.out)
    print(args.out)


def config_of(data: tuple[str, ...], args, seed: int, compute: ComputeConfig) -> Config:
    """All three losses on a motion trunk."""
    return Config(
        seed=seed,
        steps=args.steps,
        log_every=1,
        devices=1,
        data=DataConfig(train=data, batch_size=args.batch),
        encoder=MotionConfig(channels=args.channels, head_layers=2, head_dim=512),
        objective=PrimusConfig(
            alpha=0.2,
            queue_size=1024,
            first_view=AugmentConfig(rotation_degrees=30.0),
            second_view=AugmentConfig(rotation_degrees=30.0, scale=0.25, noise=0.3),
        ),
        optim=OptimConfig(lr=1e-3, schedule="cosine", warmup_steps=30, clip_norm=5.0),
        compute=compute,
        checkpoint=CheckpointConfig(every=args.steps, keep=1),
    )


def simulated(folder: Path) -> str:
    """A dataset of simulated people."""
    write_dataset(
        recordings(seed=0, people=12, bouts=1, seconds=30.0),
        folder,
        Origin("simulated", "Apache-2.0", simulated=True),
        Recipe(WindowSpec(seconds=3.0, hop_seconds=1.5), Splits((0.9, 0.1, 0.0), seed=0)),
    )
    return str(folder)


def summary(name: str, losses: np.ndarray, reference: np.ndarray, seconds: float) -> str:
    """One line: where the losses end, and how far they were from the reference."""
    apart = np.abs(losses - reference)
    last = len(losses) // 10
    return (
        f"{name:22} loss of the last {last} steps {losses[-last:].mean():.4f} (reference "
        f"{reference[-last:].mean():.4f})  largest difference {apart.max():.2e} at step "
        f"{apart.argmax() + 1}, mean {apart.mean():.2e}  processor time {seconds:.0f} s"
    )


def draw(losses: dict[str, np.ndarray], path: Path) -> None:
    """The curves, and below them their differences from the reference."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    for color, (name, values) in zip(COLORS, losses.items(), strict=False):
        steps = np.arange(1, len(values) + 1)
        above.plot(steps, values, color=color, linewidth=1, label=name)
        if name != REFERENCE:
            apart = np.maximum(np.abs(values - losses[REFERENCE]), 1e-8)
            below.semilogy(steps, apart, color=color, linewidth=1)
    above.set_ylabel("loss")
    above.legend(frameon=False)
    below.set_ylabel(f"distance from {REFERENCE}")
    below.set_xlabel("step")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
