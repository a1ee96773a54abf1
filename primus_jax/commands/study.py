"""Pretrain every method with the same seeds, evaluate all methods, and write table and figures.

primus-jax study configs/study_small.py --out studies/small

After any stop the same command resumes; finished runs and evaluations are kept. The
folder gets results.jsonl, table.md, the figures as PNG and SVG, and report.html.
"""

import argparse
import dataclasses
from pathlib import Path

from primus_jax.errors import PrimusError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("study", metavar="FILE", help="a Python file with get_study()")
    parser.add_argument("--out", type=Path, required=True, help="folder of the study")
    parser.add_argument(
        "--train", nargs="+", metavar="DIR", help="pretrain every method on these datasets"
    )
    parser.add_argument("--development", nargs="+", metavar="DIR", help="in place of the file's")
    parser.add_argument("--test", nargs="+", metavar="DIR", help="in place of the file's")
    parser.add_argument("--retrieval", nargs="+", metavar="DIR", help="in place of the file's")
    parser.add_argument(
        "--external",
        nargs="+",
        default=[],
        metavar="NAME=PATH",
        help="further encoders (.pt, .safetensors or export folder), at any rate; those of one "
        "name, such as pretraining seeds, are averaged",
    )


def run(args: argparse.Namespace) -> int:
    """Read the study, then run its missing parts."""
    from primus_jax.config_file import run_file
    from primus_jax.study.run import run_study
    from primus_jax.study.study import Study

    study = run_file(args.study, "get_study", Study)
    if args.train:
        study = study.with_train(tuple(args.train))
    given = {
        role: tuple(getattr(args, role)) for role in ("development", "test") if getattr(args, role)
    }
    study = dataclasses.replace(study, external=dict(study.external), **given)
    if args.retrieval:
        options = dataclasses.replace(study.retrieval, data=tuple(args.retrieval))
        study = dataclasses.replace(study, retrieval=options)
    for word in args.external:
        name, _, path = word.partition("=")
        paths = study.external_paths.get(name, ())
        if not name or not path or path in paths:
            raise PrimusError(f"--external {word!r}; expected NAME=PATH, each path once.")
        study.external[name] = (*paths, path)
    finished = run_study(study, args.out, log=lambda line: print(line, flush=True))
    if not finished:
        print("stopped; the same command goes on")
    return 0
