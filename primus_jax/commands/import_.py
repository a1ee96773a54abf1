"""Read PyTorch weights and write them as a folder like that of `primus-jax export`.

primus-jax import best_model.ckpt --to encoders/primus
primus-jax import weights.pt --to encoders/mine --encoder readout=gru_time --rate 100

Reads the released PRIMUS checkpoint, IMU2CLIP .pt files, plain state dicts and safetensors, with
or without prefixes. PyTorch is not needed, and no code in the file is run.
"""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from primus_jax.commands.export import add_folder_arguments, folder_options, report
from primus_jax.errors import PrimusError

if TYPE_CHECKING:
    from primus_jax.models.base import EncoderConfig

KINDS = {int: "a whole number", bool: "true or false"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", metavar="FILE", help=".ckpt, .pt, .pth, .bin or .safetensors")
    parser.add_argument("--to", required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--prefix", help="prefix of the encoder's tensor names (default: detected)")
    parser.add_argument(
        "--encoder",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="a field of the architecture that names and shapes leave open; may be repeated",
    )
    parser.add_argument(
        "--rate",
        type=float,
        metavar="HZ",
        help="rate of the training windows (default: as released)",
    )
    parser.add_argument(
        "--window",
        type=float,
        metavar="SECONDS",
        help="length of the training windows (default: as released)",
    )
    add_folder_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Recognise the encoder, write the folder."""
    from primus_jax.export.run import write_export
    from primus_jax.hub.loading import read_encoder
    from primus_jax.weights.safetensors import file_digest

    path = Path(args.file)
    stated = {"rate_hz": args.rate, "window_seconds": args.window}
    params, config, description = read_encoder(path, prefix=args.prefix, **stated)
    changed = change(config, args.encoder)
    if changed != config:
        params, config, description = read_encoder(path, changed, args.prefix, **stated)
    provenance = dict(description.get("provenance", {}))
    if path.is_file():
        provenance |= {"source": path.name, "source_sha256": file_digest(path)}
    written = write_export(
        args.to,
        params,
        config,
        folder_options(args),
        rate_hz=description["rate_hz"],
        window_seconds=description["window_seconds"],
        provenance=provenance,
    )
    report(f"imported {args.file} to {args.to}", written)
    found = ", ".join(f"{name} {value}" for name, value in dataclasses.asdict(config).items())
    print(f"  architecture: {found}")
    if description.get("assumed") is True:
        print(f"  assumed: {provenance['assumed']} (--rate, --window)")
    return 0


def change(config: "EncoderConfig", settings: Sequence[str]) -> "EncoderConfig":
    """A copy of the architecture with fields set by "name=value" words.

    Raises:
        PrimusError: no such field, or a value of another kind.
    """
    kinds = {field.name: type(field.default) for field in dataclasses.fields(config)}
    values: dict[str, Any] = {}
    for word in settings:
        name, _, text = word.partition("=")
        if name not in kinds:
            raise PrimusError(f"--encoder {word}: expected FIELD=VALUE, FIELD of {sorted(kinds)}.")
        value = text
        if kinds[name] is not str:
            try:
                value = json.loads(text.lower())
            except ValueError as error:
                expected = KINDS[kinds[name]]
                raise PrimusError(f"--encoder {word}: expected {expected}.") from error
        values[name] = value
    return dataclasses.replace(config, **values)
