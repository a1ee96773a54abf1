"""Seconds of a search and a write of the neighbour queue, and its memory, checked by brute force.

python benchmarks/queue_search.py --rows 1000000 --dim 512 --batch 256
python benchmarks/queue_search.py --rows 1000000 --dim 128 --batch 256 --devices 8 --split

One modality; random rows, of which every tenth is a copy of another. On a CPU `--devices` are fake
devices that share its cores, so more of them show equal results, not speed.
"""

import argparse
import resource
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from primus_jax.objectives.neighbors import nearest
from primus_jax.objectives.queue import Queue, Rows, enqueue, gather, init_queue, order_after, read
from primus_jax.parallel.sharding import AXIS, make_mesh


def make_step(mesh: Mesh, split: bool, block: int) -> tuple[jax.stages.Wrapped, Queue]:
    """Jitted (queue, batch, place) -> row numbers, contents, queue; and the queue's shardings."""
    shards = AXIS if split else None
    rows, everywhere = PartitionSpec(AXIS), PartitionSpec()

    def local(
        queue: Queue, batch: dict[str, Rows], place: jax.Array
    ) -> tuple[jax.Array, jax.Array, Queue]:
        whole = gather(batch, AXIS)
        query = whole if split else batch
        index, _ = nearest(queue, query, ("imu",), block=block, shards=shards)
        neighbor = read(queue, index, shards)
        place = gather(order_after(place, index, *jax.tree.leaves(neighbor)), AXIS)
        return index, neighbor["imu"].embedding, enqueue(queue, whole, place, shards)

    one = rows if split else everywhere
    kept = Queue(everywhere, {"imu": Rows(one, one, one)})
    step = jax.shard_map(
        local, mesh=mesh, in_specs=(kept, rows, rows), out_specs=(rows, rows, kept)
    )
    layout = jax.tree.map(lambda spec: NamedSharding(mesh, spec), kept)
    return jax.jit(step, donate_argnums=0), layout


def brute_force(rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    """The row nearest to each query, the first of its copies, in float64, a slab at a time."""
    best, index = np.full(len(query), -2.0), np.zeros(len(query), np.int64)
    query = query / np.linalg.norm(query.astype(np.float64), axis=1, keepdims=True)
    for start in range(0, len(rows), 50_000):
        slab = rows[start : start + 50_000].astype(np.float64)
        cosine = query @ (slab / np.linalg.norm(slab, axis=1, keepdims=True)).T
        better = cosine.max(1) > best + 1e-12
        first = (cosine >= cosine.max(1, keepdims=True) - 1e-12).argmax(1)
        best, index = np.maximum(best, cosine.max(1)), np.where(better, start + first, index)
    return index


def main() -> None:
    """Measure, check and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--block", type=int, default=8192)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--split", action="store_true", help="rows split over the devices")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--check", type=int, default=8, help="queries compared with brute force")
    args = parser.parse_args()
    if args.devices > 1:
        jax.config.update("jax_num_cpu_devices", args.devices)
    mesh = make_mesh(args.devices)
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((args.rows, args.dim), np.float32)
    rows[9::10] = rows[: len(rows[9::10])]
    batch = {
        "imu": Rows(
            rows[rng.integers(0, args.rows, args.batch)]
            + 0.3 * rng.standard_normal((args.batch, args.dim), np.float32),
            np.ones(args.batch, bool),
            np.full(args.batch, -1, np.int32),
        )
    }
    place = np.arange(args.batch, dtype=np.int32)
    expected = brute_force(rows, batch["imu"].embedding[: args.check])
    step, layout = make_step(mesh, args.split, args.block)
    shapes = jax.eval_shape(lambda: init_queue(args.rows, {"imu": args.dim}))
    shapes = jax.tree.map(
        lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes, layout
    )
    stored = Rows(rows, np.ones(args.rows, bool), np.full(args.rows, -1, np.int32))
    queue = jax.device_put(Queue(jnp.zeros((), jnp.int32), {"imu": stored}), layout)
    compiled = step.lower(shapes, batch, place).compile()
    memory = compiled.memory_analysis()
    taken = []
    for number in range(args.rounds + 1):
        cpu, begin = time.process_time(), time.perf_counter()
        index, neighbor, queue = jax.block_until_ready(step(queue, batch, place))
        taken.append((time.perf_counter() - begin, time.process_time() - cpu))
        if number == 0:
            np.testing.assert_array_equal(np.asarray(index)[: args.check], expected)
            np.testing.assert_array_equal(np.asarray(neighbor), rows[np.asarray(index)])
    wall, cpu = np.median(taken[1:], axis=0)
    work = 2 * args.rows * args.dim * args.batch
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    kind = "split" if args.split else "whole"
    print(
        f"{args.batch} queries x {args.rows} rows x {args.dim}, {args.devices} devices, "
        f"{kind}, block {args.block}, {jax.devices()[0].device_kind}\n"
        f"{wall:.2f} s of wall, {cpu:.2f} s of processors a step: "
        f"{work / wall / 1e9:.0f} GFLOP/s\n"
        f"on a device: queue {memory.alias_size_in_bytes / 2**20:.0f} MiB, "
        f"temporaries {memory.temp_size_in_bytes / 2**20:.0f} MiB; process peak {peak:.1f} GiB\n"
        f"{args.check} queries checked: the rows that brute force in float64 finds"
    )


if __name__ == "__main__":
    main()
