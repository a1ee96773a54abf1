"""`primus-jax prepare ego4d` and `egoexo4d`: large corpora, unit by unit, on an engine."""

import argparse
import importlib
import shlex
from typing import TYPE_CHECKING, Any

from primus_jax.commands.prepare_options import recipe, splits
from primus_jax.errors import PrimusError

if TYPE_CHECKING:
    from data_prep.dataset.units import Engine
    from primus_jax.data.folder import DatasetFolder

CORPORA = ("ego4d", "egoexo4d")


def add_corpora(kinds: Any) -> list[argparse.ArgumentParser]:
    """Add a subcommand for every corpus to the subparsers `kinds`, and return them."""
    return [_add_corpus(kinds, name) for name in CORPORA]


def _add_corpus(kinds: Any, name: str) -> argparse.ArgumentParser:
    package = importlib.import_module(f"data_prep.{name}")
    parser = kinds.add_parser(
        name,
        help=package.TITLE,
        description=f"{package.TITLE}. {package.DOWNLOAD}",
        epilog="The exit status is 3 if some files could not be prepared. These files are listed, "
        "and the same command with --overwrite prepares only them.",
    )
    package.add_arguments(parser)
    group = parser.add_argument_group("video")
    group.add_argument(
        "--frames", type=int, default=0, metavar="N", help="frames per window (default: none)"
    )
    group.add_argument(
        "--frame-size",
        type=int,
        default=224,
        metavar="PIXELS",
        help="height and width of a frame (default 224)",
    )
    group = parser.add_argument_group("engine", "After a stop, the same command resumes.")
    group.add_argument(
        "--workers", type=int, default=0, metavar="N", help="processes (default: one per core)"
    )
    group.add_argument(
        "--beam-runner",
        metavar="RUNNER",
        help="instead of processes of this machine: DirectRunner, DataflowRunner, FlinkRunner or "
        "SparkRunner of Apache Beam",
    )
    group.add_argument(
        "--beam-options",
        default="",
        metavar="WORDS",
        help="the runner's own options, quoted: --beam-options='--project=P --region=R'",
    )
    parser.set_defaults(prepare=_prepare, corpus=package.corpus)
    return parser


def _prepare(args: argparse.Namespace) -> "DatasetFolder":
    from data_prep.dataset.corpus import write_corpus
    from data_prep.dataset.recipe import OFFICIAL

    engine = _engine(args)
    return write_corpus(
        args.corpus(args),
        args.out,
        recipe(args, OFFICIAL if args.splits == ["official"] else splits(args)),
        engine,
        overwrite=args.overwrite,
        log=lambda line: print(line, flush=True),
    )


def _engine(args: argparse.Namespace) -> "Engine":
    if args.beam_runner:
        from data_prep.dataset.beam import BeamEngine

        if args.workers:
            raise PrimusError("--workers is for this machine; a Beam runner has options for that.")
        try:
            words = shlex.split(args.beam_options)
        except ValueError as error:
            raise PrimusError(f"--beam-options {args.beam_options!r}: {error}") from error
        return BeamEngine(args.beam_runner, tuple(words))
    from data_prep.dataset.pool import LocalPool

    if args.beam_options:
        raise PrimusError("--beam-options needs --beam-runner.")
    if args.workers < 0:
        raise PrimusError(f"--workers {args.workers}; expected a number from 0 (all cores).")
    return LocalPool(args.workers)
