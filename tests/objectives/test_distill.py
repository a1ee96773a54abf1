"""Distillation beside a contrastive loss: its sum, its gradient ratios, balance, and devices."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.paired_batch import BATCH, make_batch

from primus_jax.losses.contrastive import info_nce
from primus_jax.losses.distillation.attention import attention
from primus_jax.losses.distillation.pointwise import Regressor, hints
from primus_jax.losses.distillation.relational import relational
from primus_jax.losses.distillation.similarity import correlation_congruence
from primus_jax.losses.pairs import Pairs
from primus_jax.losses.triplet import triplet
from primus_jax.models.released import ReleasedConfig
from primus_jax.objectives.distill import NEGATIVE_STREAM, DistillConfig
from primus_jax.objectives.distill_settings import TripletOptions
from primus_jax.objectives.distill_terms import (
    DEFAULT_WEIGHTS,
    LossOptions,
    LossWeights,
    loss_functions,
)
from primus_jax.parallel import sharding
from primus_jax.parallel.sharding import make_mesh
from primus_jax.training.step import sharded_loss

ENCODER = ReleasedConfig(
    readout="pool", input_norm="fixed", activation="gelu", embed_dim=16, multihead=False
)
KEY = jax.random.key(5)
EVERY = LossWeights(
    st=0.1, sp=3.0, nst=2.0, at=5.0, focused_at=4.0, cc=2.0, pkt=0.1, rkd=0.02, hints=0.2,
    ab=0.3, logits=0.1,
)  # fmt: skip


class Made:
    """An objective, its parameters, and value and gradient compiled once."""

    def __init__(self, encoder=ENCODER, **values):
        self.objective = DistillConfig(**values).build(encoder)
        self.params, self.extra = jax.jit(self.objective.init)(jax.random.key(1), make_batch())
        self.run = jax.jit(jax.value_and_grad(self.objective.loss, has_aux=True))

    def __call__(self, batch=None, extra=None, key=KEY):
        batch = make_batch() if batch is None else batch
        extra = self.extra if extra is None else extra
        return self.run(self.params, extra, {}, batch, key)


@pytest.fixture(scope="module")
def some():
    """InfoNCE of both targets, a learned temperature, three losses from two teachers."""
    return Made(
        targets=("text", "video"),
        weights={"at": 5.0, "cc": 2.0, "hints": 0.1},
        temperature="log",
    )


@pytest.fixture(scope="module")
def result(some):
    return some()


def plain(some):
    """The same loss written down: parameters -> (terms, their weighted sum)."""
    batch, weights = make_batch(), some.objective.config.weights

    def loss(params):
        rows = some.objective.forward(params, batch, KEY)
        terms, value = {}, 0.0
        for name in ("text", "video"):
            teacher = batch[f"{name}_embedding"].astype(jnp.float32)
            mask = batch[f"{name}_mask"]
            pairs = Pairs(mask, batch[f"{name}_id"], masked_negatives=False)
            terms[name] = info_nce(rows, teacher, jnp.exp(params["temperature"]), pairs)
            regressor = Regressor(**params["projection"][f"hints_{name}"])
            terms[f"at_{name}"] = attention(rows, teacher, mask=mask)
            terms[f"cc_{name}"] = correlation_congruence(rows, teacher, mask=mask)
            terms[f"hints_{name}"] = hints(rows, teacher, regressor=regressor, mask=mask)
            value += terms[name] + weights.at * terms[f"at_{name}"]
            value += weights.cc * terms[f"cc_{name}"] + weights.hints * terms[f"hints_{name}"]
        return value, terms

    return loss


def test_value_and_gradient_are_those_of_the_weighted_sum(some, result):
    (value, (extra, metrics)), gradient = result
    (expected, terms), slope = jax.jit(jax.value_and_grad(plain(some), has_aux=True))(some.params)
    assert extra == {}
    assert value == pytest.approx(float(expected), rel=1e-5)
    for name, term in terms.items():
        assert metrics[f"loss_{name}"] == pytest.approx(float(term), rel=1e-4), name
    assert jax.tree.structure(slope) == jax.tree.structure(gradient)
    assert float(jnp.abs(gradient["projection"]["hints_text"]["kernel"]).max()) > 0
    assert float(jnp.abs(gradient["temperature"])) > 0
    for x, y in zip(jax.tree.leaves(slope), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(y, x, rtol=1e-3, atol=1e-5 * float(jnp.abs(x).max()))


def test_ratios_are_of_the_gradients_at_the_embedding(some, result):
    metrics = result[0][1][1]
    batch = make_batch()
    rows = jax.jit(some.objective.forward)(some.params, batch, KEY)

    def contrastive(rows):
        return sum(
            info_nce(
                rows,
                batch[f"{name}_embedding"].astype(jnp.float32),
                0.1,
                Pairs(batch[f"{name}_mask"], batch[f"{name}_id"], masked_negatives=False),
            )
            for name in ("text", "video")
        )

    teacher, mask = batch["video_embedding"].astype(jnp.float32), batch["video_mask"]
    whole = jnp.linalg.norm(jax.jit(jax.grad(contrastive))(rows))
    one = jnp.linalg.norm(jax.jit(jax.grad(lambda x: attention(x, teacher, mask=mask)))(rows))
    assert metrics["gradient_ratio_at_video"] == pytest.approx(float(5 * one / whole), rel=1e-4)
    assert metrics["weight_at_video"] == 5


def gradient_of(loss):
    return jax.jit(jax.value_and_grad(loss, has_aux=True))


VARIANTS = {
    "every loss, projected": {
        "weights": EVERY, "teacher_projection": True, "temperature": "log",
        "teachers": ("text", "video"),
    },
    "balanced, sigmoid": {
        "weights": {"pkt": 0.2, "nst": 0.3}, "balance": "gradient", "loss": "sigmoid",
        "temperature": "raw", "bias_initial": -2.0,
    },
    "random triplets": {
        "loss": "triplet", "weights": {"rkd": 0.1}, "triplet": TripletOptions(negatives="random"),
    },
    "distillation alone, released": {
        "loss": "none", "weights": {"at": 1.0, "logits": 1.0}, "form": "released",
        "teachers": ("video",), "targets": (),
    },
}  # fmt: skip


SLOW = ("every loss, projected", "random triplets")


@pytest.fixture(
    scope="module",
    params=[pytest.param(x, marks=pytest.mark.slow) if x in SLOW else x for x in VARIANTS],
)
def variant(request):
    return Made(**VARIANTS[request.param])


@pytest.mark.parametrize("devices", [4, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 8))])
def test_sharded_equals_dense(variant, devices):
    (value, (extra, metrics)), dense = variant()
    sharded = gradient_of(sharded_loss(variant.objective, make_mesh(devices)))
    (many, (after, many_metrics)), grads = sharded(
        variant.params, variant.extra, {}, make_batch(), KEY
    )
    assert np.isfinite(value)
    assert many == pytest.approx(float(value), rel=1e-4)
    assert metrics.keys() == many_metrics.keys()
    for name, expected in metrics.items():
        assert many_metrics[name] == pytest.approx(float(expected), rel=2e-3, abs=1e-6), name
    for x, y in zip(jax.tree.leaves(extra), jax.tree.leaves(after), strict=True):
        assert float(y) == pytest.approx(float(x), rel=2e-3)
    scale = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(dense))
    assert scale > 0
    for x, y in zip(jax.tree.leaves(dense), jax.tree.leaves(grads), strict=True):
        np.testing.assert_allclose(y, x, rtol=2e-3, atol=1e-4 * scale)


@pytest.mark.parametrize(
    "layout",
    [
        "split parameters",
        *(pytest.param(x, marks=pytest.mark.slow) for x in ("two axes", "micro batches")),
    ],
)
def test_layouts_change_nothing(some, result, layout, monkeypatch):
    (value, (_, metrics)), dense = result
    options = {}
    mesh = make_mesh(4, replicas=2) if layout == "two axes" else make_mesh(2)
    if layout == "split parameters":
        monkeypatch.setattr(sharding, "SMALL", 1)
        options["fsdp"] = True
    if layout == "micro batches":
        options["micro_batches"] = 4
    run = gradient_of(sharded_loss(some.objective, mesh, **options))
    (found, (_, many)), grads = run(some.params, some.extra, {}, make_batch(), KEY)
    assert found == pytest.approx(float(value), rel=1e-4)
    for name in ("gradient_ratio_cc_video", "gradient_ratio_hints_text"):
        assert many[name] == pytest.approx(float(metrics[name]), rel=2e-3)
    scale = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(dense))
    for x, y in zip(jax.tree.leaves(dense), jax.tree.leaves(grads), strict=True):
        np.testing.assert_allclose(y, x, rtol=2e-3, atol=1e-4 * scale)


def test_balance_gives_each_loss_its_share_by_a_moving_average():
    made = Made(weights={"pkt": 0.2, "at": 0.05}, balance="gradient", balance_momentum=0.5)
    (_, (extra, metrics)), _ = made()
    # The first average is that of the first step, so the share is exact.
    assert metrics["gradient_ratio_pkt_text"] == pytest.approx(0.2, rel=1e-4)
    assert metrics["gradient_ratio_at_text"] == pytest.approx(0.05, rel=1e-4)
    first = float(metrics["weight_pkt_text"])
    norms = {name: float(x) / 0.5 for name, x in extra["gradient_norms"].items()}
    assert first == pytest.approx(0.2 * norms["contrastive"] / norms["pkt_text"], rel=1e-4)
    (_, (after, second)), _ = made(make_batch(1), extra)
    now = float(second["gradient_ratio_pkt_text"])
    assert now != pytest.approx(0.2, rel=1e-3)
    averages = after["gradient_norms"]
    assert float(second["weight_pkt_text"]) == pytest.approx(
        0.2 * float(averages["contrastive"] / averages["pkt_text"]), rel=1e-4
    )


def test_a_factor_has_a_limit_and_a_loss_without_gradient_weighs_nothing():
    made = Made(weights={"pkt": 1.0, "at": 1.0}, balance="gradient", balance_limit=1.5)
    _, (_, metrics) = made()[0]
    assert metrics["weight_at_text"] == 1.5
    empty = make_batch() | {"text_mask": jnp.zeros(BATCH, bool)}
    (value, (_, metrics)), gradient = made(empty)
    assert value == 0
    assert metrics["weight_at_text"] == metrics["gradient_ratio_pkt_text"] == 0
    assert all(not np.asarray(x).any() for x in jax.tree.leaves(gradient))


@pytest.mark.slow
def test_relational_triplet_and_single_direction_terms_are_the_losses():
    batch = make_batch()
    text, mask, number = (batch[f"text_{name}"] for name in ("embedding", "mask", "id"))
    text = text.astype(jnp.float32)
    pairs = Pairs(mask, number, masked_negatives=False)
    made = Made(loss="triplet", triplet=TripletOptions(negatives="random"), weights={"rkd": 1.0})
    rows = jax.jit(made.objective.forward)(made.params, batch, KEY)
    metrics = made()[0][1][1]
    expected = triplet(
        rows, text, pairs, margin=0.2, negatives="random", unit=True,
        key=jax.random.fold_in(KEY, NEGATIVE_STREAM),
    )  # fmt: skip
    assert metrics["loss_text"] == pytest.approx(float(expected), rel=1e-4)
    assert metrics["loss_rkd_text"] == pytest.approx(
        float(relational(rows, text, mask=mask, form="released")), rel=1e-4
    )
    assert "temperature" not in metrics
    made = Made(direction="from_imu", weights={})
    value, (_, metrics) = made()[0]
    pairs = dataclasses.replace(pairs, direction="a_to_b")
    assert value == pytest.approx(float(info_nce(rows, text, 0.1, pairs)), rel=1e-4)
    assert made.params.keys() == {"encoder"}


@pytest.mark.parametrize(
    "form", [pytest.param(form, marks=pytest.mark.slow) for form in ("paper", "released")]
)
def test_the_weights_by_which_a_loss_has_a_tenth_of_the_gradient(form):
    """At the batch and with the norms of the Ambient AI runs, at the start of training."""
    rng = np.random.default_rng(0)
    student = np.tanh(0.5 * rng.normal(size=(256, 512)))
    teacher = 0.38 * (rng.normal(size=512) + rng.normal(size=(256, 512)))
    teacher[:, [100, 300]] += 6
    student, teacher = (
        jnp.asarray(x * size / np.linalg.norm(x, axis=1).mean(), jnp.float32)
        for x, size in ((student, 9.6), (teacher, 11.7))
    )
    losses = loss_functions(LossOptions(), form)
    losses["infonce"] = lambda s, t: info_nce(s, t, 0.1)

    @jax.jit
    def run(student, teacher):
        slopes = {name: jax.grad(loss)(student, teacher) for name, loss in losses.items()}
        return {name: jnp.linalg.norm(slope) for name, slope in slopes.items()}

    norms = run(student, teacher)
    ratio = {name: float(norms[name] / norms["infonce"]) for name in DEFAULT_WEIGHTS.chosen}
    if form == "paper":
        for name, weight in DEFAULT_WEIGHTS.chosen.items():
            assert 0.05 < weight * ratio[name] < 0.7, name
    else:
        # With a weight of 1 most losses of the released code do nothing.
        assert max(ratio[name] for name in ("pkt", "at", "focused_at", "sp", "cc")) < 5e-3
        assert ratio["nst"] == 0
        assert ratio["pkt"] < 1e-5


def test_a_teacher_of_another_width_needs_the_projection():
    narrow = dataclasses.replace(ENCODER, embed_dim=8)
    made = Made(
        narrow, loss="none", weights={"logits": 1.0, "sp": 1.0, "hints": 1.0},
        form="released", teacher_projection=True,
    )  # fmt: skip
    assert made.params["projection"]["logits_text"]["kernel"].shape == (8, 16)
    value, (_, metrics) = made()[0]
    assert np.isfinite(value)
    assert not [name for name in metrics if name.startswith("gradient_ratio")]


def test_a_learned_temperature_stays_inside_its_bounds(some):
    clamped = some.objective.constrain(some.params | {"temperature": jnp.float32(-50)})
    assert clamped["temperature"] == pytest.approx(np.log(0.01))
    fixed = Made(weights={"at": 1.0})
    assert fixed.objective.constrain(fixed.params) is fixed.params
