"""InfoNCE: closed forms, golden numbers from PyTorch, a slow reference, and sharded = dense."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from primus_jax.errors import PrimusError
from primus_jax.losses.contrastive import info_nce, info_nce_with_accuracy
from primus_jax.losses.pairs import Pairs
from primus_jax.losses.sigmoid import sigmoid


def reference(a, b, temperature, mask=None, masked_negatives=True, equal=None):
    """The definition, one pair at a time, in float64."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    a = a / np.maximum(np.linalg.norm(a, axis=1, keepdims=True), 1e-12)
    b = b / np.maximum(np.linalg.norm(b, axis=1, keepdims=True), 1e-12)
    n = len(a)
    mask = np.ones(n, bool) if mask is None else np.asarray(mask)
    equal = np.full(n, -1) if equal is None else np.asarray(equal)
    if not mask.any():
        return 0.0
    total = 0.0
    for i in range(n):
        if not mask[i]:
            continue
        others = [j for j in range(n) if j == i or equal[i] < 0 or equal[i] != equal[j]]
        columns = [j for j in others if j == i or masked_negatives or mask[j]]
        own = a[i] @ b[i] / temperature
        total += np.log(sum(np.exp(a[i] @ b[j] / temperature) for j in columns)) - own
        total += np.log(sum(np.exp(b[i] @ a[j] / temperature) for j in others)) - own
    return total / mask.sum()


@pytest.fixture(scope="module")
def golden():
    k = np.arange(32.0)
    student = np.sin(0.9 * k + 0.3).reshape(4, 8)
    teacher = 0.7 * np.cos(1.7 * k).reshape(4, 8)
    return student, teacher


def test_golden_numbers_from_pytorch_in_float64(golden):
    student, teacher = golden
    mask = np.array([True, False, True, True])
    with jax.enable_x64(True):
        loss = jax.jit(jax.value_and_grad(info_nce, argnums=(0, 2)))
        value, (grad, grad_t) = loss(jnp.asarray(student), jnp.asarray(teacher), jnp.asarray(0.1))
        assert value == pytest.approx(3.25729810, abs=1e-8)
        assert np.linalg.norm(grad) == pytest.approx(5.38912118, abs=1e-8)
        assert grad_t == pytest.approx(-7.93298129, abs=1e-7)
        masked = jax.jit(functools.partial(info_nce, pairs=Pairs(mask=mask)))
        assert masked(student, teacher, 0.1) == pytest.approx(3.72396906, abs=1e-8)


def test_all_zero_keys_give_two_log_n_and_no_gradient(golden):
    student, _ = golden
    with jax.enable_x64(True):
        value, grad = jax.jit(jax.value_and_grad(info_nce))(
            jnp.asarray(student), jnp.zeros((4, 8)), 0.1
        )
    assert value == pytest.approx(2 * np.log(4), abs=1e-12)
    np.testing.assert_array_equal(grad, 0)


def test_fully_correlated_embeddings_give_two_log_n():
    ones = jnp.ones((6, 3), jnp.float32)
    assert jax.jit(info_nce)(ones, ones, 0.2) == pytest.approx(2 * np.log(6), abs=1e-6)


def test_a_constant_embedding_scores_chance_and_a_perfect_one_scores_one():
    loss = jax.jit(info_nce_with_accuracy)
    _, forward, backward = loss(jnp.ones((5, 3), jnp.float32), jnp.ones((5, 3), jnp.float32), 0.1)
    assert (forward, backward) == (pytest.approx(0.2), pytest.approx(0.2))
    _, forward, backward = loss(jnp.eye(5), jnp.eye(5), 0.1)
    assert (forward, backward) == (1.0, 1.0)


def test_nothing_to_compare_is_zero_with_zero_gradient():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 4, 3)).astype(np.float32)
    value, grad = jax.jit(
        jax.value_and_grad(lambda a: info_nce(a, b, 0.1, Pairs(mask=np.zeros(4, bool))))
    )(a)
    assert value == 0
    np.testing.assert_array_equal(grad, 0)


@pytest.mark.parametrize("masked_negatives", [True, False])
@pytest.mark.parametrize("batch", [2, 7, 16])
def test_equals_the_pairwise_definition(batch, masked_negatives):
    rng = np.random.default_rng(batch)
    a, b = rng.normal(size=(2, batch, 5)).astype(np.float32)
    mask = rng.random(batch) < 0.7
    equal = rng.integers(-1, 3, batch).astype(np.int32)
    pairs = Pairs(mask=mask, equal=equal, masked_negatives=masked_negatives)
    value = jax.jit(info_nce)(a, b, 0.3, pairs)
    expected = reference(a, b, 0.3, mask, masked_negatives, equal)
    assert value == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize("devices", [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2)), 8])
@pytest.mark.parametrize("masked_negatives", [True, False])
def test_sharded_equals_dense_in_value_and_gradient(devices, masked_negatives):
    rng = np.random.default_rng(devices)
    with jax.enable_x64(True):
        a, b = jnp.asarray(rng.normal(size=(2, 24, 6)))
        mask = jnp.asarray(rng.random(24) < 0.5)
        equal = jnp.asarray(rng.integers(-1, 5, 24), jnp.int32)
        options = {"masked_negatives": masked_negatives}

        def dense(a, b, t):
            return info_nce(a, b, t, Pairs(mask, equal, **options))

        mesh = jax.make_mesh(
            (devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices]
        )

        def local(a, b, t, mask, equal):
            return info_nce(a, b, t, Pairs(mask, equal, axis_name="data", **options))

        rows, everywhere = PartitionSpec("data"), PartitionSpec()
        sharded = jax.shard_map(
            local, mesh=mesh, in_specs=(rows, rows, everywhere, rows, rows), out_specs=everywhere
        )
        t = jnp.asarray(0.17)
        one = jax.jit(jax.value_and_grad(dense, argnums=(0, 1, 2)))(a, b, t)
        many = jax.jit(
            jax.value_and_grad(lambda a, b, t: sharded(a, b, t, mask, equal), argnums=(0, 1, 2))
        )(a, b, t)
        for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
            np.testing.assert_allclose(y, x, rtol=1e-12, atol=1e-14)
    assert float(one[0]) == pytest.approx(
        reference(a, b, 0.17, mask, masked_negatives, equal), rel=1e-12
    )


@pytest.mark.parametrize("form", ["dense", "gathered", "ring"])
def test_one_direction_is_the_cross_entropy_of_the_rows(form):
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 7, 3))
    mask = np.arange(7) != 2
    with jax.enable_x64(True):
        one, whole = (
            jax.jit(info_nce)(a, b, 0.2, Pairs(mask=mask, form=form, direction=direction))
            for direction in ("a_to_b", "both")
        )
        back = jax.jit(info_nce)(b, a, 0.2, Pairs(mask=mask, form=form, direction="a_to_b"))
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    logits = unit[0] @ unit[1].T / 0.2
    rows = np.log(np.exp(logits).sum(1)) - np.diagonal(logits)
    assert float(one) == pytest.approx(rows[mask].mean(), rel=1e-12)
    assert float(one + back) == pytest.approx(float(whole), rel=1e-12)
    with pytest.raises(PrimusError, match="direction 'b_to_a'"):
        info_nce(a, b, 0.2, Pairs(direction="b_to_a"))
    with pytest.raises(PrimusError, match="sigmoid loss, which counts each pair once"):
        sigmoid(a, b, 0.2, -1.0, Pairs(direction="a_to_b"))


def test_pairs_may_be_an_argument_of_a_traced_function():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 8, 3)).astype(np.float32)
    mask, equal = np.arange(8) != 3, np.array([0, 1, 0, 2, -1, -1, 1, 0], np.int32)
    slope = jax.jit(jax.grad(info_nce))
    expected = jax.jit(jax.grad(lambda a: info_nce(a, b, 0.1, Pairs(mask, equal))))(a)
    argument = slope(a, b, 0.1, Pairs(mask, equal))
    np.testing.assert_allclose(argument, expected, rtol=1e-5, atol=1e-6)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:2])
    rows = PartitionSpec("data")
    sharded = jax.shard_map(
        lambda a, b, pairs: info_nce(a, b, 0.1, pairs),
        mesh=mesh,
        in_specs=(rows, rows, rows),
        out_specs=PartitionSpec(),
    )
    split = jax.jit(jax.grad(sharded))(a, b, Pairs(mask, equal, axis_name="data"))
    np.testing.assert_allclose(split, expected, rtol=1e-5, atol=1e-6)
    assert Pairs(form="ring") == Pairs(form="ring")
    assert hash(Pairs(form="ring")) == hash(Pairs(form="ring"))
