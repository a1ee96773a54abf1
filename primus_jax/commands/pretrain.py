"""Pretrain an encoder, or resume where the run in --workdir stopped.

Every value of the config file can be set on the command line:

  primus-jax pretrain --config configs/primus_small.py --workdir runs/small \\
      --config.steps=2000 --config.optim.lr=1e-3

The same command resumes, and its status says whether there is reason to run it again:
   0  finished
   2  a mistake to repair first; the message says which
  75  SIGTERM or Ctrl-C: a checkpoint was saved
   1  a process of several was lost, or something unexpected

Several processes train together where SLURM, MPI, torchrun, a TPU pod or a JobSet started them, or
with --coordinator, --processes and --process-id; docs/processes.md has the details.
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
        "--coordinator", metavar="HOST:PORT", help="of process 0, and a free port there"
    )
    together.add_argument("--processes", type=int, metavar="N", help="1: alone, on any cluster")
    together.add_argument("--process-id", type=int, metavar="I", help="of this one, from 0")
    together.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"a secret of the job, which lets only its own processes join (or {TOKEN}; else "
        "derived from the scheduler's id of the job)",
    )
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
