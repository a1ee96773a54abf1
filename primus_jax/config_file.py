"""A config file and its overrides on the command line."""

import importlib.util
import traceback
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from primus_jax.config import Config
from primus_jax.errors import PrimusError


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
