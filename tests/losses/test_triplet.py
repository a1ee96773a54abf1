"""The triplet loss: a slow reference, which negatives are chosen, sharded = dense."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from primus_jax.errors import PrimusError
from primus_jax.losses.pairs import Pairs
from primus_jax.losses.triplet import NEGATIVES, triplet

BATCH, DIM = 24, 4


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, BATCH, DIM))
    mask = rng.random(BATCH) < 0.7
    equal = rng.integers(-1, 5, BATCH).astype(np.int32)
    equal[:4] = 3
    return a, b, mask, equal


def candidates(i, mask, equal):
    """Places of the negatives of row i, the row before first."""
    before = [(i - shift) % BATCH for shift in range(1, BATCH)]
    return [j for j in before if mask[j] and (equal[i] < 0 or equal[i] != equal[j])]


def reference(a, b, mask, equal, negatives, margin):
    """Equation 13 one row at a time, in float64."""
    value, square = 0.0, lambda x, y: ((x - y) ** 2).sum()
    for i in np.flatnonzero(mask):
        found = candidates(i, mask, equal)
        if negatives == "cyclic":
            found = found[:1]
        if negatives == "hardest":
            found = [min(found, key=lambda j: square(a[i], b[j]))]
        value += sum(max(0, square(a[i], b[i]) - square(a[i], b[j]) + margin) for j in found)
    return value


def value_and_gradient(devices=1, **options):
    """Jitted (a, b, mask, equal) -> (loss, gradients of both sides)."""
    key = jax.random.key(5)

    def local(a, b, mask, equal, axis_name=None):
        return triplet(a, b, Pairs(mask, equal, axis_name=axis_name), key=key, **options)

    if devices == 1:
        return jax.jit(jax.value_and_grad(local, argnums=(0, 1)))
    mesh = jax.make_mesh((devices,), ("data",), (AxisType.Auto,), devices=jax.devices()[:devices])
    rows = PartitionSpec("data")
    sharded = jax.shard_map(
        functools.partial(local, axis_name="data"),
        mesh=mesh,
        in_specs=(rows,) * 4,
        out_specs=PartitionSpec(),
    )
    return jax.jit(jax.value_and_grad(sharded, argnums=(0, 1)))


@pytest.mark.parametrize("negatives", ["cyclic", "hardest", "all"])
def test_equals_the_definition_with_absent_and_equal_targets(arrays, negatives):
    with jax.enable_x64(True):
        value, _ = value_and_gradient(negatives=negatives, margin=0.7)(*arrays)
    assert float(value) == pytest.approx(reference(*arrays, negatives, 0.7), rel=1e-12)


@pytest.mark.parametrize(
    "devices", [8, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3, 4, 6))]
)
@pytest.mark.parametrize("negatives", NEGATIVES)
def test_sharded_equals_dense(arrays, negatives, devices):
    options = {"negatives": negatives, "reduction": "mean", "unit": True}
    with jax.enable_x64(True):
        one = value_and_gradient(**options)(*arrays)
        many = value_and_gradient(devices, **options)(*arrays)
    assert float(one[0]) > 0
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True):
        np.testing.assert_allclose(y, x, rtol=1e-12, atol=1e-14)


def test_slopes_are_those_of_finite_differences(arrays):
    way = np.random.default_rng(1).normal(size=(BATCH, DIM))
    step = 1e-6
    for negatives in NEGATIVES:
        with jax.enable_x64(True):
            run = value_and_gradient(negatives=negatives)
            a, *rest = arrays
            gradient = np.asarray(run(*arrays)[1][0])
            above, below = (float(run(a + d * way, *rest)[0]) for d in (step, -step))
        slope = (above - below) / (2 * step)
        assert slope == pytest.approx(float((gradient * way).sum()), rel=1e-6)


def test_random_negatives_are_drawn_by_the_key_and_never_forbidden():
    # Row i of b is i on its own axis: what a margin leaves tells which negative was drawn.
    b = np.eye(8, dtype=np.float32) * np.sqrt(np.arange(1, 9, dtype=np.float32))
    a = np.zeros((8, 8), np.float32)
    mask = np.arange(8) != 5
    equal = np.array([1, 1, 1, -1, -1, 9, -1, -1], np.int32)

    @jax.jit
    def drawn(seed):
        loss = lambda b: triplet(  # noqa: E731
            a, b, Pairs(mask, equal), negatives="random", margin=100.0, key=jax.random.key(seed)
        )
        return jax.jacrev(loss)(b)

    pushed = [np.asarray(drawn(seed)) for seed in range(60)]
    counts = sum(x for x in pushed)
    assert np.abs(counts[5]).max() == 0
    assert any((x != y).any() for x, y in itertools.pairwise(pushed))
    # Each of the seven rows pulls its own target and pushes one other: the sum of signs is zero.
    axis = np.diagonal(np.stack(pushed), axis1=1, axis2=2) / (2 * np.sqrt(np.arange(1, 9)))
    np.testing.assert_allclose(axis.sum(1), 0, atol=1e-4)
    # Row 0 may draw 3, 4, 6, 7: rows 1 and 2 are equal, row 5 is absent; all rows push something.
    assert (np.abs(axis).max(0) > 0).sum() == 7


def test_no_negative_is_no_loss():
    rows, key = np.ones((4, 3), np.float32), jax.random.key(0)

    @functools.partial(jax.jit, static_argnames="negatives")
    def run(a, pairs, negatives):
        loss = functools.partial(triplet, negatives=negatives, reduction="mean", key=key)
        return jax.value_and_grad(loss)(a, rows, pairs)

    for negatives in NEGATIVES:
        for pairs in (Pairs(equal=np.zeros(4, np.int32)), Pairs(mask=np.zeros(4, bool))):
            value, gradient = run(2 * rows, pairs, negatives)
            assert value == 0
            np.testing.assert_array_equal(gradient, 0)


def test_half_precision_is_widened():
    rows = jnp.full((4, 512), 60, jnp.float16)
    value = jax.jit(functools.partial(triplet, negatives="all"))(-rows, rows)
    assert value.dtype == jnp.float32
    assert value == pytest.approx(12.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"negatives": "nearest"}, "'nearest'.*cyclic"),
        ({"reduction": "none"}, "'none'.*mean"),
        ({"negatives": "random"}, "needs a key"),
    ],
)
def test_wrong_arguments_are_named(options, words):
    with pytest.raises(PrimusError, match=words):
        triplet(np.ones((2, 2), np.float32), np.ones((2, 2), np.float32), **options)
