"""Pretrain an encoder, or resume where the run in --workdir stopped.

Every value of the config file can be set on the command line:

  primus-jax pretrain --config configs/primus_small.py --workdir runs/small \\
      --config.steps=2000 --config.optim.lr=1e-3

SIGTERM or Ctrl-C saves a checkpoint and exits with 0; the same command resumes.
"""

import argparse
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from primus_jax.config import Config
from primus_jax.errors import PrimusError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="a Python file with get_config()"
    )
    parser.add_argument("--workdir", required=True, help="folder of the run; made where missing")
    parser.set_defaults(takes_config_flags=True, config_flags=[])


def run(args: argparse.Namespace) -> int:
    """Read the config, then train."""
    config = read_config(args.config, args.config_flags)
    from primus_jax.training.loop import pretrain

    pretrain(config, args.workdir, say=lambda line: print(line, flush=True))
    return 0


def read_config(path: str, overrides: list[str]) -> Config:
    """The config of a file, with `--config.NAME=VALUE` overrides.

    Raises:
        PrimusError: no such file, a file that does not make a Config, an override that names
            nothing or has the wrong type.
    """
    if not Path(path.split(":")[0]).is_file():
        raise PrimusError(f"config file {path} does not exist.")
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values)
    wrong = [word for word in overrides if not word.startswith("--config.")]
    # `--config.name value` is legal too: its value follows as a word of its own
    if overrides and not overrides[0].startswith("--config."):
        raise PrimusError(f"unknown arguments: {' '.join(wrong)}")
    try:
        rest = values(["primus-jax", f"--config={path}", *overrides])[1:]
        config = values.config
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        given = f" with {' '.join(overrides)}" if overrides else ""
        text = f"{type(error).__name__}: {error}"
        raise PrimusError(f"config {path}{given}: {text}") from error
    if rest:
        raise PrimusError(f"unknown arguments: {' '.join(rest)}")
    if not isinstance(config, Config):
        raise PrimusError(f"{path}: get_config() returns {type(config).__name__}, expected Config.")
    return config
