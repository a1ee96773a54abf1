"""A gated recurrent unit that keeps PyTorch's two bias vectors, so weights round-trip exactly."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from primus_jax.models.layers import symmetric_uniform
from primus_jax.numerics import vary_like


def gru_step(
    state: jax.Array,
    features: jax.Array,
    w_ih: jax.Array,
    w_hh: jax.Array,
    b_ih: jax.Array,
    b_hh: jax.Array,
) -> jax.Array:
    """One GRU step: state `[batch, hidden]`, features `[batch, features]` -> `[batch, hidden]`.

    Products are in the dtype of the features, everything else, the state included, in that of the
    weights (float32).

    Weights `[features, 3 * hidden]` and `[hidden, 3 * hidden]`, biases `[3 * hidden]`; gates are
    stacked reset, update, new, as in PyTorch:
    `r = s(W_ir x + b_ir + W_hr h + b_hr)`, `z` likewise,
    `n = tanh(W_in x + b_in + r * (W_hn h + b_hn))`, `h' = (1 - z) n + z h`.
    """
    # Cast here, not before the scan, so that weights' gradients add up in their own dtype.
    narrow = features.dtype
    from_input = (features @ w_ih.astype(narrow)).astype(b_ih.dtype) + b_ih
    from_state = (state.astype(narrow) @ w_hh.astype(narrow)).astype(b_hh.dtype) + b_hh
    input_r, input_z, input_n = jnp.split(from_input, 3, axis=-1)
    state_r, state_z, state_n = jnp.split(from_state, 3, axis=-1)
    reset = jax.nn.sigmoid(input_r + state_r)
    update = jax.nn.sigmoid(input_z + state_z)
    new = jnp.tanh(input_n + reset * state_n)
    return (1 - update) * new + update * state


class Gru(nn.Module):
    """Final state `[batch, hidden]` of a one-layer GRU over `[steps, batch, features]`; with
    `every` the states after all steps, `[steps, batch, hidden]`.

    Products are in the dtype of the sequence; state and gates are in that of the weights.

    Parameters `w_ih`, `w_hh`, `b_ih`, `b_hh` start uniform in +-1/sqrt(hidden), as in PyTorch. The
    input projection stays inside the scan: on a CPU one large product before it is slower.
    """

    hidden: int
    remat: bool = False
    every: bool = False

    @nn.compact
    def __call__(self, sequence: jax.Array) -> jax.Array:
        init = symmetric_uniform(self.hidden**-0.5)
        width = 3 * self.hidden
        weights = (
            self.param("w_ih", init, (sequence.shape[-1], width)),
            self.param("w_hh", init, (self.hidden, width)),
            self.param("b_ih", init, (width,)),
            self.param("b_hh", init, (width,)),
        )
        state = jnp.zeros((sequence.shape[1], self.hidden), weights[1].dtype)
        state = vary_like(state, sequence, *weights)
        step = jax.checkpoint(gru_step, prevent_cse=False) if self.remat else gru_step

        def after(state: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array | None]:
            state = step(state, x, *weights)
            return state, state if self.every else None

        state, states = lax.scan(after, state, sequence)
        return state if states is None else states
