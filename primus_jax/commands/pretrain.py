"""Pretrain an encoder, or resume where the run in --workdir stopped.

Every value of the config file can be set on the command line:

  primus-jax pretrain --config configs/primus_small.py --workdir runs/small \\
      --config.steps=2000 --config.optim.lr=1e-3

The same command resumes, and its status says whether there is reason to run it again:
   0  finished
   2  a mistake to repair first; the message says which
  75  SIGTERM or Ctrl-C: a checkpoint was saved
   1  a process of several was lost, or something unexpected

Several processes train together where SLURM, Open MPI, a TPU pod or a JobSet started them, or
with --coordinator, --processes and --process-id; docs/processes.md has the details.
"""

import argparse
import importlib.util
import os
import traceback
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from primus_jax.config import Config
from primus_jax.errors import PrimusError
from primus_jax.training.cluster import find_place
from primus_jax.training.processes import Processes, join, run_together
from primus_jax.training.stop import EXIT_INTERRUPTED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="a Python file with get_config()"
    )
    parser.add_argument("--workdir", required=True, help="folder of the run; made where missing")
    together = parser.add_argument_group("several processes")
    together.add_argument(
        "--coordinator", metavar="HOST:PORT", help="of process 0, and a free port there"
    )
    together.add_argument("--processes", type=int, metavar="N", help="1: alone, on any cluster")
    together.add_argument("--process-id", type=int, metavar="I", help="of this one, from 0")
    together.add_argument(
        "--join-seconds", type=float, default=300.0, help="to wait for the others at the start"
    )
    together.add_argument(
        "--heartbeat-seconds", type=float, default=30.0, help="of silence after which one is lost"
    )
    parser.set_defaults(takes_config_flags=True, config_flags=[])


def run(args: argparse.Namespace) -> int:
    """Join the other processes where there are any, read the config, then train."""
    for name in ("join_seconds", "heartbeat_seconds"):
        if getattr(args, name) < 1:
            raise PrimusError(
                f"--{name.replace('_', '-')} is {getattr(args, name):g}; expected at least 1."
            )
    place = find_place(os.environ, args.coordinator, args.processes, args.process_id)
    if place is None:
        return _train(args, None)
    processes = join(
        place, join_seconds=args.join_seconds, heartbeat_seconds=args.heartbeat_seconds
    )
    return run_together(processes, lambda joined: _train(args, joined), "primus-jax pretrain")


def _train(args: argparse.Namespace, processes: Processes | None) -> int:
    config = read_config(args.config, args.config_flags)
    from primus_jax.training.loop import pretrain

    state = pretrain(
        config, args.workdir, say=lambda line: print(line, flush=True), processes=processes
    )
    return EXIT_INTERRUPTED if int(state.step) < config.steps else 0


def read_config(path: str, overrides: list[str]) -> Config:
    """The config of a file, with `--config.NAME=VALUE` overrides.

    Raises:
        PrimusError: no such file, a file that does not make a Config, an override that names
            nothing or has the wrong type.
    """
    config = run_file(path, "get_config", Config)
    values = flags.FlagValues()
    arguments = ["primus-jax", *overrides]
    if overrides and not overrides[0].startswith("--config."):
        raise PrimusError(f"unknown arguments: {' '.join(overrides)}")
    try:
        config_flags.DEFINE_config_dataclass(
            "config", config, flag_values=values, sys_argv=arguments
        )
        rest = values(arguments)[1:]
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise PrimusError(f"{' '.join(overrides)}: {error}") from error
    if rest:
        raise PrimusError(f"unknown arguments: {' '.join(rest)}")
    return values.config


def run_file(path: str, function: str, kind: type) -> Any:
    """What `function` of a Python file returns.

    Raises:
        PrimusError: no such file, an error in it (with its line), or something else than `kind`.
    """
    if not Path(path).is_file():
        raise PrimusError(f"config file {path} does not exist.")
    spec = importlib.util.spec_from_file_location("primus_jax_config", path)
    if spec is None or spec.loader is None:
        raise PrimusError(f"config file {path} is not a Python file (.py).")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        made = getattr(module, function)()
    except Exception as error:
        where = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == path]
        line = f" line {where[-1]}" if where else ""
        raise PrimusError(f"config file {path}{line}: {type(error).__name__}: {error}") from error
    if not isinstance(made, kind):
        raise PrimusError(
            f"{path}: {function}() returns {type(made).__name__}, expected {kind.__name__}."
        )
    return made
