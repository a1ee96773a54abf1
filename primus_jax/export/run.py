"""A pretraining run becomes the folder of an encoder."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from primus_jax.config import Config
from primus_jax.errors import PrimusError
from primus_jax.export.onnx.checked_file import CheckWindows, OnnxFile
from primus_jax.export.stablehlo import write_stablehlo
from primus_jax.hub import folder
from primus_jax.hub.card import read_results
from primus_jax.models.base import EncoderConfig
from primus_jax.training.metrics import read_metrics
from primus_jax.training.run import load_state
from primus_jax.trees import Params


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """What an export folder holds beside weights, description, card and PyTorch module.

    Attributes:
        head: output that the folder recommends.
        licence: of the weights, an SPDX identifier or words.
        results: `results.jsonl` of fewshot or study, for the card.
        onnx, int8, stablehlo: which other formats are written.
        check_windows: (rate in Hz, seconds) -> windows on which ONNX is compared with JAX; needed
            for `onnx` and `int8`.
        overwrite: replace an existing folder.
        rate_hz, window_seconds: of the windows that an encoder will be shown; for runs on pictures,
            and for no others.
    """

    head: str = "emb"
    licence: str = "unknown"
    results: str | os.PathLike[str] | None = None
    onnx: bool = False
    int8: bool = False
    stablehlo: bool = False
    check_windows: Callable[[float, float], CheckWindows] | None = None
    overwrite: bool = False
    rate_hz: float | None = None
    window_seconds: float | None = None


def export(
    run_folder: str | os.PathLike[str],
    to: str | os.PathLike[str],
    options: ExportOptions | None = None,
    *,
    checkpoint: str = "best",
) -> dict[str, Any]:
    """Write the encoder of a run to the folder `to`; returns what its config.json holds.

    Args:
        run_folder: of a pretraining run.
        to: the folder to write.
        options: None: the defaults.
        checkpoint: "best", "latest" or a step number.

    Raises:
        PrimusError: no such run or checkpoint, a damaged one, an existing folder, a package that
            is not installed, or a rate that is missing or stated twice.
    """
    run_folder, options = Path(run_folder), options or ExportOptions()
    state, config, row = load_state(run_folder, checkpoint)
    rate_hz, window_seconds = _windows(run_folder, config, row, options)
    step = int(state.step)
    metrics: dict[str, float] = {}
    for values in read_metrics(run_folder) if (run_folder / "metrics.jsonl").exists() else ():
        if values["step"] == step:
            metrics |= {k: v for k, v in values.items() if k.startswith("validation")}
    return write_export(
        to,
        config.objective.build(config.encoder).exported(state.params, state.extra),
        config.encoder,
        options,
        rate_hz=rate_hz,
        window_seconds=window_seconds,
        provenance={
            "step": step,
            "config": row["config"],
            "config_hash": row["config_hash"],
            "data": row["data"],
            "towers": row.get("towers", {}),
            **row["provenance"],
        },
        metrics=metrics,
    )


def _windows(
    run_folder: Path, config: Config, row: Mapping[str, Any], options: ExportOptions
) -> tuple[float, float]:
    """Rate (Hz) and seconds of the windows that the encoder takes."""
    stated = options.rate_hz, options.window_seconds
    if config.objective.reads_windows:
        if stated != (None, None):
            raise PrimusError(
                f"{run_folder} was trained on windows, so their rate and length are known. Leave "
                f"out --rate and --window."
            )
        data = next(iter(row["data"].values()))
        return data["rate_hz"], data["window_samples"] / data["rate_hz"]
    rate, seconds = stated
    if rate is None or seconds is None:
        raise PrimusError(
            f"{run_folder} was trained on pictures, which have no rate. State the windows that the "
            f"encoder will be shown, as --rate 50 --window 5."
        )
    return rate, seconds


def write_export(
    to: str | os.PathLike[str],
    params: Params,
    config: EncoderConfig,
    options: ExportOptions,
    *,
    rate_hz: float,
    window_seconds: float,
    provenance: dict[str, Any],
    metrics: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Write the folder of an encoder with the formats of `options`; returns its description.

    Args:
        to: the folder to write.
        params: the encoder's parameters, the tree inside "params".
        config: the architecture of `params`.
        options: what else is written.
        rate_hz, window_seconds: of the windows that it was trained on.
        provenance: how it was trained, as JSON.
        metrics: of its training, by name.

    Raises:
        PrimusError: as `hub.folder.write_folder`; a head that the encoder does not have; a package
            that is not installed.
    """
    if options.head not in config.heads:
        raise PrimusError(f"--head {options.head}: this encoder has no heads; use emb.")
    folder.check_length(config, rate_hz, window_seconds, f"the export to {to}")
    artefacts: dict[str, folder.Artefact] = {}
    if options.onnx or options.int8:
        if options.check_windows is None:
            raise PrimusError("ExportOptions.check_windows is None; ONNX files need it.")
        windows = options.check_windows(rate_hz, window_seconds)
        if options.onnx:
            artefacts[folder.ONNX] = OnnxFile(windows)
        if options.int8:
            artefacts[folder.ONNX_INT8] = OnnxFile(windows, int8=True)
    if options.stablehlo:
        artefacts[folder.STABLEHLO] = write_stablehlo
    return folder.write_folder(
        to,
        params,
        config,
        rate_hz=rate_hz,
        window_seconds=window_seconds,
        provenance=provenance,
        head=options.head,
        licence=options.licence,
        metrics=metrics,
        results=() if options.results is None else read_results(Path(options.results)),
        artefacts=artefacts,
        overwrite=options.overwrite,
    )
