"""Contrastive predictive coding: its loss by slow loops, sharding, learning, the loop, errors."""

import dataclasses
import math
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.fast_compile import USUAL
from support.tiny_config import POOLED, run_config

from primus_jax.config import CheckpointConfig, from_dict, to_dict
from primus_jax.encoder import load_encoder
from primus_jax.errors import PrimusError
from primus_jax.export.run import export
from primus_jax.models.base import HeadOptions
from primus_jax.models.motif import MotifConfig
from primus_jax.models.motion import MotionConfig
from primus_jax.objectives.cpc import CPC, CPCConfig
from primus_jax.parallel.sharding import make_mesh
from primus_jax.training.loop import pretrain
from primus_jax.training.metrics import read_metrics
from primus_jax.training.step import sharded_loss

CONFIG = CPCConfig(pieces=3, future=2, hidden=5)
BATCH, TIME = 16, 32


@dataclasses.dataclass(unsafe_hash=True)
class LevelsConfig(HeadOptions):
    """An encoder that compiles at once: a linear layer on means and deviations."""

    kind: ClassVar[str] = "levels"
    embed_dim: ClassVar[int] = 4
    multihead: bool = False

    def sample_range(self):
        return 1, None

    def build(self, compute=None):
        return Levels(self)


class Levels(nn.Module):
    config: LevelsConfig

    @nn.compact
    def __call__(self, imu):
        both = jnp.concatenate([imu.mean(1), imu.std(1)], 1)
        return {"emb": nn.Dense(self.config.embed_dim, name="dense")(both)}


ENCODER = LevelsConfig()


def make_batch():
    """Every window has a level and a frequency of its own, in all its pieces."""
    rng = np.random.default_rng(0)
    time = np.arange(TIME) / 50
    tone = np.sin(2 * np.pi * rng.uniform(1, 8, BATCH)[:, None] * time)[..., None]
    imu = tone * rng.normal(size=(BATCH, 1, 6)) + 3 * rng.normal(size=(BATCH, 1, 6))
    return {
        "imu": jnp.asarray(imu, jnp.float32),
        "index": jnp.arange(BATCH, dtype=jnp.int32),
    }


def gradient_of(loss):
    return jax.jit(
        jax.value_and_grad(lambda p, batch, key: loss(p, {}, {}, batch, key), has_aux=True),
        compiler_options=USUAL,
    )


@pytest.fixture(scope="module")
def made():
    objective = CPC(CONFIG, ENCODER)
    params, extra = jax.jit(objective.init)(jax.random.key(1), make_batch())
    assert extra == {}
    return objective, params, gradient_of(objective.loss)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def slow_loss(params, batch):
    """Loops over windows, places and pieces, in float64."""
    samples = TIME // CONFIG.pieces
    pieces = np.zeros((BATCH, CONFIG.pieces, ENCODER.embed_dim))
    dense = {k: np.asarray(v, np.float64) for k, v in params["encoder"]["dense"].items()}
    windows = np.asarray(batch["imu"], np.float64)
    for place in range(CONFIG.pieces):
        piece = windows[:, place * samples : (place + 1) * samples]
        both = np.concatenate([piece.mean(1), piece.std(1)], 1)
        pieces[:, place] = both @ dense["kernel"] + dense["bias"]
    w = {k: np.asarray(v, np.float64) for k, v in params["predictor"]["gru"].items()}
    ahead = np.asarray(params["predictor"]["ahead"], np.float64)
    context = np.zeros((BATCH, CONFIG.pieces, CONFIG.hidden))
    for i in range(BATCH):
        state = np.zeros(CONFIG.hidden)
        for place in range(CONFIG.pieces):
            x = pieces[i, place] @ w["w_ih"] + w["b_ih"]
            h = state @ w["w_hh"] + w["b_hh"]
            xr, xz, xn = np.split(x, 3)
            hr, hz, hn = np.split(h, 3)
            update = sigmoid(xz + hz)
            state = (1 - update) * np.tanh(xn + sigmoid(xr + hr) * hn) + update * state
            context[i, place] = state
    losses, right = [], []
    for k in range(1, CONFIG.future + 1):
        terms, found = [], []
        for i in range(BATCH):
            for place in range(CONFIG.pieces - k):
                guess = context[i, place] @ ahead[k - 1]
                logits = [guess @ pieces[j, place + k] for j in range(BATCH)]
                top = max(logits)
                total = top + math.log(sum(math.exp(one - top) for one in logits))
                terms.append(total - logits[i])
                found.append(logits[i] == top)
        losses.append(np.mean(terms))
        right.append(np.mean(found))
    return losses, right


def test_the_loss_equals_slow_loops(made):
    _, params, gradient = made
    (value, (extra, metrics)), _ = gradient(params, make_batch(), jax.random.key(0))
    losses, right = slow_loss(params, make_batch())
    assert extra == {}
    assert float(value) == pytest.approx(np.mean(losses), rel=1e-5)
    for k in (0, 1):
        assert float(metrics[f"loss_ahead{k + 1}"]) == pytest.approx(losses[k], rel=1e-5)
        assert float(metrics[f"accuracy_ahead{k + 1}"]) == pytest.approx(right[k])


def test_without_knowledge_the_loss_is_that_of_chance(made):
    _, params, gradient = made
    predictor = params["predictor"] | {"ahead": jnp.zeros_like(params["predictor"]["ahead"])}
    blind = params | {"predictor": predictor}
    assert float(gradient(blind, make_batch(), jax.random.key(0))[0][0]) == pytest.approx(
        math.log(BATCH)
    )


def test_sharded_equals_dense_in_value_and_gradient(made):
    objective, params, gradient = made
    arguments = params, make_batch(), jax.random.key(5)
    (value, (_, metrics)), dense = gradient(*arguments)
    (many, (_, many_metrics)), grads = gradient_of(sharded_loss(objective, make_mesh(8)))(
        *arguments
    )
    assert many == pytest.approx(float(value), rel=1e-6)
    for name, expected in metrics.items():
        assert many_metrics[name] == pytest.approx(float(expected), rel=1e-5)
    scale = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(dense))
    assert scale > 0
    for x, y in zip(jax.tree.leaves(dense), jax.tree.leaves(grads), strict=True):
        np.testing.assert_allclose(y, x, rtol=1e-5, atol=1e-6 * scale)


def test_gradient_steps_learn_what_stays(made):
    _, params, gradient = made
    before = float(gradient(params, make_batch(), jax.random.key(0))[0][0])
    for _ in range(200):
        _, slope = gradient(params, make_batch(), jax.random.key(0))
        params = jax.tree.map(lambda x, g: x - 0.05 * g, params, slope)
    (after, (_, metrics)), _ = gradient(params, make_batch(), jax.random.key(0))
    assert float(after) < 0.5 * before
    assert metrics["accuracy_ahead1"] > 0.5


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:absl")
@pytest.mark.slow
def test_the_same_loop_trains_validates_and_exports_it(simulated, tmp_path):
    config = run_config(
        simulated,
        steps=2,
        encoder=MotionConfig(channels=4, blocks=1, multihead=False),
        objective=CPCConfig(pieces=2, future=1, hidden=5),
        checkpoint=CheckpointConfig(every=2, keep=1),
    )
    assert from_dict(to_dict(config)) == config
    pretrain(config, tmp_path / "run", log=lambda line: None)
    rows = read_metrics(tmp_path / "run")
    assert np.isfinite([row["loss_ahead1"] for row in rows[:2]]).all()
    assert "validation_loss" in rows[-1]
    export(tmp_path / "run", tmp_path / "encoder")
    encoder = load_encoder(tmp_path / "encoder")
    assert encoder.metadata["config"]["objective"]["future"] == 1


def test_configs_that_mean_nothing_are_refused():
    for values in ({"future": 6}, {"future": 0}, {"hidden": 0}, {"pieces": 1}):
        with pytest.raises(PrimusError, match="expected"):
            CPCConfig(**values).validate(batch_size=64)
    with pytest.raises(PrimusError, match="at least 2"):
        CPCConfig().validate(batch_size=1)
    with pytest.raises(PrimusError, match=r"8 samples; .* at least 123\. .*at most 0"):
        CPC(CPCConfig(pieces=4), POOLED).init(jax.random.key(0), make_batch())
    with pytest.raises(PrimusError, match="'motif'"):
        CPCConfig().check_encoder(MotifConfig(), 512)
