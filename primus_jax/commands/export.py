"""Export the encoder of a run as plain weights: model.safetensors with PyTorch names, config.json.

primus-jax export runs/small --to encoders/small
"""

import argparse

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
    parser.add_argument(
        "--head",
        default="emb",
        choices=("emb", "ssl", "mmcl"),
        help="output that Encoder.encode returns by default (%(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing folder")


def run(args: argparse.Namespace) -> int:
    """Read the checkpoint, write the folder."""
    description = export(
        args.run_folder,
        args.to,
        checkpoint=args.checkpoint,
        head=args.head,
        overwrite=args.overwrite,
    )
    made = description["provenance"]
    print(
        f"exported step {made['step']} of {args.run_folder} to {args.to}: "
        f"{description['parameters']:,} parameters, "
        f"{description['window_seconds']:g} s windows at {description['rate_hz']:g} Hz"
    )
    return 0


def export(run_folder, to, *, checkpoint="best", head="emb", overwrite=False) -> dict:
    """Write the encoder of a run to the folder `to`; returns what its config.json says.

    Raises:
        PrimusError: no such run or checkpoint, a damaged one, or an existing folder.
    """
    from primus_jax.export.folder import write_folder
    from primus_jax.training.run import load_state

    state, config, row = load_state(run_folder, checkpoint)
    data = next(iter(row["data"].values()))
    if head != "emb" and not config.encoder.multihead:
        raise PrimusError(f"--head {head}: this encoder has no heads; use emb.")
    return write_folder(
        to,
        config.objective.build(config.encoder).encoder_params(state.params),
        config.encoder,
        rate_hz=data["rate_hz"],
        window_seconds=data["window_samples"] / data["rate_hz"],
        provenance={
            "step": int(state.step),
            "config": row["config"],
            "config_hash": row["config_hash"],
            "data": row["data"],
            **row["provenance"],
        },
        head=head,
        overwrite=overwrite,
    )
