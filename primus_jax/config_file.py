"""A config file and its overrides on the command line."""

import dataclasses
import importlib.util
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from primus_jax.config import KINDS, Config
from primus_jax.errors import PrimusError


def read_config(path: str, overrides: list[str]) -> Config:
    """The config of a file, with `--config.NAME=VALUE` overrides.

    Raises:
        PrimusError: no such file, a file that does not make a Config, an override that names
            nothing or has the wrong type.
    """
    config = run_file(path, "get_config", Config)
    if overrides and not overrides[0].startswith("--config."):
        raise PrimusError(f"unknown arguments: {' '.join(overrides)}")
    config, others = choose_kinds(config, overrides)
    for word in others:
        check_name(config, word)
    values = flags.FlagValues()
    arguments = ["primus-jax", *others]
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


def check_name(config: Config, word: str) -> None:
    """Raise PrimusError where an override `--config.NAME=VALUE` names no field, with those there.

    Other words pass: they are refused where flags are read.
    """
    option = word.partition("=")[0]
    if not option.startswith("--config."):
        return
    owner: Any = config
    for name in option.removeprefix("--config.").split("."):
        if not dataclasses.is_dataclass(owner):
            return
        known = [field.name for field in dataclasses.fields(owner)]
        if name not in known:
            raise PrimusError(
                f"{word}: {type(owner).__name__} has no {name!r}; expected one of "
                f"{', '.join(known)}."
            )
        owner = getattr(owner, name)


def choose_kinds(config: Config, overrides: Sequence[str]) -> tuple[Config, list[str]]:
    """Return the config with the classes that `--config.NAME.kind=KIND` names, and other words.

    A class that is chosen anew has its defaults; a class that the file chose already stays as it
    is.

    Raises:
        PrimusError: an unknown kind.
    """
    others = []
    for word in overrides:
        option, _, kind = word.partition("=")
        name = option.removeprefix("--config.").removesuffix(".kind")
        if option != f"--config.{name}.kind" or name not in KINDS:
            others.append(word)
            continue
        if kind not in KINDS[name]:
            raise PrimusError(f"{word}: expected one of {tuple(KINDS[name])}.")
        if kind != getattr(config, name).kind:
            config = dataclasses.replace(config, **{name: KINDS[name][kind]()})
    return config, others


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
