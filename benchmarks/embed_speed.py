"""Windows a second of the frozen towers, at the shapes of clip-vit-base-patch32, random weights.

python benchmarks/embed_speed.py --dtype float32 --frames 4 --batch 16 --rounds 2

Prints wall time and, because machines are shared, the processor time of a window. Only the towers
are measured: reading and writing shards adds well under a millisecond a window.
"""

import argparse
import time

import jax
import numpy as np

from data_prep.embed.towers import DTYPES, TowerRunner
from primus_jax.models.clip.config import CLIP_MEAN, CLIP_STD, ClipConfig, TextConfig, VisionConfig
from primus_jax.models.clip.text import TextTower
from primus_jax.models.clip.towers import Towers
from primus_jax.models.clip.vision import VisionTower
from primus_jax.parallel.sharding import make_mesh

COMMON = {"layers": 12, "activation": "quick_gelu", "epsilon": 1e-5, "projection": 512}
TEXT = TextConfig(
    width=512, heads=8, hidden=2048, vocabulary=49408, positions=77, eos=49407, **COMMON
)
VISION = VisionConfig(
    width=768, heads=12, hidden=3072, image=224, patch=32, mean=CLIP_MEAN, std=CLIP_STD, **COMMON
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", choices=tuple(DTYPES), default="float32")
    parser.add_argument("--frames", type=int, default=4, help="of a window")
    parser.add_argument("--batch", type=int, default=16, help="sentences or frames at a time")
    parser.add_argument("--rounds", type=int, default=2, help="batches that are measured")
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 49406, (args.batch, 77)).astype(np.int32)
    tokens[:, 20:] = 49407
    videos = max(1, args.batch // args.frames)
    frames = rng.integers(0, 256, (videos, args.frames, 224, 224, 3)).astype(np.uint8)
    key = jax.random.key(0)
    params = {
        "text": jax.jit(TextTower(TEXT, np.float32).init)(key, tokens[:1], np.ones((1, 77), bool))[
            "params"
        ],
        "vision": jax.jit(VisionTower(VISION, np.float32).init)(key, frames[0, :1])["params"],
    }
    towers = Towers("random", {}, ClipConfig(TEXT, VISION), jax.tree.map(np.asarray, params))
    print(f"{jax.device_count()} x {jax.devices()[0].device_kind}, {args.dtype}")
    for kind, rows in (("text", tokens), ("video", frames)):
        runner = TowerRunner(kind, towers, make_mesh(), len(rows), args.dtype)
        runner(rows)
        wall, cpu = time.perf_counter(), time.process_time()
        runner(np.concatenate([rows] * args.rounds))
        count = args.rounds * len(rows)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        unit = "sentences" if kind == "text" else f"windows of {args.frames} frames"
        print(f"{unit}: {count / wall:,.1f} a second; {1e3 * cpu / count:,.1f} ms processor each")


if __name__ == "__main__":
    main()
