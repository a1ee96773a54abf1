"""Pretrain an encoder, or resume where the run in --workdir stopped.

Every value of the config file can be set on the command line:

  primus-jax pretrain --config configs/primus_small.py --workdir runs/small \\
      --config.steps=2000 --config.optim.lr=1e-3

The same command resumes. Its exit status:
     0  finished
     2  a mistake to repair first; the message names it
    75  SIGTERM or Ctrl-C: a checkpoint was saved; run the command again
     1  a process of several was lost, or another error; run the command again

Several processes train together if SLURM, MPI, torchrun, a TPU pod or a JobSet started them, or
with --coordinator, --processes and --process-id. See docs/processes.md.
"""

import argparse
import dataclasses
import os
from pathlib import Path

from primus_jax.config_file import read_config
from primus_jax.errors import PrimusError
from primus_jax.parallel.cluster import TOKEN, find_process
from primus_jax.parallel.processes import Processes, join, run_together
from primus_jax.training.stop import EXIT_INTERRUPTED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--config", required=True, metavar="FILE", help="a Python file with get_config()"
    )
    parser.add_argument("--workdir", required=True, help="folder of the run; made where missing")
    together = parser.add_argument_group("several processes")
    together.add_argument(
        "--coordinator",
        metavar="HOST:PORT",
        help="address of process 0, with a free port of its host",
    )
    together.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"a secret of the job, without which no process can join (or {TOKEN}; else derived "
        "from the scheduler's id of the job)",
    )
    together.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help="number of processes (1: this one alone, on any cluster)",
    )
    together.add_argument(
        "--process-id", type=int, metavar="I", help="number of this process, from 0"
    )
    together.add_argument(
        "--join-seconds",
        type=float,
        default=300.0,
        help="seconds to wait for the others at the start (default 300)",
    )
    together.add_argument(
        "--heartbeat-seconds",
        type=float,
        default=30.0,
        help="seconds of silence until a process counts as lost (default 30)",
    )
    parser.set_defaults(takes_config_flags=True, config_flags=[])


def run(args: argparse.Namespace) -> int:
    """Join the other processes where there are any, read the config, then train."""
    for name in ("join_seconds", "heartbeat_seconds"):
        if getattr(args, name) < 1:
            raise PrimusError(
                f"--{name.replace('_', '-')} is {getattr(args, name):g}; expected at least 1."
            )
    info = find_process(os.environ, args.coordinator, args.processes, args.process_id)
    if info is None:
        return _train(args, None)
    if args.token_file is not None:
        info = dataclasses.replace(info, token=_read_token(args.token_file))
    processes = join(info, join_seconds=args.join_seconds, heartbeat_seconds=args.heartbeat_seconds)
    return run_together(processes, lambda joined: _train(args, joined), "primus-jax pretrain")


def _read_token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PrimusError(f"--token-file {path} cannot be read: {error}.") from error
    if not token:
        raise PrimusError(f"--token-file {path} is empty; expected a line of random letters.")
    return token


def _train(args: argparse.Namespace, processes: Processes | None) -> int:
    config = read_config(args.config, args.config_flags)
    from primus_jax.training.loop import pretrain

    state = pretrain(
        config, args.workdir, log=lambda line: print(line, flush=True), processes=processes
    )
    return EXIT_INTERRUPTED if int(state.step) < config.steps else 0
