"""A contrastive loss and its gradient at a batch whose matrix of pairs does not fit in memory.

    python benchmarks/contrastive_large.py
    python benchmarks/contrastive_large.py --loss sigmoid --batch 65536
    python benchmarks/contrastive_large.py --batch 8192 --block 256 512 1024 2048

Runs on one device, in float32, in the ring's form. Prints seconds and peak resident memory beside
the compiler's plan for the dense form. Compares the loss of 64 random rows with the equation in
float64. Costs 8 batch^2 dim floating-point operations; the default, 4.4e12, takes a minute of CPU
time.
"""

import argparse
import resource
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.losses.contrastive import info_nce
from primus_jax.losses.pairs import Pairs
from primus_jax.losses.sigmoid import sigmoid

TEMPERATURE, BIAS = 0.1, -10.0
GIB = 2**30


def loss_of(name: str, form: str, block: int) -> Callable[..., jax.Array]:
    """(a, b, temperature, mask) -> loss; absent targets are not negatives of the sigmoid loss."""
    is_info_nce = name == "info_nce"

    def loss(a: jax.Array, b: jax.Array, temperature: jax.Array, mask: jax.Array) -> jax.Array:
        pairs = Pairs(mask, masked_negatives=is_info_nce, form=form, block=block)
        if is_info_nce:
            return info_nce(a, b, temperature, pairs)
        return sigmoid(a, b, temperature, BIAS, pairs)

    return loss


def expected(name: str, a: np.ndarray, b: np.ndarray, rows: np.ndarray) -> float:
    """Mean loss of `rows` in float64, from the equation."""
    a, b = (x.astype(np.float64) for x in (a, b))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    ab, ba = a[rows] @ b.T / TEMPERATURE, b[rows] @ a.T / TEMPERATURE
    own = ab[np.arange(len(rows)), rows]
    if name == "info_nce":
        return float(np.mean(np.log(np.exp(ab).sum(1)) + np.log(np.exp(ba).sum(1)) - 2 * own))
    every = np.log1p(np.exp(ba + BIAS)).sum(1) - np.log1p(np.exp(own + BIAS))
    return float(np.mean(every + np.log1p(np.exp(-own - BIAS))))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loss", choices=("info_nce", "sigmoid"), default="info_nce")
    parser.add_argument("--batch", type=int, default=32_768)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--block", type=int, nargs="+", default=[1024])
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    a, noise = rng.normal(size=(2, args.batch, args.dim)).astype(np.float32)
    b = 0.3 * a + noise
    arrays = jnp.asarray(a), jnp.asarray(b), jnp.float32(TEMPERATURE)
    everybody = jnp.ones(args.batch, bool)

    def compiled(form: str, block: int) -> jax.stages.Compiled:
        function = jax.value_and_grad(loss_of(args.loss, form, block), argnums=(0, 1, 2))
        return jax.jit(function).lower(*arrays, everybody).compile()

    dense = compiled("dense", args.block[0]).memory_analysis().temp_size_in_bytes
    print(f"{args.loss}, batch {args.batch:,}, dim {args.dim}, {jax.devices()[0].device_kind}")
    print(f"dense form: {dense / GIB:.2f} GiB of temporaries, from the compiler; not run")
    operations = 8 * args.batch**2 * args.dim
    for block in args.block:
        program = compiled("ring", block)
        start, busy = time.perf_counter(), time.process_time()
        value, gradients = jax.block_until_ready(program(*arrays, everybody))
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        finite = all(bool(jnp.isfinite(x).all()) for x in gradients)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        temporaries = program.memory_analysis().temp_size_in_bytes
        print(
            f"ring, block {block}: {temporaries / GIB:.2f} GiB of temporaries, peak resident "
            f"{peak / GIB:.2f} GiB, {seconds:.1f} s ({busy:.1f} s of CPU, "
            f"{operations / seconds / 1e9:.0f} GFLOP/s), loss {float(value):.6f}, "
            f"gradients {'finite' if finite else 'NOT FINITE'}",
            flush=True,
        )
    rows = np.sort(rng.choice(args.batch, 64, replace=False))
    mask = jnp.zeros(args.batch, bool).at[rows].set(True)
    found = float(jax.jit(loss_of(args.loss, "ring", args.block[-1]))(*arrays, mask))
    exact = expected(args.loss, a, b, rows)
    print(
        f"64 random rows: {found:.7f}, in float64 {exact:.7f}, "
        f"relative difference {abs(found / exact - 1):.1e}"
    )


if __name__ == "__main__":
    main()
