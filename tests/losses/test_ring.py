"""The forms of the losses: one value, one gradient; memory and traffic linear in the batch."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.pair_losses import LOSSES, compile_gradient, inputs, value_and_gradient

from primus_jax.errors import PrimusError
from primus_jax.losses.contrastive import info_nce
from primus_jax.losses.pairs import Pairs, choose_form
from primus_jax.roofline.traffic import bytes_sent

BATCH = 40
MESHES = [(), (1,), (2,), (4,), (8,), (2, 4), (4, 2)]
QUICK = [(2, 4)]
MASKS = {
    "uneven": np.arange(BATCH) % 7 < np.arange(BATCH) // 8,
    "none on the first device": np.arange(BATCH) >= BATCH // 2,
    "one row": np.arange(BATCH) == 13,
    "none": np.zeros(BATCH, bool),
    "all": np.ones(BATCH, bool),
}


def assert_same(one, many, tolerance):
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        scale = max(np.abs(x).max(), 1e-3)
        assert np.abs(np.asarray(y) - np.asarray(x)).max() <= tolerance * scale
    return one


@functools.cache
def dense_results(name, masked_negatives):
    dense = value_and_gradient(name, form="dense", masked_negatives=masked_negatives)
    return [dense(*inputs(BATCH, 6, seed, mask)) for seed, mask in enumerate(MASKS.values())]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("form", "mesh"),
    [
        pytest.param(form, mesh, marks=[] if mesh in QUICK else pytest.mark.slow)
        for form in ("gathered", "ring")
        for mesh in MESHES
    ]
    + [("dense", (8,)), pytest.param("dense", (2, 4), marks=pytest.mark.slow)],
    ids=str,
)
def test_every_form_is_the_dense_one_on_every_mesh(name, form, mesh):
    with jax.enable_x64(True):
        options = {"masked_negatives": mesh in ((), (4,), (4, 2))}
        many = value_and_gradient(name, mesh, form=form, block=3, **options)
        expected = dense_results(name, **options)
        for seed, mask in enumerate(MASKS.values()):
            result = many(*inputs(BATCH, 6, seed, mask))
            (value, _), _ = assert_same(expected[seed], result, 1e-12)
            assert (value == 0) == (not mask.any())


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("form", [pytest.param("gathered", marks=pytest.mark.slow), "ring"])
def test_single_precision_agrees_to_a_millionth(name, form):
    arrays = inputs(64, 16, dtype=np.float32)
    dense = value_and_gradient(name, form="dense", masked_negatives=False)
    many = value_and_gradient(name, (4,), form=form, block=5, masked_negatives=False)
    assert_same(dense(*arrays), many(*arrays), 1e-6)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("form", ["dense", "gathered", "ring"])
def test_gradients_are_finite_differences(name, form):
    with jax.enable_x64(True):
        *floats, mask, equal = inputs(10, 4, seed=3)
        loss = value_and_gradient(name, form=form, block=4, masked_negatives=False)
        rng = np.random.default_rng(0)
        step = [jnp.asarray(rng.normal(size=np.shape(x))) for x in floats]
        _, gradients = loss(*floats, mask, equal)
        slope = sum(float(jnp.vdot(g, s)) for g, s in zip(gradients, step, strict=True))
        h = 1e-5
        ends = [
            loss(*(x + k * h * s for x, s in zip(floats, step, strict=True)), mask, equal)[0][0]
            for k in (2, 1, -1, -2)
        ]
        numbers = np.array([float(x) for x in ends])
        assert slope == pytest.approx(numbers @ [-1, 8, -8, 1] / (12 * h), rel=1e-9)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    "form", [*(pytest.param(x, marks=pytest.mark.slow) for x in ("dense", "gathered")), "ring"]
)
def test_few_rows_equal_rows_and_zero_rows(name, form):
    with jax.enable_x64(True):
        one_row = value_and_gradient(name, form=form)(*inputs(1, 4, mask=np.ones(1, bool)))
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(one_row))
        assert [float(x) for x in one_row[0][1]] == [1.0, 1.0]
        if name == "info_nce":
            assert float(one_row[0][0]) == 0
        dense = value_and_gradient(name, form="dense")
        many = value_and_gradient(name, (8,), form=form)
        a, b, t, bias, mask, equal = inputs(8, 4, seed=1, mask=np.ones(8, bool))
        # One row a device; then nothing but positives; then rows without a direction.
        assert_same(dense(a, b, t, bias, mask, equal), many(a, b, t, bias, mask, equal), 1e-12)
        same = a, b, t, bias, mask, jnp.zeros_like(equal)
        (value, accuracy), _ = assert_same(dense(*same), many(*same), 1e-12)
        assert [float(x) for x in accuracy] == [1.0, 1.0]
        assert (float(value) == 0) == (name == "info_nce")
        zero = a.at[2].set(0), b.at[2:5].set(0), t, bias, mask, equal
        assert_same(dense(*zero), many(*zero), 1e-12)
        for gradient in many(*zero)[1]:
            assert np.abs(gradient).max() < 1e3


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("form", [pytest.param("gathered", marks=pytest.mark.slow), "ring"])
def test_a_cold_temperature_stays_exact_in_single_precision(name, form):
    everybody = np.ones(48, bool)
    arrays = inputs(48, 64, 4, everybody, np.float32, temperature=0.01)
    with jax.enable_x64(True):
        wide = [x.astype(np.float64) if x.dtype == np.float32 else x for x in arrays]
        (expected, _), slopes = value_and_gradient(name, form="dense")(*wide)
    (value, _), gradients = value_and_gradient(name, form=form, block=7)(*arrays)
    # InfoNCE is 4e-8 here: as good as solved, where a difference of logarithms is all rounding.
    assert float(value) == pytest.approx(float(expected), rel=1e-4)
    for x, y in zip(*(map(np.asarray, g) for g in (slopes, gradients)), strict=True):
        assert np.abs(y - x).max() <= 1e-4 * np.abs(x).max()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    "form", [*(pytest.param(x, marks=pytest.mark.slow) for x in ("dense", "gathered")), "ring"]
)
def test_half_precision_is_widened_before_anything_is_summed(name, form):
    arrays = inputs(24, 8, dtype=np.float32)
    half = tuple(x.astype(jnp.bfloat16) for x in arrays[:2])
    rounded = tuple(x.astype(jnp.float32) for x in half)
    loss = value_and_gradient(name, form=form)
    (value, _), gradients = loss(*half, *arrays[2:])
    (expected, _), slopes = loss(*rounded, *arrays[2:])
    assert value.dtype == jnp.float32
    assert float(value) == float(expected)
    assert gradients[0].dtype == jnp.bfloat16
    np.testing.assert_allclose(gradients[0].astype(jnp.float32), slopes[0], rtol=2**-8, atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("form", ["dense", "gathered", "ring"])
def test_a_constant_embedding_scores_chance(name, form):
    ones = jnp.full((12, 700), 0.3, jnp.float32)
    loss = value_and_gradient(name, form=form, block=5)
    everybody, distinct = jnp.ones(12, bool), jnp.full(12, -1, jnp.int32)
    temperature, bias = jnp.float32(0.01), jnp.float32(-10)
    (_, accuracy), _ = loss(ones, ones, temperature, bias, everybody, distinct)
    assert [float(x) for x in accuracy] == [pytest.approx(1 / 12)] * 2


@pytest.mark.parametrize("name", LOSSES)
def test_memory_is_linear_in_the_batch(name):
    ring = compile_gradient(name, 65_536, 512, form="ring").memory_analysis().temp_size_in_bytes
    half = compile_gradient(name, 32_768, 512, form="ring").memory_analysis().temp_size_in_bytes
    dense = compile_gradient(name, 65_536, 512, form="dense").memory_analysis().temp_size_in_bytes
    assert ring < 2**30
    assert dense > 32 * 2**30
    assert ring < 2.1 * half


@pytest.mark.parametrize("name", LOSSES)
def test_no_matrix_of_pairs_is_ever_made(name):
    text = compile_gradient(name, 4096, 8, (2,), form="ring", block=256).as_text()
    assert "f32[256,256]" in text
    assert not re.search(r"f32\[(2048|4096),(2048|4096)\]", text)


@pytest.mark.parametrize(
    "mesh",
    [*(pytest.param(mesh, marks=pytest.mark.slow) for mesh in [(2,), (4,)]), (2, 4)],
    ids=str,
)
@pytest.mark.parametrize("form", ["gathered", "ring"])
@pytest.mark.parametrize("name", LOSSES)
def test_bytes_sent_are_those_of_the_docstring(name, form, mesh):
    batch, dim, devices = 64, 6, int(np.prod(mesh))
    options = {"form": form, "block": 4, "masked_negatives": False}
    sent = bytes_sent(compile_gradient(name, batch, dim, mesh, **options).as_text())
    hops = batch // devices * (devices - 1)
    if form == "ring":
        forward, backward = {
            "info_nce": (4 * dim + 25, 8 * dim + 13),
            "sigmoid": (4 * dim + 17, 8 * dim + 5),
        }[name]
        shared = batch // devices * (4 * dim + 5)  # the first hop of either pass is one
        expected = {"collective-permute": hops * (forward + backward) - shared}
    else:
        backward = 8 * dim if name == "info_nce" else 4 * dim
        expected = {"all-gather": hops * (8 * dim + 5), "reduce-scatter": hops * backward}
    scalars = sent.pop("all-reduce")
    assert {kind: count for kind, count in sent.items() if count} == expected
    assert 0 < scalars <= 64  # loss, rows that count, accuracies, gradients of the scalars


def test_what_comes_next_does_not_wait_for_what_is_computed():
    text = compile_gradient("info_nce", 64, 6, (4,), form="ring", block=4).as_text()
    hops = [x for x in text.split("\n\n") if "ENTRY" not in x and "collective-permute(" in x]
    assert len(hops) == 2  # forward and backward
    for body in hops:
        waits = []
        for name in re.findall(r"f32\[4,4,6\]\S* collective-permute\((%?[\w.\-]+)", body):
            operation = "copy"
            while operation in ("copy", "bitcast", "get-tuple-element"):
                found = re.search(rf"{re.escape(name)} = .*? ([\w\-]+)\((%?[\w.\-]+)", body)
                operation, name = found.groups()
            waits.append(operation == "while")
        # The rows are sent on as they came in; only their gradient has to be computed first.
        assert sorted(waits) == ([False] if len(waits) == 1 else [False, True])


def test_the_form_is_chosen_by_size():
    assert choose_form("auto", 4096, None) == "gathered"
    assert choose_form("auto", 8192, None) == "ring"


def test_wrong_arguments_are_named():
    rows = jnp.ones((4, 3))
    with pytest.raises(PrimusError, match="'auto', 'dense', 'gathered', 'ring'"):
        info_nce(rows, rows, 0.1, Pairs(form="rings"))
    with pytest.raises(PrimusError, match=r"\(4, 3\) and \(5, 3\)"):
        info_nce(rows, jnp.ones((5, 3)), 0.1)
    with pytest.raises(PrimusError, match=r"mask has shape \(3,\); expected \(4,\)"):
        info_nce(rows, rows, 0.1, Pairs(mask=jnp.ones(3, bool)))
    with pytest.raises(PrimusError, match="block 0"):
        info_nce(rows, rows, 0.1, Pairs(form="ring", block=0))
