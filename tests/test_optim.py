"""The optimizers by name: Adagrad against PyTorch, and the state of Adam as before."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from primus_jax.config import Config, DataConfig
from primus_jax.errors import PrimusError
from primus_jax.optim import OptimConfig, make_optimizer


def descend(config, start, gradients):
    """The parameters after one update for each gradient."""
    optimizer = make_optimizer(config, len(gradients))
    params = {"weight": jnp.asarray(start)}
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, gradient):
        updates, state = optimizer.update({"weight": gradient}, state, params)
        return optax.apply_updates(params, updates), state

    with jax.numpy_dtype_promotion("standard"):
        for gradient in gradients:
            params, state = step(params, state, jnp.asarray(gradient))
    return np.asarray(params["weight"]), state


@pytest.fixture(scope="module")
def walk():
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(6, 3, 2)).astype(np.float32)
    gradients[:, 0, 0] = 0
    return rng.normal(size=(3, 2)).astype(np.float32), gradients


CASES = {
    "adagrad": OptimConfig(name="adagrad", lr=2e-4, eps=1e-8, decay=0.1),
    "adagrad without decay": OptimConfig(name="adagrad", lr=0.1, eps=1e-3),
    "adam": OptimConfig(lr=2e-4),
    "adamw": OptimConfig(name="adamw", lr=0.01, weight_decay=0.1),
}


@pytest.mark.parametrize("name", CASES)
def test_equals_pytorch(walk, name):
    torch = pytest.importorskip("torch")
    start, gradients = walk
    config = CASES[name]
    weight = torch.nn.Parameter(torch.tensor(start))
    options = {"lr": config.lr, "eps": config.eps}
    if config.name == "adagrad":
        optimizer = torch.optim.Adagrad([weight], lr_decay=config.decay, **options)
    elif config.name == "adamw":
        optimizer = torch.optim.AdamW([weight], weight_decay=config.weight_decay, **options)
    else:
        optimizer = torch.optim.Adam([weight], **options)
    for gradient in gradients:
        weight.grad = torch.tensor(gradient)
        optimizer.step()
    found, _ = descend(config, start, gradients)
    np.testing.assert_allclose(found, weight.detach().numpy(), rtol=1e-6, atol=1e-7)


def test_adagrad_is_its_equation(walk):
    start, gradients = walk
    expected, total = start.astype(np.float64), np.zeros_like(start, np.float64)
    for number, gradient in enumerate(gradients.astype(np.float64)):
        total += gradient**2
        expected -= 2e-4 / (1 + 0.1 * number) * gradient / (np.sqrt(total) + 1e-8)
    found, state = descend(CASES["adagrad"], start, gradients)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found[0, 0] == start[0, 0]
    np.testing.assert_allclose(state[0].squares["weight"], total, rtol=1e-5)


def test_the_state_of_adam_has_the_structure_that_checkpoints_hold():
    params = {"weight": jnp.zeros(2)}
    plain = optax.adam(optax.constant_schedule(2e-4)).init(params)
    made = make_optimizer(OptimConfig(), 1).init(params)
    assert jax.tree.structure(made) == jax.tree.structure(plain)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (OptimConfig(name="rmsprop"), "'adam', 'adamw' or 'adagrad'"),
        (OptimConfig(decay=0.1), "optim.decay is 0.1 with optim.name 'adam'"),
        (OptimConfig(name="adagrad", decay=-1.0), "optim.decay is -1.0"),
        (OptimConfig(name="adagrad", weight_decay=0.1), "adagrad ignores it"),
    ],
)
def test_what_means_nothing_is_refused(config, words):
    with pytest.raises(PrimusError, match=words):
        Config(data=DataConfig(train=("a",)), optim=config).validate()
