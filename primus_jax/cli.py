"""`primus-jax`: one command line for the whole path, from recordings to a few-shot table."""

import argparse
import importlib
import keyword
import logging
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from primus_jax.compilation_cache import use_cache
from primus_jax.errors import PrimusError
from primus_jax.files import local_path
from primus_jax.parallel.backend import missing_backend

COMMANDS = {
    "demo": "simulate, pretrain, interrupt, resume, export, evaluate and report, in minutes",
    "inspect": "files of any logger -> what was found in them, and the command to run next",
    "prepare": "recordings -> a dataset folder",
    "annotate": "Ego4D's narrations -> soft labels of movements",
    "embed": "a dataset folder -> the same with CLIP text and image embeddings; resumes",
    "info": "a dataset folder -> its contents, printed",
    "pretrain": "dataset folders and a config file -> a run; resumes after a stop",
    "export": "a run -> a folder of weights for PyTorch, ONNX and JAX",
    "import": "PyTorch weights -> a folder like that of export",
    "adapt": "your labelled recordings -> a classifier and its expected accuracy",
    "predict": "a classifier and a new recording -> times, labels and a timeline",
    "explain": "a classifier and a moment of a recording -> the evidence for its class, drawn",
    "summarise": "a recording -> activity over time, bouts, a timeline and a summary in words",
    "explore": "a recording and an encoder -> one HTML page: signal, bouts, matches, map",
    "similar": "a recording and a stretch of it -> the stretches most like it, with a picture",
    "fewshot": "encoders and labelled datasets -> accuracy over shots",
    "robustness": "encoders and labelled datasets -> accuracy on damaged test windows",
    "regress": "encoders and a dataset with numbers -> how well a number is predicted",
    "finetune": "encoders trained on labelled datasets -> accuracy, and a classifier for predict",
    "bench": "encoders on a published benchmark -> probes, fine-tuning, scores by fold of people",
    "study": "methods x pretraining seeds x datasets -> one table, figures and report; resumes",
    "zeroshot": "an encoder and class prompts -> accuracy without labels, beside chance",
    "retrieve": "windows against sentences and videos -> recall, with pool and chance",
}
# Their one word may be an address; all other words that are, stand where a path belongs.
FREE_TEXT = ("--license", "--licence", "--source", "--beam-options", "--coordinator", "--llm")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; a PrimusError is printed without a traceback and gives status 2."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _quiet()
    use_cache(arguments)
    parser = argparse.ArgumentParser(
        prog="primus-jax",
        description="Multimodal self-supervised pretraining of IMU encoders.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        # Only the chosen command is imported: `primus-jax --help` stays instant.
        module = _command(name) if name == chosen else None
        command = commands.add_parser(
            name,
            help=summary,
            description=module.__doc__ if module else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if module is not None:
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    options, rest = parser.parse_known_args(arguments)
    if rest:
        if not getattr(options, "takes_config_flags", False):
            parser.error(f"unknown arguments: {' '.join(rest)}")
        options.config_flags = rest
    try:
        _check_paths(arguments)
        with missing_backend():
            return options.run(options)
    except PrimusError as error:
        print(f"primus-jax {options.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _check_paths(arguments: Sequence[str]) -> None:
    """Raise PrimusError for the address of a bucket where a path belongs."""
    option = ""
    for word in arguments:
        named, _, value = word.partition("=") if word.startswith("--") else ("", "", word)
        option = named or option
        if not option or not any(free.startswith(option) for free in FREE_TEXT):
            local_path(value, option or "the path")
        option = "" if value else option


def _command(name: str) -> ModuleType:
    # `import` is a keyword, so its module ends in an underscore
    return importlib.import_module(f"primus_jax.commands.{name + '_' * keyword.iskeyword(name)}")


def _quiet() -> None:
    """Libraries log what only their authors need; warnings and errors still come through."""
    # grain and orbax log through absl, jax through the standard library
    logging.getLogger("absl").setLevel(logging.WARNING)
    logging.getLogger("jax").setLevel(logging.WARNING)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


if __name__ == "__main__":
    sys.exit(main())
