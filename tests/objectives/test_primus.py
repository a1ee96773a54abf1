"""The objective: its terms are the paper's, its switches work, and sharding changes nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.paired_batch import BATCH, make_batch
from support.tiny_config import POOLED

from primus_jax.augment import AugmentConfig, augment_batch
from primus_jax.errors import PrimusError
from primus_jax.losses.contrastive import info_nce
from primus_jax.losses.pairs import Pairs
from primus_jax.objectives.primus import Primus, PrimusConfig
from primus_jax.parallel.sharding import make_mesh
from primus_jax.training.step import sharded_loss

ENCODER = dataclasses.replace(POOLED, embed_dim=16)


def config_of(**values):
    return PrimusConfig(queue_size=40, **values)


@pytest.fixture(scope="module")
def full():
    """The default objective after one step's queue write, dense."""
    objective = Primus(config_of(), ENCODER)
    params, extra = jax.jit(objective.init)(jax.random.key(1), make_batch())
    key = jax.random.key(5)
    loss = jax.jit(objective.loss)
    _, (extra, _) = loss(params, extra, {}, make_batch(1), key)
    value, (after, metrics) = loss(params, extra, {}, make_batch(), key)
    return objective, params, extra, key, value, after, metrics


@pytest.mark.slow
def test_the_total_is_the_weighted_sum_of_the_terms(full):
    *_, value, _, m = full
    expected = 0.5 * (m["loss_text"] + m["loss_video"]) + 0.5 * m["loss_view"]
    expected += 0.5 * (m["loss_neighbor_text"] + m["loss_neighbor_video"])
    expected += 0.5 * m["loss_neighbor_imu"]
    assert value == pytest.approx(float(expected), rel=1e-6)
    assert float(m["temperature_mm"]) == pytest.approx(0.1)


def test_each_term_is_the_equation_on_the_encoder_outputs(full):
    objective, params, _, key, _, _, metrics = full
    batch = make_batch()
    keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i)))(batch["index"])
    apply = jax.jit(ENCODER.build().apply)
    first = apply({"params": params["encoder"]}, batch["imu"])
    second = apply(
        {"params": params["encoder"]},
        augment_batch(keys[:, 1], batch["imu"], objective.config.second_view),
    )
    view = info_nce(first["ssl"], second["ssl"], 0.1)
    assert metrics["loss_view"] == pytest.approx(float(view), rel=1e-5)
    for name in ("text", "video"):
        term = info_nce(
            first["mmcl"],
            batch[f"{name}_embedding"].astype(jnp.float32),
            0.1,
            Pairs(batch[f"{name}_mask"], batch[f"{name}_id"], masked_negatives=False),
        )
        assert metrics[f"loss_{name}"] == pytest.approx(float(term), rel=1e-5)


def test_the_queue_is_read_before_it_is_written(full):
    objective, params, _, key, *_ = full
    _, empty = jax.jit(objective.init)(jax.random.key(1), make_batch())
    _, (extra, metrics) = jax.jit(objective.loss)(params, empty, {}, make_batch(), key)
    assert metrics["loss_neighbor_imu"] == 0
    assert int(extra["queue"].next) == BATCH
    assert bool(extra["queue"].rows["imu"].mask[:BATCH].all())


def test_as_released_an_empty_queue_costs_two_log_n():
    objective = Primus(
        config_of(
            ignore_empty_rows=False,
            mask_equal_neighbors=False,
            mask_equal_text=False,
            mask_equal_video=False,
        ),
        ENCODER,
    )
    params, extra = jax.jit(objective.init)(jax.random.key(1), make_batch())
    _, (_, metrics) = jax.jit(objective.loss)(params, extra, {}, make_batch(), jax.random.key(5))
    for name in ("text", "video", "imu"):
        assert metrics[f"loss_neighbor_{name}"] == pytest.approx(2 * np.log(BATCH), rel=1e-6)


@pytest.mark.parametrize("devices", [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2)), 8])
def test_sharded_equals_dense_in_value_gradient_and_queue(full, devices):
    objective, params, extra, key, value, after, _ = full
    batch = make_batch()
    dense = jax.jit(jax.grad(lambda p: objective.loss(p, extra, {}, batch, key)[0]))(params)
    loss = sharded_loss(objective, make_mesh(devices))
    (many, (many_after, _)), grads = jax.jit(
        jax.value_and_grad(lambda p: loss(p, extra, {}, batch, key), has_aux=True)
    )(params)
    assert many == pytest.approx(float(value), rel=1e-6)
    scale = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(dense))
    for x, y in zip(jax.tree.leaves(dense), jax.tree.leaves(grads), strict=True):
        np.testing.assert_allclose(y, x, rtol=1e-5, atol=1e-6 * scale)
    for x, y in zip(jax.tree.leaves(after), jax.tree.leaves(many_after), strict=True):
        np.testing.assert_allclose(y, x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("switches", "terms"),
    [
        ({"multimodal": False, "neighbors": False}, {"view"}),
        pytest.param(
            {"self_supervised": False, "neighbors": False},
            {"text", "video"},
            marks=pytest.mark.slow,
        ),
        ({"self_supervised": False, "neighbors": False, "targets": ("text",)}, {"text"}),
        (
            {"multimodal": False, "self_supervised": False},
            {"neighbor_text", "neighbor_video", "neighbor_imu"},
        ),
        pytest.param(
            {"alpha": 1.0, "multimodal": False}, {"view", "neighbor_imu"}, marks=pytest.mark.slow
        ),
    ],
)
def test_terms_can_be_switched_off_one_by_one(switches, terms):
    objective = Primus(config_of(**switches), ENCODER)
    batch = make_batch()
    params, extra = jax.jit(objective.init)(jax.random.key(0), batch)
    loss, (extra, metrics) = jax.jit(objective.loss)(params, extra, {}, batch, jax.random.key(2))
    assert {n.removeprefix("loss_") for n in metrics if n.startswith("loss_")} == terms
    assert np.isfinite(loss)
    assert ("queue" in extra) == objective.config.neighbors


def test_neighbour_gradient_flows_through_the_query_only(full):
    objective, params, extra, key, *_ = full
    only = Primus(
        dataclasses.replace(objective.config, multimodal=False, self_supervised=False), ENCODER
    )
    grad = jax.jit(
        jax.grad(lambda e: only.loss(params, e, {}, make_batch(), key)[0], allow_int=True)
    )(extra)
    for name in ("imu", "text", "video"):
        np.testing.assert_array_equal(grad["queue"].rows[name].embedding, 0)


def test_a_raw_temperature_is_the_divisor_and_a_log_one_stays_in_bounds():
    raw = Primus(config_of(temperature="raw"), ENCODER)
    params, _ = jax.jit(raw.init)(jax.random.key(0), make_batch())
    assert float(params["temperature_mm"]) == pytest.approx(0.1)
    assert float(raw.constrain(params | {"temperature_mm": -1.0})["temperature_mm"]) == -1.0
    log = Primus(config_of(), ENCODER)
    low = log.constrain(params | {"temperature_mm": jnp.float32(-50)})["temperature_mm"]
    assert float(jnp.exp(low)) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"multimodal": False, "self_supervised": False, "neighbors": False}, "nothing to train"),
        ({"alpha": 1.5}, "alpha"),
        ({"targets": ("audio",)}, "targets"),
        ({"queue_size": 8}, "queue_size"),
        ({"temperature": "square"}, "parameterisation"),
        ({"temperature_initial": 2.0}, "temperature"),
        ({"second_view": AugmentConfig(segments=1)}, "second_view"),
    ],
)
def test_configs_that_mean_nothing_are_refused(values, word):
    with pytest.raises(PrimusError, match=word):
        PrimusConfig(**values).validate(batch_size=64)
