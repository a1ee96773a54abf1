"""Losses, queue and train step on the accelerators of this machine: errors, memory and time.

python benchmarks/accelerator_scaling.py --out results/h200        writes .json and .md

Errors are against float64 in numpy, relative to the largest value. Memory is the compiler's plan
and the device's own peak so far. Time is the best of several runs, beside that of the matrix
products alone, at the rate that one product reaches on this device in the same precision.
`--small` runs the same code in a minute on a CPU, where times mean nothing.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from primus_jax.augment import AugmentConfig
from primus_jax.config import Config, DataConfig
from primus_jax.files import replace_file
from primus_jax.losses.contrastive import info_nce
from primus_jax.losses.pairs import Pairs
from primus_jax.models.base import EncoderConfig
from primus_jax.models.compute import ComputeConfig
from primus_jax.models.motion import MotionConfig
from primus_jax.models.released import ReleasedConfig
from primus_jax.objectives.neighbors import nearest
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.objectives.queue import Queue, Rows, gather
from primus_jax.optim import OptimConfig
from primus_jax.parallel import sharding
from primus_jax.training.setup import set_up

MIB = 2**20
TEMPERATURE = 0.07


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes to measure; `reference` is the largest batch that numpy repeats in float64."""

    encoder: EncoderConfig
    dim: int
    loss: tuple[int, ...]
    queue: tuple[int, ...]
    queries: int
    step: tuple[int, ...]
    dtypes: tuple[str, ...]
    product: int
    reference: int
    repeats: int


FULL = Sizes(
    encoder=MotionConfig(head_layers=2),
    dim=512,
    loss=(4096, 32_768, 262_144),
    queue=(8192, 65_536, 262_144, 1_048_576),
    queries=4096,
    step=(256, 1024, 4096),
    dtypes=("float32", "bfloat16"),
    product=8192,
    reference=4096,
    repeats=5,
)
SMALL = Sizes(
    encoder=ReleasedConfig(input_norm="fixed", activation="gelu", readout="pool", channels=8),
    dim=32,
    loss=(64, 128),
    queue=(256, 512),
    queries=64,
    step=(16,),
    dtypes=("bfloat16",),
    product=256,
    reference=64,
    repeats=2,
)
Row = dict[str, Any]


def main(argv: list[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="path without an ending")
    parser.add_argument("--small", action="store_true", help="sizes for a CPU")
    args = parser.parse_args(argv)
    sizes = SMALL if args.small else FULL
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    mesh = sharding.make_mesh()
    rate = product_rate(sizes)
    results = {
        "device": f"{mesh.size} x {jax.devices()[0].device_kind}",
        "jax": jax.__version__,
        "product_tflops": rate / 1e12,
        "dim": sizes.dim,
        "loss": [
            measure_loss(mesh, sizes, batch, form, rate)
            for batch in sizes.loss
            for form in ("gathered", "ring")
        ],
        "queue": [
            measure_queue(mesh, sizes, size, split, rate)
            for size in sizes.queue
            for split in (False, True)
        ],
        "step": [
            measure_step(mesh, sizes.encoder, batch, dtype)
            for batch in sizes.step
            for dtype in sizes.dtypes
        ],
    }
    text = markdown(results)
    print(text)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for ending, content in ((".json", json.dumps(results, indent=1)), (".md", text)):
        with replace_file(args.out.with_name(args.out.name + ending)) as temporary:
            temporary.write_text(content + "\n")


def product_rate(sizes: Sizes) -> float:
    """Operations a second of one product in float32 at full precision, on one device."""
    x = jnp.ones((sizes.product, sizes.dim), jnp.float32)
    product = jax.jit(lambda x: jnp.matmul(x, x.T, precision=lax.Precision.HIGHEST))
    return 2 * sizes.product**2 * sizes.dim / best_time(lambda: product(x), sizes.repeats)


def measure_loss(mesh: Mesh, sizes: Sizes, batch: int, form: str, rate: float) -> Row:
    """Value and gradients of InfoNCE over the global batch: four products of batch x batch."""
    rows = sharding.rows(mesh)

    def local(a, b, t):
        return info_nce(a, b, t, Pairs(axis_name=sharding.batch_axes(mesh), form=form))

    everywhere = PartitionSpec()
    loss = jax.shard_map(local, mesh=mesh, in_specs=(rows, rows, everywhere), out_specs=everywhere)
    step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2)))
    split = NamedSharding(mesh, rows)
    shape = jax.ShapeDtypeStruct((batch, sizes.dim), jnp.float32, sharding=split)
    number = jax.ShapeDtypeStruct((), jnp.float32)
    row = {"batch": batch, "form": form}
    compiled = step.lower(shape, shape, number).compile()
    row |= planned(compiled)
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
    if limit and row["planned_mib"] * MIB > limit:
        return row | {"skipped": "does not fit"}
    rng = np.random.default_rng(batch)
    a, b = rng.normal(size=(2, batch, sizes.dim)).astype(np.float32)
    b += a  # pairs that belong together
    t = jnp.float32(TEMPERATURE)
    there = [jax.device_put(x, split) for x in (a, b)]
    value, grads = compiled(*there, t)
    if batch <= sizes.reference:
        value_64, grads_64 = reference(a, b, TEMPERATURE)
        row["value_error"] = abs(float(value) - value_64) / abs(value_64)
        row["gradient_error"] = max(
            relative(np.asarray(x), y) for x, y in zip(grads, grads_64, strict=True)
        )
    # With all rows alike the loss is 2 ln(batch), whatever the batch.
    same = jax.device_put(np.ones_like(a), split)
    constant = float(compiled(same, same, t)[0])
    row["constant_error"] = abs(constant / (2 * np.log(batch)) - 1)
    row["ms"] = 1e3 * best_time(lambda: compiled(*there, t), sizes.repeats)
    row["floor_ms"] = 1e3 * 4 * 2 * batch**2 * sizes.dim / mesh.size / rate
    return row | peak()


def measure_queue(mesh: Mesh, sizes: Sizes, size: int, split: bool, rate: float) -> Row:
    """The neighbours of a global batch in a queue of `size` rows, whole or split."""
    axes = sharding.batch_axes(mesh)
    rows, kept = sharding.rows(mesh), sharding.rows(mesh) if split else PartitionSpec()

    def local(query, queue, valid):
        has, distinct = jnp.ones(query.shape[:1], bool), jnp.full(query.shape[:1], -1, jnp.int32)
        asked = {"imu": Rows(query, has, distinct)}
        stored = Rows(queue, valid, jnp.full(valid.shape, -1, jnp.int32))
        return nearest(
            Queue(jnp.zeros((), jnp.int32), {"imu": stored}),
            gather(asked, axes) if split else asked,
            ("imu",),
            shards=axes if split else None,
        )[0]

    search = jax.shard_map(local, mesh=mesh, in_specs=(rows, kept, kept), out_specs=rows)
    rng = np.random.default_rng(size)
    query = rng.normal(size=(sizes.queries, sizes.dim)).astype(np.float32)
    queue = rng.normal(size=(size, sizes.dim)).astype(np.float32)
    valid = rng.random(size) < 0.9
    arrays = [
        jax.device_put(x, NamedSharding(mesh, spec))
        for x, spec in ((query, rows), (queue, kept), (valid, kept))
    ]
    compiled = jax.jit(search).lower(*arrays).compile()
    sample = np.arange(0, sizes.queries, max(1, sizes.queries // 256))
    found = np.asarray(compiled(*arrays))[sample]
    unit = [x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (query, queue)]
    cosine = np.where(valid, unit[0][sample] @ unit[1].T, -np.inf)
    short = cosine.max(1) - cosine[np.arange(len(sample)), found]
    return {
        "rows": size,
        "layout": "split" if split else "whole",
        "queries": sizes.queries,
        "same_as_float64": float(np.mean(found == cosine.argmax(1))),
        "cosine_short_by": float(short.max()),
        **planned(compiled),
        "ms": 1e3 * best_time(lambda: compiled(*arrays), sizes.repeats),
        "floor_ms": 1e3 * 2 * sizes.queries * size * sizes.dim / mesh.size / rate,
        **peak(),
    }


def measure_step(mesh: Mesh, encoder: EncoderConfig, batch: int, dtype: str) -> Row:
    """Updates of `encoder` on all three losses; those of its outputs against float64."""
    config = Config(
        steps=100,
        data=DataConfig(train=("none",), batch_size=batch),
        encoder=encoder,
        objective=PrimusConfig(
            queue_size=max(8192, batch),
            second_view=AugmentConfig(scale=0.25, segments=5),
            temperature_initial=TEMPERATURE,
            mask_equal_text=False,
            mask_equal_video=False,
        ),
        optim=OptimConfig(lr=1e-3),
        compute=ComputeConfig(dtype=dtype),
    )
    config.validate()
    setup = set_up(config, mesh, 250)
    state = setup.init_state()
    rows = random_rows(batch, setup.example)
    there, stop = sharding.global_batch(mesh, rows), sharding.stop_flags(mesh, False)
    compiled = setup.train_step.lower(state, {}, there, stop).compile()
    key = jax.random.fold_in(jax.random.key(config.seed), 0)
    views = jax.jit(setup.objective.forward)(
        jax.device_get(state.params), jax.tree.map(jnp.asarray, rows), key
    )
    pairs = {
        "view": (views["ssl"], views["ssl_second"]),
        "text": (views["mm"], rows["text_embedding"]),
        "video": (views["mm"], rows["video_embedding"]),
    }
    state, metrics = compiled(state, {}, there, stop)
    error = 0.0
    for name, (a, b) in pairs.items():
        exact, _ = reference(np.asarray(a), np.asarray(b), TEMPERATURE)
        error = max(error, abs(float(metrics[f"loss_{name}"]) - exact) / exact)
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        state, metrics = jax.block_until_ready(compiled(state, {}, there, stop))
        seconds.append(time.perf_counter() - start)
    return {
        "batch": batch,
        "dtype": dtype,
        "loss_error": error,
        "finite": bool(np.isfinite(float(metrics["loss"]))),
        **planned(compiled),
        "ms": 1e3 * float(np.median(seconds)),
        "windows_per_second": batch / float(np.median(seconds)),
        **peak(),
    }


def random_rows(batch: int, example: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Windows of noise around gravity, with a sentence and a video each."""
    rng = np.random.default_rng(0)
    rows = {name: np.repeat(x, batch, axis=0) for name, x in example.items()}
    rows["imu"] = rng.normal(size=rows["imu"].shape).astype(np.float32)
    rows["imu"][..., 2] += 9.8
    rows["index"] = np.arange(batch, dtype=np.int32)
    for name in ("text", "video"):
        shape = rows[f"{name}_embedding"].shape
        rows[f"{name}_embedding"] = rng.normal(size=shape).astype(np.float16)
        rows[f"{name}_mask"] = np.ones(batch, bool)
    return rows


def reference(a: np.ndarray, b: np.ndarray, t: float) -> tuple[float, list[np.ndarray]]:
    """InfoNCE, the sum of both directions, and its gradients with respect to a, b and t."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    batch = len(a)
    length = [np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    unit_a, unit_b = a / length[0], b / length[1]
    logits = unit_a @ unit_b.T / t
    own = np.eye(batch, dtype=bool)
    value, slope = 0.0, np.zeros_like(logits)
    for axis in (1, 0):
        largest = logits.max(axis, keepdims=True)
        powers = np.exp(logits - largest)
        sums = powers.sum(axis, keepdims=True)
        value += float(np.mean(np.log(sums) + largest)) - float(logits[own].mean())
        slope += (powers / sums - own) / batch
    towards = [slope @ unit_b / t, slope.T @ unit_a / t]
    grads = [
        (g - u * (g * u).sum(1, keepdims=True)) / n
        for g, u, n in zip(towards, (unit_a, unit_b), length, strict=True)
    ]
    return value, [*grads, np.asarray(-(slope * logits).sum() / t)]


def relative(x: np.ndarray, exact: np.ndarray) -> float:
    """Largest difference, relative to the largest value."""
    return float(np.abs(x - exact).max() / np.abs(exact).max())


def best_time(run: Callable[[], Any], repeats: int) -> float:
    """Seconds of the fastest run, after one that is not counted."""
    jax.block_until_ready(run())
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def planned(compiled: Any) -> Row:
    """Temporaries of one device, as the compiler planned them."""
    return {"planned_mib": compiled.memory_analysis().temp_size_in_bytes / MIB}


def peak() -> Row:
    """The device's largest memory in use so far; None where it reports none (CPU)."""
    used = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    return {"peak_so_far_mib": None if used is None else used / MIB}


def markdown(results: dict[str, Any]) -> str:
    """The tables."""
    lines = [
        f"{results['device']}, jax {results['jax']}, dimension {results['dim']}; a plain float32 "
        f"product at full precision reaches {results['product_tflops']:.3g} TFLOP/s on one device."
    ]
    for part in ("loss", "queue", "step"):
        names = list(dict.fromkeys(name for row in results[part] for name in row))
        lines += ["", f"### {part}", "", f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
        lines += [f"| {' | '.join(cell(row.get(n)) for n in names)} |" for row in results[part]]
    return "\n".join(lines)


def cell(value: Any) -> str:
    """One value of a table."""
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
