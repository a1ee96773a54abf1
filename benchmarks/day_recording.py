"""A day at 100 Hz through `Encoder.embed_recording`: wall time, CPU time and peak memory.

    python benchmarks/day_recording.py
    python benchmarks/day_recording.py --source csv --encoder encoders/small

A synthetic recording with three gaps, and one window of the encoder's length every second. The
array is memory-mapped. Another process writes the files beforehand, so that the peak is that of
reading and embedding. The goal is under a minute on 2 cores, under 1 GB.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

RATE = 100.0
CHANNELS = ["acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z"]
GAPS = (6.0, 12.5, 20.0)  # hours; each lasts a minute


def write(path: Path, hours: float) -> None:
    """Write the recording to `path`: .npy without times, .csv or .parquet with times and gaps."""
    rng = np.random.default_rng(0)
    rows = round(hours * 3600 * RATE)
    t = np.arange(rows) / RATE
    if path.suffix == ".npy":
        out = np.lib.format.open_memmap(path, "w+", np.float32, (rows, 6))
        for start in range(0, rows, 1 << 18):
            out[start : start + (1 << 18)] = moving(t[start : start + (1 << 18)], rng)
        return
    import pandas as pd
    import pyarrow
    from pyarrow import csv, parquet

    def table(start: int) -> pyarrow.Table:
        clock = t[start : start + (1 << 18)]
        frame = pd.DataFrame(moving(clock, rng).round(4), columns=CHANNELS)
        frame.insert(0, "time", clock.round(2))
        lost = np.zeros(len(clock), bool)
        for gap in GAPS:
            lost |= (clock >= gap * 3600) & (clock < gap * 3600 + 60)
        return pyarrow.Table.from_pandas(frame[~lost], preserve_index=False)

    schema = table(0).schema
    kind = csv.CSVWriter if path.suffix == ".csv" else parquet.ParquetWriter
    with kind(path, schema) as writer:
        for start in range(0, rows, 1 << 18):
            writer.write_table(table(start))


def moving(t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Walking with pauses, float64 `[time, 6]` in m/s^2 and rad/s."""
    active = np.sin(2 * np.pi * t / 600) > 0
    phase = 2 * np.pi * 1.9 * t
    waves = [np.sin(phase + i) * amplitude for i, amplitude in enumerate((1, 3, 1, 1, 0.5, 0.3))]
    signal = np.stack(waves, 1) * active[:, None] + [0, 9.81, 0, 0, 0, 0]
    return signal + rng.normal(0, 0.05, (len(t), 6))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", type=Path, help="default: the untrained one of primus_small")
    parser.add_argument("--source", choices=("npy", "csv", "parquet"), default="npy")
    parser.add_argument("--hours", type=float, default=24.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"day.{args.source}"
        writer = multiprocessing.get_context("spawn").Process(target=write, args=(path, args.hours))
        writer.start()
        writer.join()
        measure(args, path)


def measure(args: argparse.Namespace, path: Path) -> None:
    """Embed `path` and print time and memory."""
    from primus_jax.encoder import Encoder, load_encoder

    if args.encoder is None:
        from primus_jax.models.motion import MotionConfig

        config = MotionConfig(channels=32)
        encoder = Encoder.random(config, 0, 50.0, 5.0)
    else:
        encoder = load_encoder(args.encoder)
    window = round(encoder.rate_hz * encoder.window_seconds)
    # compiled before the clock starts, as in any second use
    encoder.encode_windows(np.zeros((512, window, 6), np.float32))
    recording = np.load(path, mmap_mode="r") if args.source == "npy" else path
    rate_hz = RATE if args.source == "npy" else None
    warnings.simplefilter("default")
    wall, cpu = time.perf_counter(), time.process_time()
    times, embeddings = encoder.embed_recording(recording, 1.0, rate_hz=rate_hz)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{args.hours:g} h at {RATE:g} Hz from {args.source}: {len(times):,} windows of "
        f"{embeddings.shape[1]} values; {wall:.1f} s wall, {cpu:.1f} s CPU, peak {peak:,.0f} MiB "
        f"(a memory-mapped file's pages count)"
    )


if __name__ == "__main__":
    main()
