"""Milliseconds for one window on one thread, of every encoder, in four programs.

    python benchmarks/latency.py --out latency.md
    python benchmarks/latency.py --encoder mine=encoders/small --seconds 5

JAX, PyTorch, ONNX Runtime, and ONNX Runtime with weights of eight bits take one window at a time,
from NumPy to NumPy. The process is bound to one core. The first call compiles, and has a column of
its own. Median and 95th percentile are those of `--calls` calls that follow 10 that do not count.
Of the vision encoders, drawing the spectrogram and the ResNet are timed apart; each begins and ends
in NumPy. Weights are random, and do not change the time. The size is that of the weights of all
heads as float32, or of the ONNX file of the embedding.

The motif distance is not in the table, since it compares two windows and embeds none. Spectrograms
of the form "released" have no ONNX graph. IMG2IMU's app measured 49 ms and 17 ms on a phone of
2022, spectrogram and inference.
"""

import argparse
import importlib.util
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

if hasattr(os, "sched_setaffinity"):
    # Before JAX and PyTorch count the cores.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import jax
import numpy as np

from primus_jax.encoder import Encoder, load_encoder
from primus_jax.export.onnx.encoders import onnx_encoder
from primus_jax.hub.torch_names import to_torch_names
from primus_jax.models.base import EncoderConfig
from primus_jax.models.motion import MotionConfig
from primus_jax.models.released import ReleasedConfig
from primus_jax.models.resnet1d import ResNet1DConfig
from primus_jax.models.vision.encoder import VisionConfig
from primus_jax.models.vision.resnet import ResNet, standardise
from primus_jax.models.vision.spectrogram import spectrograms
from primus_jax.reports.markdown import markdown_table

WARM = 10
# With the rate of their windows.
ENCODERS: dict[str, tuple[EncoderConfig, float]] = {
    "released (PRIMUS)": (ReleasedConfig(), 50.0),
    "released (IMU2CLIP)": (ReleasedConfig(third_pool="max", multihead=False), 200.0),
    "motion": (MotionConfig(), 50.0),
    "ResNet1D (RelCon)": (ResNet1DConfig(), 50.0),
    "vision, ResNet-18": (VisionConfig(), 50.0),
    "vision, ResNet-50": (VisionConfig(depth=50), 50.0),
}
PACKAGES = ("jax", "torch", "onnxruntime", "numpy")
Call = Callable[[np.ndarray], np.ndarray]


class Program(NamedTuple):
    """One encoder in one program.

    Attributes:
        name: of the program.
        bytes: of its weights.
        draw: windows to images; None of an encoder that reads windows.
        infer: what `draw` returns, or windows, to embeddings.
    """

    name: str
    bytes: int
    draw: Call | None
    infer: Call


class Times(NamedTuple):
    """Milliseconds: of the first call, and median and 95th percentile of later ones."""

    first: float
    median: float
    high: float


def measured(call: Call, x: np.ndarray, calls: int) -> tuple[Times, np.ndarray]:
    """Call again and again; the times, and what came out."""
    seconds = []
    for _ in range(1 + WARM + calls):
        start = time.perf_counter()
        out = call(x)
        seconds.append(time.perf_counter() - start)
    ms = 1e3 * np.array(seconds)
    median, high = np.percentile(ms[1 + WARM :], [50, 95])
    return Times(float(ms[0]), float(median), float(high)), out


def programs(encoder: Encoder, samples: int, folder: Path) -> Iterator[Program]:
    """The encoder in every program, made only when it is asked for."""
    encoder.save(folder)
    size = (folder / "model.safetensors").stat().st_size
    yield in_jax(encoder, size)
    yield in_torch(encoder, folder, size)
    tensors = to_torch_names(encoder.params, encoder.config)
    for name, int8 in (("ONNX", False), ("ONNX int8", True)):
        model = onnx_encoder(tensors, encoder.config, samples, ("emb",), int8)
        yield in_onnx(name, model, encoder.config)


def in_jax(encoder: Encoder, size: int) -> Program:
    """Compiled, its weights an argument."""
    config, params = encoder.config, encoder.params
    if not isinstance(config, VisionConfig):
        module = config.build()
        apply = jax.jit(lambda params, imu: module.apply({"params": params}, imu)["emb"])
        return Program("JAX", size, None, lambda imu: np.asarray(apply(params, imu)))
    resnet = ResNet(config.resnet)
    shape = (-1, 96, 128, config.resnet.channels)
    draw = jax.jit(lambda imu: standardise(spectrograms(imu, config.spectrogram)).reshape(shape))
    see = jax.jit(lambda params, x: resnet.apply({"params": params}, x)["features"])
    weights = params["vision"]
    return Program(
        "JAX", size, lambda imu: np.asarray(draw(imu)), lambda x: np.asarray(see(weights, x))
    )


def in_torch(encoder: Encoder, folder: Path, size: int) -> Program:
    """The module in the exported folder, not compiled."""
    import torch

    torch.set_num_threads(1)
    code = torch_module(folder)
    kind = "RelConEncoder" if hasattr(code, "RelConEncoder") else "PrimusEncoder"
    module = getattr(code, kind).from_pretrained(folder)

    def plain(function: Callable[[Any], Any]) -> Call:
        def call(x: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return function(torch.from_numpy(x)).numpy()

        return call

    if not isinstance(encoder.config, VisionConfig):
        return Program("PyTorch", size, None, plain(lambda imu: module(imu)["emb"]))
    architecture = module.architecture
    draw = plain(lambda imu: code.standardise(code.spectrograms(imu, architecture)))
    return Program("PyTorch", size, draw, plain(module.vision))


def torch_module(folder: Path) -> ModuleType:
    """The Python file of an exported folder."""
    (path,) = folder.glob("modeling_*.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_onnx(name: str, model: Any, config: EncoderConfig) -> Program:
    """One graph, or of a vision encoder two: up to the first convolution of the ResNet, and on."""
    whole = model.SerializeToString()
    if not isinstance(config, VisionConfig):
        return Program(name, len(whole), None, session(whole))
    from onnx.shape_inference import infer_shapes
    from onnx.utils import Extractor

    # That of the spectrogram has one dimension, that of the ResNet two.
    strides = {
        node.input[0]: list(part.ints)
        for node in reversed(model.graph.node)
        for part in node.attribute
        if node.op_type == "Conv" and part.name == "strides"
    }
    images = next(x for x, stride in reversed(strides.items()) if len(stride) == 2)
    parts = Extractor(infer_shapes(model, data_prop=True))
    draw, see = (
        session(parts.extract_model([a], [b]).SerializeToString())
        for a, b in (("imu", images), (images, "emb"))
    )
    return Program(name, len(whole), draw, see)


def session(model: bytes) -> Call:
    """A graph with one input and one output, made on its first call."""
    import onnxruntime

    made: list[Any] = []

    def call(x: np.ndarray) -> np.ndarray:
        if not made:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            providers = ["CPUExecutionProvider"]
            made.append(onnxruntime.InferenceSession(model, options, providers=providers))
        return made[0].run(None, {made[0].get_inputs()[0].name: x})[0]

    return call


def row(name: str, program: Program, window: np.ndarray, calls: int) -> tuple[list[str], Any]:
    """A line of the table, and the embedding."""
    drawn, x = None, window
    if program.draw is not None:
        drawn, x = measured(program.draw, window, calls)
    seen, embedding = measured(program.infer, x, calls)
    first = seen.first + (drawn.first if drawn else 0.0)
    cells = [f"{program.bytes / 1e6:.2f}", f"{first:,.0f}"]
    for times in (drawn, seen):
        cells += [f"{times.median:.2f}", f"{times.high:.2f}"] if times else ["", ""]
    return [name, program.name, *cells], embedding


def machine() -> str:
    """Processor, packages and load, in a sentence each."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text().splitlines()
        cpu = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), cpu)
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    cores = os.cpu_count()
    bound = "bound to one" if hasattr(os, "sched_setaffinity") else "not bound to one"
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{cpu}, {cores} cores, {bound}; load {load}. Python {platform.python_version()}, "
        f"{packages}."
    )


def table(encoders: Mapping[str, Encoder], seconds: float, calls: int) -> str:
    """Measure, and return the page."""
    header = [
        "encoder", "program", "MB", "first call", "spectrogram", "95 %", "inference", "95 %",
    ]  # fmt: skip
    rows, before = [], machine()
    for name, encoder in encoders.items():
        samples = round(seconds * encoder.rate_hz)
        rng = np.random.default_rng(0)
        window = rng.normal(size=(1, samples, 6)).cumsum(1).astype(np.float32) / 8
        window[..., 2] += 9.81
        reference = None
        with tempfile.TemporaryDirectory() as folder:
            for program in programs(encoder, samples, Path(folder) / "encoder"):
                line, embedding = row(name, program, window, calls)
                embedding = embedding.ravel()
                reference = embedding if reference is None else reference
                far = np.abs(embedding - reference).max() / np.abs(reference).max()
                print(" | ".join(line), f"| differs from JAX by {far:.0e}", flush=True)
                rows.append(line)
        jax.clear_caches()
    about = f"Milliseconds, a window of {seconds:g} s, {calls} calls. Before: {before}"
    after = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    return f"{markdown_table(header, rows)}\n\n{about} After: load {after}.\n"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--encoder", nargs="+", default=[], metavar="NAME=PATH", help="add exported folders"
    )
    parser.add_argument("--only", nargs="+", choices=tuple(ENCODERS), default=list(ENCODERS))
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the window")
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--out", type=Path, help="write the table as Markdown")
    args = parser.parse_args()
    encoders = {}
    for name in args.only:
        config, rate = ENCODERS[name]
        encoders[name] = Encoder.random(config, 0, rate, args.seconds)
    for words in args.encoder:
        name, _, path = words.rpartition("=")
        encoders[name or path] = load_encoder(path)
    page = table(encoders, args.seconds, args.calls)
    print(f"\n{page}")
    if args.out:
        args.out.write_text(page)


if __name__ == "__main__":
    main()
