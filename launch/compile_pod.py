#!/usr/bin/env python
"""Compile the train step of a config for a pod, without the pod, and print its cost there.

  python launch/compile_pod.py --config configs/primus_pod.py --topology v5e:16x16
  python launch/compile_pod.py --config configs/primus_pod.py --fake-devices 64 --chip h100

The step is that of `primus-jax pretrain`, on shapes alone: nothing is allocated, no dataset is
opened. `--topology` compiles with the real TPU compiler, on a machine without a TPU
(`pip install 'primus-jax[tpu]'`). `--fake-devices` compiles with the CPU compiler: collectives and
loops are those of a pod, temporaries and fusions are not those of a chip. Values of the config are
set as in pretrain: --config.data.batch_size=8192.

Checked by tests/roofline/test_compile_pod.py, and by hand for TPU topologies (docs/scaling.md).
"""

import argparse
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

# Use no accelerator of this machine, and do not query a cloud for its TPU.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
# Several compilers may run at once: none of them holds a TPU.
os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import jax

from primus_jax.config import to_dict
from primus_jax.config_file import read_config
from primus_jax.errors import PrimusError
from primus_jax.files import replace_file
from primus_jax.parallel.sharding import lay_out
from primus_jax.roofline.chips import CHIPS, Chip, find_chip
from primus_jax.roofline.compiled import CompiledStep, compile_step
from primus_jax.roofline.estimate import Estimate, estimate

MOST_FAKE = 256


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; a PrimusError is printed without a traceback and gives status 2."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", required=True, help="a Python file with get_config()")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--topology", help="topology of a TPU slice, as v5e:16x16 or v4:4x4x4")
    where.add_argument("--fake-devices", type=int, metavar="N", help=f"1 to {MOST_FAKE}")
    parser.add_argument("--slices", type=int, default=1, help="number of slices of --topology each")
    parser.add_argument("--chip", help=f"chip of the estimate: {', '.join(CHIPS)}")
    parser.add_argument(
        "--window-samples", type=int, default=250, help="of the data; default 250 (5 s at 50 Hz)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write everything as JSON")
    parser.add_argument("--hlo", type=Path, metavar="FILE", help="write the compiled program")
    options, overrides = parser.parse_known_args(argv)
    try:
        report(options, overrides)
    except PrimusError as error:
        print(f"compile_pod: {error}", file=sys.stderr)
        return 2
    return 0


def report(options: argparse.Namespace, overrides: list[str]) -> None:
    """Compile, print, and write what was asked for."""
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    config = read_config(options.config, overrides)
    chip = find_chip(_chip_name(options))
    slices = options.slices
    if slices < 1 or config.mesh.replicas % slices:
        raise PrimusError(
            f"--slices is {slices}, config.mesh.replicas {config.mesh.replicas}; expected as many "
            f"replicas as slices, or a multiple."
        )
    devices = _topology(options, slices) if options.topology else _fake(options.fake_devices)
    if config.devices not in (0, len(devices)):
        raise PrimusError(
            f"config.devices is {config.devices}, but {len(devices)} devices are compiled for. "
            f"Leave it at 0."
        )
    mesh = lay_out(devices, config.mesh.replicas)
    step = compile_step(config, mesh, options.window_samples)
    domain = min(chip.domain or step.devices, step.devices // slices)
    time = estimate(chip, step.products, step.moved, step.sent, domain)
    print("\n".join(table(config.data.batch_size, chip, options.topology, step, time, domain)))
    if options.out:
        row = {
            "config": to_dict(config),
            "compiler": options.topology or f"{options.fake_devices} fake CPU devices",
            "window_samples": options.window_samples,
            "jax": jax.__version__,
            **as_json(chip, step, time, domain),
        }
        with replace_file(options.out) as temporary:
            temporary.write_text(json.dumps(row, indent=1) + "\n")
    if options.hlo:
        with replace_file(options.hlo) as temporary:
            temporary.write_text(step.text)


def _chip_name(options: argparse.Namespace) -> str:
    kind = (options.topology or "").split(":")[0]
    if options.chip and kind and options.chip != kind:
        raise PrimusError(f"--chip {options.chip} and --topology {options.topology} differ.")
    if not (options.chip or kind):
        raise PrimusError(f"--fake-devices needs --chip, one of {', '.join(CHIPS)}.")
    return options.chip or kind


def _topology(options: argparse.Namespace, slices: int) -> list:
    """The devices of TPU slices that nobody here owns."""
    if not re.fullmatch(r"v\w+:\d+(x\d+){1,2}", options.topology):
        raise PrimusError(
            f"--topology {options.topology!r}; expected a TPU and its shape, as v5e:16x16."
        )
    from jax.experimental import topologies

    more = {"num_slices": slices} if slices > 1 else {}
    # Two cores of a v4 chip work as one device, as they do in a job.
    more |= {"chip_config_name": "megacore"} if options.topology.startswith("v4:") else {}
    try:
        found = topologies.get_topology_desc(options.topology, platform="tpu", **more)
    except (ImportError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise PrimusError(
            f"--topology {options.topology} cannot be described ({first}). It takes the TPU "
            f"compiler, which runs without a TPU: pip install 'primus-jax[tpu]'. Or compile for "
            f"fake devices: --fake-devices 256 --chip v5e."
        ) from None
    return list(found.devices)


def _fake(count: int) -> list[jax.Device]:
    if not 1 <= count <= MOST_FAKE:
        raise PrimusError(f"--fake-devices is {count}; expected 1 to {MOST_FAKE}.")
    jax.config.update("jax_num_cpu_devices", count)
    return jax.devices()


def table(
    batch: int, chip: Chip, topology: str | None, step: CompiledStep, time: Estimate, domain: int
) -> list[str]:
    """The report's lines."""
    memory, gib = step.memory, 2**30
    lines = [
        f"{step.devices} x {chip.name}, {step.parameters / 1e6:.1f} M parameters, batch {batch} "
        f"({batch // step.devices} per device), compiled in {step.compile_seconds:.0f} s by "
        + (f"the TPU compiler for {topology}" if topology else "the CPU compiler"),
        "",
        f"memory per device         GiB   of {chip.memory / gib:.0f} GiB",
    ]
    lines += [
        f"  {name:<20}{memory[name] / gib:9.3f}   {memory[name] / chip.memory:6.1%}"
        for name in ("arguments", "temporaries", "outputs", "reused", "code", "total")
    ]
    lines += ["", "products per device   GFLOP/step   peak TFLOP/s"]
    lines += [
        f"  {' '.join(kind):<20}{work / 1e9:10.1f}   {chip.rate(*kind) / 1e12:9.1f}"
        for kind, work in sorted(step.products.items())
    ]
    lines += [
        f"  (every loop in full; XLA counts loops once: {step.xla_operations / 1e9:.1f})",
        "",
        "sent per device         MB/step   times",
    ]
    sent, times = _by_kind(step)
    lines += [f"  {kind:<20}{sent[kind] / 1e6:9.3f}   {times[kind]:.0f}" for kind in sorted(sent)]
    lines += [f"  {'total':<20}{sent.total() / 1e6:9.3f}   {times.total():.0f}"]
    if step.unknown_loops:
        lines.append(f"  ({step.unknown_loops} loops of unknown length are counted once)")
    lines += [
        "",
        f"a step on {chip.name}, at least    ms",
        f"  products of matrices {time.compute * 1e3:9.3f}",
        f"  device memory        {time.memory * 1e3:9.3f}   {step.moved / 1e9:.2f} GB moved",
        f"  shifts of the ring   {time.shifts * 1e3:9.3f}",
        f"  other collectives    {time.collectives * 1e3:9.3f}",
        f"  expected             {time.expected * 1e3:9.3f}   from {time.best * 1e3:.3f} (all "
        f"overlaps) to {time.worst * 1e3:.3f} (nothing does)",
        f"  windows per second   {batch / time.expected:9.3g}",
        f"  exposed communication {time.exposed * 1e3:8.3f}",
        f"  scaling efficiency   {time.scaling:9.1%}   work / expected",
        f"  of the matrix units  {time.of_peak:9.1%}   products / expected",
        "",
        f"Numbers of {chip.name}: {chip.source}. Fast interconnect between {domain} devices. "
        f"Assumed, not published: {chip.latency * 1e6:.0f} us before a collective's first byte.",
    ]
    return lines


def as_json(chip: Chip, step: CompiledStep, time: Estimate, domain: int) -> dict:
    """Everything of the table, in bytes, operations and seconds."""
    sent, times = _by_kind(step)
    return {
        "chip": vars(chip),
        "domain": domain,
        "devices": step.devices,
        "parameters": step.parameters,
        "memory_bytes": step.memory,
        "operations": {f"{d} {p}": work for (d, p), work in step.products.items()},
        "operations_xla_loops_once": step.xla_operations,
        "sent_bytes": dict(sent),
        "collectives": dict(times),
        "moved_bytes": step.moved,
        "unknown_loops": step.unknown_loops,
        "compile_seconds": step.compile_seconds,
        "seconds": {
            name: getattr(time, name)
            for name in ("compute", "memory", "shifts", "collectives", "expected", "best", "worst")
        },
        "scaling_efficiency": time.scaling,
        "matrix_unit_share": time.of_peak,
    }


def _by_kind(step: CompiledStep) -> tuple[Counter[str], Counter[str]]:
    """Bytes sent, and how often, by kind of collective."""
    sent: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for one in step.sent:
        sent[one.kind] += one.sent
        times[one.kind] += one.times
    return sent, times


if __name__ == "__main__":
    sys.exit(main())
