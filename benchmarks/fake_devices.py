"""One step on 1 to 8 fake devices of this CPU: equal losses, and the model beside the measurement.

python benchmarks/fake_devices.py --config configs/primus_small.py --batch 256

Fake devices share the cores, so the step does not get faster. The table shows that the loss does
not change, and compares processor time with the model of docs/scaling.md. The two rates of the
model (matrix products, memory) are measured first. Times are processor time, because machines are
shared.
"""

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.config import Config
from primus_jax.config_file import read_config
from primus_jax.parallel import sharding
from primus_jax.roofline.flops import count_products
from primus_jax.roofline.hlo import parse
from primus_jax.roofline.traffic import bytes_sent, memory_traffic
from primus_jax.training.setup import set_up

STEPS = 4


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True)
    parser.add_argument("--batch", type=int, default=256)
    args = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", 8)
    config = read_config(args.config, [f"--config.data.batch_size={args.batch}"])
    x = jnp.ones((2048, 2048), jnp.float32)
    product = jax.jit(lambda x: x @ x)
    big = jnp.ones((64, 1024, 1024), jnp.float32)
    add = jax.jit(lambda x: x + 1)
    rate = 2 * 2048**3 / processor_seconds(lambda: product(x))
    bandwidth = 2 * big.nbytes / processor_seconds(lambda: add(big))
    print(f"products {rate / 1e9:.0f} GFLOP, memory {bandwidth / 1e9:.1f} GB a processor second\n")
    print("| devices | loss of step 4 | GFLOP | GB moved | MB sent | model s | measured s |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for devices in (1, 2, 4, 8):
        print(line(config, devices, rate, bandwidth), flush=True)


def line(config: Config, devices: int, rate: float, bandwidth: float) -> str:
    """The table's row: of all devices together, in processor seconds of a step."""
    mesh = sharding.make_mesh(devices)
    setup = set_up(config, mesh, 250)
    state = setup.init_state()
    rng = np.random.default_rng(0)
    batch = config.data.batch_size
    rows = {name: np.repeat(x, batch, axis=0) for name, x in setup.example.items()}
    rows["imu"] = rng.normal(size=rows["imu"].shape).astype(np.float32)
    rows["index"] = np.arange(batch, dtype=np.int32)
    for name in ("text", "video"):
        shape = rows[f"{name}_embedding"].shape
        rows[f"{name}_embedding"] = rng.normal(size=shape).astype(np.float16)
        rows[f"{name}_mask"] = np.ones(batch, bool)
    there, stop = sharding.global_batch(mesh, rows), sharding.stop_flags(mesh, False)
    traced = setup.train_step.trace(state, {}, there, stop)
    compiled = traced.lower().compile()
    seconds = []
    for _ in range(STEPS):
        start = time.process_time()
        state, metrics = jax.block_until_ready(compiled(state, {}, there, stop))
        seconds.append(time.process_time() - start)
    text = compiled.as_text()
    work = devices * count_products(traced.jaxpr, devices).total()
    moved = devices * memory_traffic(parse(text))
    sent = devices * bytes_sent(text).total()
    model = work / rate + moved / bandwidth
    return (
        f"| {devices} | {float(metrics['loss']):.6f} | {work / 1e9:.1f} | {moved / 1e9:.2f} | "
        f"{sent / 1e6:.1f} | {model:.2f} | {min(seconds[1:]):.2f} |"
    )


def processor_seconds(run: Callable[[], jax.Array]) -> float:
    """Of one run, the least of three after one that is not counted."""
    run().block_until_ready()
    seconds = []
    for _ in range(3):
        start = time.process_time()
        run().block_until_ready()
        seconds.append(time.process_time() - start)
    return min(seconds)


if __name__ == "__main__":
    main()
