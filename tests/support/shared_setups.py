"""Runs of one experiment in one module trace and compile their steps once."""

import dataclasses
import json
from typing import Any

from primus_jax.config import to_dict
from primus_jax.training.setup import Setup, set_up

# What the functions of a set-up do not depend on: where rows come from, and where they go.
OUTSIDE = ("checkpoint", "data", "devices", "log_every")


class SharedSetups:
    """Takes the place of `set_up`: an experiment that was set up before keeps its functions."""

    def __init__(self):
        self._known: dict[str, Setup] = {}

    def __call__(self, config, mesh, window_samples, embed) -> Setup:
        """With towers in the step all is made anew: what `embed` does depends on their files."""
        made = set_up(config, mesh, window_samples, embed)
        if config.data.towers:
            return made
        inside: dict[str, Any] = {k: v for k, v in to_dict(config).items() if k not in OUTSIDE}
        if config.optim.schedule == "constant":
            del inside["steps"]
        key = json.dumps([inside, config.data.embedding_dim, str(mesh), window_samples])
        made = self._known.setdefault(key, made)
        again = dataclasses.replace(made, config=config)
        for name in ("abstract", "train_step", "eval_step"):
            vars(again)[name] = getattr(made, name)
        return again
