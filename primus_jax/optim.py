"""Optimizer and learning-rate schedule."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from primus_jax.errors import PrimusError
from primus_jax.trees import Params, Tree


@dataclasses.dataclass
class OptimConfig:
    """Adam at 2e-4 without schedule is what PRIMUS released; the rest is for new runs."""

    name: str = "adam"  # or "adamw", "adagrad"
    lr: float = 2e-4
    schedule: str = "constant"  # or "cosine": to zero at the last step
    warmup_steps: int = 0
    weight_decay: float = 0.0  # of adamw; matrices only, never biases, norms or temperatures
    clip_norm: float = 0.0  # largest global norm of the gradient; 0: no clipping
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    decay: float = 0.0  # of adagrad; the rate is divided by 1 + decay * updates made before

    def validate(self, steps: int) -> None:
        """Raise PrimusError for values that mean nothing."""
        if self.name not in ("adam", "adamw", "adagrad"):
            raise PrimusError(
                f"optim.name is {self.name!r}; expected 'adam', 'adamw' or 'adagrad'."
            )
        if self.schedule not in ("constant", "cosine"):
            raise PrimusError(
                f"optim.schedule is {self.schedule!r}; expected 'constant' or 'cosine'."
            )
        if not 0 < self.lr < float("inf") or self.clip_norm < 0 or self.weight_decay < 0:
            raise PrimusError(
                f"optim: lr {self.lr}, clip_norm {self.clip_norm}, weight_decay "
                f"{self.weight_decay}; expected lr above 0, the others 0 or more."
            )
        if self.weight_decay and self.name != "adamw":
            raise PrimusError(
                f"optim.weight_decay needs optim.name 'adamw'; {self.name} ignores it."
            )
        if not 0 <= self.decay < float("inf") or (self.decay and self.name != "adagrad"):
            raise PrimusError(
                f"optim.decay is {self.decay} with optim.name {self.name!r}; expected 0, or more "
                f"with 'adagrad'."
            )
        if not 0 <= self.warmup_steps < max(steps, 1):
            raise PrimusError(
                f"optim.warmup_steps is {self.warmup_steps}; expected 0 to below steps ({steps})."
            )


def make_schedule(config: OptimConfig, steps: int) -> optax.Schedule:
    """Linear warm-up from 0, then constant, or cosine to 0 at `steps`; it never rises again."""
    if config.schedule == "cosine":
        after = optax.cosine_decay_schedule(config.lr, steps - config.warmup_steps)
    else:
        after = optax.constant_schedule(config.lr)
    if not config.warmup_steps:
        return after
    rise = optax.linear_schedule(0.0, config.lr, config.warmup_steps)
    return optax.join_schedules([rise, after], [config.warmup_steps])


def make_optimizer(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """The gradient transformation that `config` describes, for a run of `steps` updates."""
    adam = {"b1": config.b1, "b2": config.b2, "eps": config.eps}
    schedule = make_schedule(config, steps)
    if config.name == "adagrad":
        update = optax.chain(
            scale_by_adagrad(config.eps),
            optax.scale_by_learning_rate(lambda step: schedule(step) / (1 + config.decay * step)),
        )
    elif config.name == "adamw":
        update = optax.adamw(schedule, **adam, weight_decay=config.weight_decay, mask=_matrices)
    else:
        update = optax.adam(schedule, **adam)
    if config.clip_norm:
        return optax.chain(optax.clip_by_global_norm(config.clip_norm), update)
    return update


class AdagradState(NamedTuple):
    """The sum of squared gradients so far, like the parameters."""

    squares: Tree


def scale_by_adagrad(eps: float) -> optax.GradientTransformation:
    """Divide each gradient by the root of the sum of all its squares so far, plus `eps`.

    Duchi et al., "Adaptive subgradient methods" (2011), as PyTorch computes it: the sum starts at
    0 and `eps` is outside of the root. optax starts at 0.1 and has it inside.
    """

    def init(params: Params) -> AdagradState:
        return AdagradState(jax.tree.map(jnp.zeros_like, params))

    def update(
        updates: Tree, state: AdagradState, params: Params | None = None
    ) -> tuple[Tree, AdagradState]:
        squares = jax.tree.map(lambda total, g: total + g * g, state.squares, updates)
        scaled = jax.tree.map(lambda g, total: g / (jnp.sqrt(total) + eps), updates, squares)
        return scaled, AdagradState(squares)

    return optax.GradientTransformation(init, update)


def _matrices(params: Params) -> Tree:
    """True for the leaves that weight decay applies to."""
    return jax.tree.map(lambda x: x.ndim >= 2, params)
