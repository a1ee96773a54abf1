"""SimSiam: loss and statistics by a slow reference, meshes, and the train step."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.tiny_vision import ONLY_NOISE, TINY, Layer, assert_close, batch_of, sharded, train

from primus_jax.config import Config, DataConfig
from primus_jax.errors import PrimusError
from primus_jax.models.batch_norm import split
from primus_jax.objectives.simsiam import SimSiamConfig
from primus_jax.optim import OptimConfig

PIXELS, BATCH, WIDTH = 12, 16, 5


@pytest.fixture(scope="module")
def case():
    """One layer in the ResNet's place, the state, a batch of views, and the sharded loss."""
    objective = SimSiamConfig(dim=6, hidden=3).build(TINY)
    objective.resnet = Layer(WIDTH)
    objective.forward = lambda params, batch, key: (batch["first"], batch["second"])

    @jax.jit
    def state(key):
        keys = jax.random.split(key, 3)
        parts = {
            "encoder": {"vision": objective.resnet.init(keys[0], jnp.zeros((1, PIXELS)))},
            "projector": objective.projector.init(keys[1], jnp.zeros((1, WIDTH))),
            "predictor": objective.predictor.init(keys[2], jnp.zeros((1, 6))),
        }
        parts["encoder"]["vision"] = parts["encoder"]["vision"]["params"]
        parts |= {name: parts[name]["params"] for name in ("projector", "predictor")}
        return split(parts)

    params, running = state(jax.random.key(1))
    first = np.random.default_rng(0).normal(size=(BATCH, PIXELS)).astype(np.float32)
    second = first + np.random.default_rng(1).normal(size=first.shape).astype(np.float32) / 2
    return objective, params, {"statistics": running}, batch_of(first, second)


class Slow:
    """The definition in float64, with the running statistics of every normalisation it meets."""

    def __init__(self, params, extra):
        self.params, self.running = (
            jax.tree.map(lambda x: np.array(x, np.float64), tree)
            for tree in (params, extra["statistics"])
        )

    def norm(self, x, running, training):
        mean, variance = running["running_mean"], running["running_var"]
        if training:
            running["running_mean"] = 0.9 * mean + 0.1 * x.mean(0)
            running["running_var"] = 0.9 * variance + 0.1 * x.var(0, ddof=1)
            mean, variance = x.mean(0), x.var(0)
        return (x - mean) / np.sqrt(variance + 1e-5)

    def affine(self, x, layer):
        return x * layer["scale"] + layer["bias"]

    def embed(self, x, training):
        vision, kept = self.params["encoder"]["vision"], self.running["encoder"]["vision"]
        x = x @ vision["body"]["kernel"] + vision["body"]["bias"]
        x = np.maximum(self.affine(self.norm(x, kept["bn"], training), vision["bn"]), 0)
        head, kept = self.params["projector"], self.running["projector"]
        for name in ("first", "second"):
            x = x @ head[name]["kernel"] + head[name]["bias"]
            x = self.norm(x, kept[f"{name}_norm"], training)
            x = np.maximum(self.affine(x, head[f"{name}_norm"]), 0)
        x = x @ head["out"]["kernel"] + head["out"]["bias"]
        projection = self.norm(x, kept["out_norm"], training)
        head, kept = self.params["predictor"], self.running["predictor"]
        x = projection @ head["hidden"]["kernel"] + head["hidden"]["bias"]
        x = self.norm(x, kept["hidden_norm"], training)
        x = np.maximum(self.affine(x, head["hidden_norm"]), 0)
        return projection, x @ head["out"]["kernel"] + head["out"]["bias"]

    def loss(self, batch, training):
        """Loss and spread."""
        unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
        sides = [self.embed(np.float64(batch[name]), training) for name in ("first", "second")]
        (z1, p1), (z2, p2) = ([unit(x) for x in side] for side in sides)
        cosines = [p1[i] @ z2[i] + p2[i] @ z1[i] for i in range(BATCH)]
        return -np.mean(cosines) / 2, z1.std(0).mean() * np.sqrt(z1.shape[1])


def test_loss_and_statistics_are_those_of_a_slow_reference(case):
    objective, params, extra, batch = case
    slow = Slow(params, extra)
    loss, spread = slow.loss(batch, training=True)
    arguments = params, extra, {}, batch, jax.random.key(0)
    (value, (kept, metrics)), _ = sharded(objective, 8)(*arguments)
    assert float(value) == pytest.approx(loss, rel=1e-4)
    assert float(metrics["spread"]) == pytest.approx(spread, rel=1e-4)
    jax.tree.map(lambda x, y: assert_close(x, y, 1e-4), kept["statistics"], slow.running)
    arguments = params, kept, {}, batch, jax.random.key(0)
    value, (after, metrics) = jax.jit(objective.validation_loss)(*arguments)
    loss, spread = slow.loss(batch, training=False)
    assert float(value) == pytest.approx(loss, rel=1e-3)
    assert float(metrics["spread"]) == pytest.approx(spread, rel=1e-3)
    jax.tree.map(np.testing.assert_array_equal, after, kept)


@pytest.mark.slow
def test_one_device_and_eight_have_one_gradient(case):
    objective, params, extra, batch = case
    arguments = params, extra, {}, batch, jax.random.key(0)
    found = [sharded(objective, devices)(*arguments) for devices in (1, 8)]
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4), *found)


@pytest.mark.slow
def test_two_steps_through_the_train_step_and_the_encoder_that_is_exported(monkeypatch):
    objective = SimSiamConfig(dim=8, hidden=4, augment="own", own=ONLY_NOISE)
    config = Config(
        data=DataConfig(train=("pictures",), batch_size=8),
        encoder=TINY,
        objective=objective,
        optim=OptimConfig(lr=1e-2),
        steps=2,
    )
    batch = {"image": np.zeros((1, 96, 128, 3), np.uint8)}
    real = objective.build(TINY)
    shapes = jax.eval_shape(real.exported, *jax.eval_shape(real.init, jax.random.key(0), batch))
    init = TINY.build().init
    theirs = jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, 256, 6)))["params"]
    assert jax.tree.map(jnp.shape, shapes) == jax.tree.map(jnp.shape, theirs)
    layer = Layer(TINY.resnet.features)
    monkeypatch.setattr("primus_jax.objectives.image_views.ResNet", lambda config, compute: layer)
    *_, found = train(config, 1)
    assert all(np.isfinite(list(metrics.values())).all() for metrics in found)
    assert all(metrics["grad_norm"] > 0 for metrics in found)
    for name in ("dim", "hidden"):
        wrong = dataclasses.replace(objective, **{name: 0})
        with pytest.raises(PrimusError, match=f"objective.{name} is 0"):
            dataclasses.replace(config, objective=wrong).validate()
