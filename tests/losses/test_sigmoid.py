"""The sigmoid loss: its definition, closed forms, and a run of `primus-jax pretrain` with it."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.pair_losses import inputs, value_and_gradient
from support.tiny_config import POOLED

from primus_jax.cli import main
from primus_jax.errors import PrimusError
from primus_jax.losses.pairs import Pairs
from primus_jax.losses.sigmoid import sigmoid
from primus_jax.objectives.primus import PrimusConfig
from primus_jax.training.digest import digest
from primus_jax.training.metrics import read_metrics
from primus_jax.training.run import load_state


def reference(a, b, temperature, bias, mask, masked_negatives, equal):
    """The definition, one pair at a time, in float64."""
    a, b = (np.asarray(x, np.float64) for x in (a, b))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    total = 0.0
    for i in range(len(a)):
        for j in range(len(b)):
            if i == j:
                sign, counts = 1, mask[i]
            else:
                different = equal[i] < 0 or equal[i] != equal[j]
                sign, counts = -1, different and (masked_negatives or mask[j])
            if counts:
                total += np.log1p(np.exp(-sign * (a[i] @ b[j] / temperature + bias)))
    return total / mask.sum() if mask.any() else 0.0


@pytest.mark.parametrize("form", ["dense", "gathered", "ring"])
@pytest.mark.parametrize("masked_negatives", [True, False])
def test_equals_the_pairwise_definition(form, masked_negatives):
    with jax.enable_x64(True):
        arrays = inputs(17, 5, seed=2)
        options = {"form": form, "block": 4, "masked_negatives": masked_negatives}
        (value, _), _ = value_and_gradient("sigmoid", **options)(*arrays)
    a, b, t, bias, mask, equal = (np.asarray(x) for x in arrays)
    expected = reference(a, b, t, bias, mask, masked_negatives, equal)
    assert float(value) == pytest.approx(expected, rel=1e-12)


def test_closed_forms():
    n = 6
    zeros, ones = jnp.zeros((n, 3)), jnp.ones((n, 3))
    loss = jax.jit(sigmoid)
    # Logit 0 everywhere: every one of n * n pairs costs log 2, divided by the n rows.
    assert loss(zeros, ones, 0.1, 0.0) == pytest.approx(n * np.log(2), rel=1e-6)
    # Scale 10 and bias -10 with equal rows: logit 0 again.
    assert loss(ones, ones, 0.1, -10.0) == pytest.approx(n * np.log(2), rel=1e-5)
    # Orthogonal rows at the paper's start: positives at 0, negatives at -10.
    eye = jnp.eye(n)
    expected = np.log(2) + (n - 1) * np.log1p(np.exp(-10))
    assert loss(eye, eye, 0.1, -10.0) == pytest.approx(expected, rel=1e-6)


def test_an_extreme_logit_is_finite_in_single_precision():
    rows = jnp.eye(4)
    value, slope = jax.jit(jax.value_and_grad(sigmoid, argnums=2))(rows, -rows, 0.001, -10.0)
    assert value == pytest.approx(1010, rel=1e-5)
    assert np.isfinite(slope)


def test_what_the_config_refuses():
    with pytest.raises(PrimusError, match=r"objective\.loss is 'siglip'.*info_nce.*sigmoid"):
        PrimusConfig(loss="siglip").validate(16)
    with pytest.raises(PrimusError, match=r"objective\.bias_initial is nan"):
        PrimusConfig(loss="sigmoid", bias_initial=float("nan")).validate(16)


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:absl")
@pytest.mark.slow
def test_a_run_learns_and_resumes(simulated, tmp_path):
    def pretrain(workdir):
        overrides = [
            f"--config.data.train=('{simulated}',)",
            "--config.steps=20",
            "--config.devices=1",
            "--config.objective.loss=sigmoid",
            "--config.objective.neighbors=False",
        ]
        config = ["--config", "tests/support/tiny_config.py", "--workdir", str(workdir)]
        assert main(["pretrain", *config, *overrides]) == 0
        return [row for row in read_metrics(workdir) if "loss" in row], load_state(
            workdir, "latest"
        )[0]

    rows, state = pretrain(tmp_path / "run")
    for name in ("loss_view", "loss_text", "loss_video"):
        first, last = (np.mean([row[name] for row in part]) for part in (rows[:3], rows[-3:]))
        assert last < first
    assert rows[0]["bias_mm"] == -10
    assert rows[-1]["bias_mm"] != rows[-1]["bias_ssl"]
    assert rows[-1]["temperature_mm"] != pytest.approx(0.1, abs=1e-5)
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "20")
    again, resumed = pretrain(tmp_path / "run")
    assert [row["step"] for row in again] == list(range(1, 21))
    assert digest(resumed) == digest(state)


@pytest.mark.slow
def test_the_objective_puts_it_in_every_term():
    rng = np.random.default_rng(0)
    batch = {
        "imu": rng.normal(size=(6, 130, 6)).astype(np.float32),
        "index": np.arange(6, dtype=np.int32),
        "text_embedding": rng.normal(size=(6, 16)).astype(np.float16),
        "text_mask": np.arange(6) != 2,
        "text_id": np.array([0, 1, -1, 0, 2, 3], np.int32),
    }
    batch = jax.tree.map(jnp.asarray, batch)
    encoder = dataclasses.replace(POOLED, embed_dim=16)

    def build(loss):
        config = PrimusConfig(neighbors=False, targets=("text",), loss=loss, bias_initial=-2.0)
        objective = config.build(encoder)
        params, extra = jax.jit(objective.init)(jax.random.key(0), batch)
        return objective, params, extra

    objective, params, extra = build("sigmoid")
    assert params.keys() - build("info_nce")[1].keys() == {"bias_mm", "bias_ssl"}
    params |= {"bias_ssl": jnp.float32(-3)}
    key = jax.random.key(1)
    loss, (_, metrics) = jax.jit(objective.loss)(params, extra, {}, batch, key)
    views = jax.jit(objective.forward)(params, batch, key)
    text = batch["text_embedding"].astype(jnp.float32)
    pairs = Pairs(batch["text_mask"], batch["text_id"], masked_negatives=False)
    expected = {
        "text": sigmoid(views["mm"], text, 0.1, -2.0, pairs),
        "view": sigmoid(views["ssl"], views["ssl_second"], 0.1, -3.0),
    }
    for name, value in expected.items():
        assert metrics[f"loss_{name}"] == pytest.approx(float(value), rel=1e-5)
    assert loss == pytest.approx(0.5 * float(sum(expected.values())), rel=1e-5)
    assert (metrics["bias_mm"], metrics["bias_ssl"]) == (-2, -3)
    clamped = objective.constrain(params | {"temperature_mm": jnp.float32(-50)})
    assert clamped["temperature_mm"] == pytest.approx(np.log(0.01))
    assert clamped["bias_mm"] == -2
