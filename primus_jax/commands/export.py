"""Export the encoder of a run as a folder that PyTorch users can load without this package.

The folder has model.safetensors with PyTorch names, config.json, README.md and modeling_primus.py.

primus-jax export runs/small --to encoders/small
primus-jax export runs/small --to encoders/small --onnx --int8 --results fewshot/results.jsonl
primus-jax export runs/pictures --to encoders/img2imu --rate 50 --window 5
"""

import argparse
import dataclasses
import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from primus_jax.export.run import ExportOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("run_folder", metavar="RUN", help="--workdir of a pretraining run")
    parser.add_argument("--to", required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--checkpoint",
        default="best",
        metavar="WHICH",
        help="best (by validation loss, the default), latest, or a step number",
    )
    parser.add_argument(
        "--rate", type=float, metavar="HZ", help="of the windows to come, after a run on pictures"
    )
    parser.add_argument("--window", type=float, metavar="SECONDS", help="length of these windows")
    add_folder_arguments(parser)


def add_folder_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of every command that writes an export folder."""
    parser.add_argument(
        "--head",
        default="emb",
        choices=("emb", "ssl", "mmcl"),
        help="recommended output of the encoder, for the folder (default %(default)s)",
    )
    parser.add_argument(
        "--results", metavar="FILE", help="results.jsonl of fewshot or study, for the model card"
    )
    parser.add_argument(
        "--license",
        default="unknown",
        metavar="ID",
        help="licence of the weights, for the model card (default %(default)s)",
    )
    parser.add_argument("--onnx", action="store_true", help="also write model.onnx")
    parser.add_argument(
        "--int8",
        action="store_true",
        help="also write model_int8.onnx, and its agreement with float32",
    )
    parser.add_argument("--stablehlo", action="store_true", help="also write model.stablehlo")
    parser.add_argument(
        "--check-data",
        metavar="DATA",
        help="dataset folder on whose windows ONNX is compared with JAX (default: simulated)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing folder")


def run(args: argparse.Namespace) -> int:
    """Read the checkpoint, write the folder."""
    from primus_jax.export.run import export

    options = dataclasses.replace(
        folder_options(args), rate_hz=args.rate, window_seconds=args.window
    )
    description = export(args.run_folder, args.to, options, checkpoint=args.checkpoint)
    step = description["provenance"]["step"]
    report(f"exported step {step} of {args.run_folder} to {args.to}", description)
    return 0


def folder_options(args: argparse.Namespace) -> "ExportOptions":
    """The arguments of `add_folder_arguments`."""
    from primus_jax.commands.check_windows import check_windows
    from primus_jax.export.run import ExportOptions

    names = ("head", "results", "onnx", "int8", "stablehlo", "overwrite")
    return ExportOptions(
        licence=args.license,
        check_windows=functools.partial(check_windows, args.check_data),
        **{name: getattr(args, name) for name in names},
    )


def report(what: str, description: dict) -> None:
    """Print what was written."""
    print(
        f"{what}: {description['parameters']:,} parameters, "
        f"{description['window_seconds']:g} s windows at {description['rate_hz']:g} Hz"
    )
    for name, about in description["files"].items():
        cosine = f", cosine to float32 {about['cosine_mean']:.5f}" if "cosine_mean" in about else ""
        print(f"  {name}: {about['bytes'] / 1e6:.2f} MB{cosine}")
