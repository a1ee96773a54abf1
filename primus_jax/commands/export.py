"""Export the encoder of a run as a folder that PyTorch, ONNX or JAX users can load without this
package: model.safetensors with PyTorch names, config.json, README.md and modeling_primus.py.

primus-jax export runs/small --to encoders/small
primus-jax export runs/small --to encoders/small --onnx --int8 --results fewshot/results.jsonl
"""

import argparse
from pathlib import Path

from primus_jax.errors import PrimusError


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
    add_folder_arguments(parser)


def add_folder_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of every command that writes an export folder."""
    parser.add_argument(
        "--head",
        default="emb",
        choices=("emb", "ssl", "mmcl"),
        help="output that the folder recommends (%(default)s)",
    )
    parser.add_argument(
        "--results", metavar="FILE", help="results.jsonl of fewshot or study, for the model card"
    )
    parser.add_argument(
        "--license",
        default="unknown",
        metavar="ID",
        help="of the weights, for the card (%(default)s)",
    )
    parser.add_argument("--onnx", action="store_true", help="also model.onnx")
    parser.add_argument(
        "--int8", action="store_true", help="also model_int8.onnx, and what rounding costs"
    )
    parser.add_argument("--stablehlo", action="store_true", help="also model.stablehlo")
    parser.add_argument(
        "--check-data",
        metavar="DATA",
        help="data set folder on whose windows ONNX is compared with JAX (default: simulated)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing folder")


def run(args: argparse.Namespace) -> int:
    """Read the checkpoint, write the folder."""
    description = export(
        args.run_folder, args.to, checkpoint=args.checkpoint, **folder_options(args)
    )
    step = description["provenance"]["step"]
    report(f"exported step {step} of {args.run_folder} to {args.to}", description)
    return 0


def export(run_folder, to, *, checkpoint="best", **options) -> dict:
    """Write the encoder of a run to the folder `to`; returns what its config.json says.

    Args:
        run_folder: of a pretraining run.
        to: the folder to write.
        checkpoint: "best", "latest" or a step number.
        options: `head`, `licence`, `results`, `onnx`, `int8`, `stablehlo`, `check_data`,
            `overwrite`, as the command's.

    Raises:
        PrimusError: no such run or checkpoint, a damaged one, an existing folder, or a package
            that is not installed.
    """
    from primus_jax.training.metrics import read_metrics
    from primus_jax.training.run import load_state

    state, config, row = load_state(run_folder, checkpoint)
    data, step = next(iter(row["data"].values())), int(state.step)
    metrics = {}
    for values in read_metrics(run_folder) if (Path(run_folder) / "metrics.jsonl").exists() else ():
        if values["step"] == step:
            metrics |= {k: v for k, v in values.items() if k.startswith("validation")}
    return write(
        to,
        config.objective.build(config.encoder).encoder_params(state.params),
        config.encoder,
        rate_hz=data["rate_hz"],
        window_seconds=data["window_samples"] / data["rate_hz"],
        provenance={
            "step": step,
            "config": row["config"],
            "config_hash": row["config_hash"],
            "data": row["data"],
            **row["provenance"],
        },
        metrics=metrics,
        **options,
    )


def write(
    to,
    params,
    config,
    *,
    rate_hz,
    window_seconds,
    provenance,
    metrics=None,
    head="emb",
    licence="unknown",
    results=None,
    onnx=False,
    int8=False,
    stablehlo=False,
    check_data=None,
    overwrite=False,
) -> dict:
    """Write an export folder with the artefacts that were asked for; returns its description."""
    from primus_jax.data.folder import DatasetFolder
    from primus_jax.export import check_windows, folder
    from primus_jax.export.card import read_results
    from primus_jax.export.onnx_file import OnnxFile
    from primus_jax.export.stablehlo import write_stablehlo

    if head not in config.heads:
        raise PrimusError(f"--head {head}: this encoder has no heads; use emb.")
    folder.check_length(config, rate_hz, window_seconds, f"the export to {to}")
    artefacts = {}
    if onnx or int8:
        if check_data is None:
            windows = check_windows.simulated_windows(rate_hz, window_seconds)
        else:
            data = DatasetFolder(check_data)
            windows = check_windows.dataset_windows(data, rate_hz, window_seconds)
        artefacts |= {folder.ONNX: OnnxFile(windows)} if onnx else {}
        artefacts |= {folder.ONNX_INT8: OnnxFile(windows, int8=True)} if int8 else {}
    if stablehlo:
        artefacts[folder.STABLEHLO] = write_stablehlo
    return folder.write_folder(
        to,
        params,
        config,
        rate_hz=rate_hz,
        window_seconds=window_seconds,
        provenance=provenance,
        head=head,
        licence=licence,
        metrics=metrics,
        results=() if results is None else read_results(Path(results)),
        artefacts=artefacts,
        overwrite=overwrite,
    )


def folder_options(args: argparse.Namespace) -> dict:
    """The arguments of `add_folder_arguments` as those of `write`."""
    names = ("head", "results", "onnx", "int8", "stablehlo", "check_data", "overwrite")
    return {"licence": args.license, **{name: getattr(args, name) for name in names}}


def report(what: str, description: dict) -> None:
    """Print what was written."""
    print(
        f"{what}: {description['parameters']:,} parameters, "
        f"{description['window_seconds']:g} s windows at {description['rate_hz']:g} Hz"
    )
    for name, about in description["files"].items():
        cosine = f", cosine to float32 {about['cosine_mean']:.5f}" if "cosine_mean" in about else ""
        print(f"  {name}: {about['bytes'] / 1e6:.2f} MB{cosine}")
