"""The losses that rank: golden numbers, a slow reference, ties, meshes, extremes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from support.relcon_golden import assert_close, golden

from primus_jax.errors import PrimusError
from primus_jax.losses.relative import (
    Ranking,
    agreement,
    hard_loss,
    log_ratio_loss,
    relative_loss,
)
from primus_jax.parallel.sharding import make_mesh

SIZES = ("5x3x16", "3x2x4", "8x20x32", "ties")


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def by_column(shifts):
    """Distances by shift `[batch - 1 + K, batch]` as ours, `[batch, batch + K]`; own: nonsense."""
    batch = shifts.shape[1]
    ours = np.full((batch, shifts.shape[0] + 1), -1e9)
    for anchor in range(batch):
        for shift in range(1, batch):
            ours[anchor, (anchor + shift) % batch] = shifts[shift - 1, anchor]
        ours[anchor, batch:] = shifts[batch - 1 :, anchor]
    return ours


def random_case(batch, own, dim=6, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    distances = rng.uniform(1, 9, size=(batch, batch + own))
    if ties:
        distances = np.round(distances)
    return rng.normal(size=(batch, dim)), rng.normal(size=(batch, own, dim)), distances


def slow_losses(anchors, candidates, distances, temperature, present=None):
    """The equation, one anchor and one candidate at a time: relative, hard, log-ratio."""
    batch, own = candidates.shape[:2]
    unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)  # noqa: E731
    sums = np.zeros(3)
    for i in range(batch):
        others = [j for j in range(batch) if j != i]
        mine = [k for k in range(own) if present is None or present[i, k]]
        rows = np.concatenate([anchors[others], candidates[i][mine]])
        cosine = unit(rows) @ unit(anchors[i])
        d = np.concatenate([distances[i, others], distances[i, batch:][mine]])
        e = np.exp(cosine / temperature)
        for c in range(len(d)):
            sums[0] -= np.log(e[c] / (e[c] + e[d > d[c]].sum()))
        sums[1] -= np.log(e[d.argmin()] / e.sum())
        u = np.log(2 - 2 * cosine + 1e-6) - np.log(d + 1e-6)
        pairs = [(u[a] - u[b]) ** 2 for a in range(len(d)) for b in range(a)]
        sums[2] += np.mean(pairs)
    return sums / batch


@functools.partial(jax.jit, static_argnames=("kind", "ties"))
def value_and_slopes(anchors, candidates, distances, temperature, kind="relative", ties="fair"):
    def loss(anchors, candidates):
        ranking = Ranking(anchors, candidates, distances)
        if kind == "relative":
            return relative_loss(ranking, temperature, ties)
        return hard_loss(ranking, temperature) if kind == "hard" else log_ratio_loss(ranking)

    return jax.value_and_grad(loss, (0, 1))(anchors, candidates)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("rule", ["released", "paper"])
def test_golden(float64, size, rule):
    for temperature in (0.1, 1.0):
        name = f"{size}_tau{temperature:g}"
        given, theirs = golden(f"relcon.loss.released/{name}"), golden(f"relcon.loss.{rule}/{name}")
        ties = "fair" if rule == "paper" else "released"
        value, (anchors, candidates) = value_and_slopes(
            given["in/anchors"],
            given["in/candidates"],
            by_column(given["in/distances"]),
            temperature,
            ties=ties,
        )
        assert_close(value, theirs["out/loss"], 1e-9)
        assert_close(anchors, theirs["grad/anchors"], 1e-9)
        assert_close(candidates, theirs["grad/candidates"], 1e-9)


def test_the_two_rules_differ_where_distances_tie(float64):
    given = golden("relcon.loss.released/ties_tau0.1")
    arrays = given["in/anchors"], given["in/candidates"], by_column(given["in/distances"])
    fair, released = (value_and_slopes(*arrays, 0.1, ties=t)[0] for t in ("fair", "released"))
    assert released > fair + 0.01


def test_golden_of_the_hard_loss(float64):
    given = golden("relcon.loss.hard/5x3x16")
    value, (anchors, candidates) = value_and_slopes(
        given["in/anchors"],
        given["in/candidates"],
        by_column(given["in/distances"]),
        given["opt/tau"],
        kind="hard",
    )
    assert_close(value, given["out/loss"], 1e-9)
    assert_close(anchors, given["grad/anchors"], 1e-9)
    assert_close(candidates, given["grad/candidates"], 1e-9)


@pytest.mark.parametrize(("batch", "own"), [(7, 3), (2, 1), (12, 5), (4, 0)])
@pytest.mark.parametrize("ties", [False, True])
def test_all_three_equal_the_slow_reference(float64, batch, own, ties):
    case = random_case(batch, own, seed=batch, ties=ties)
    expected = slow_losses(*case, 0.3)
    for kind, value in zip(("relative", "hard", "log_ratio"), expected, strict=True):
        # of equally near candidates the reference takes the first of its own order
        if not (ties and kind == "hard"):
            assert float(value_and_slopes(*case, 0.3, kind=kind)[0]) == pytest.approx(value, 1e-9)


@pytest.mark.slow
def test_missing_candidates_are_neither_positive_nor_negative(float64):
    anchors, candidates, distances = random_case(5, 4, seed=3)
    present = np.random.default_rng(0).random((5, 4)) < 0.5
    present[0] = False
    expected = slow_losses(anchors, candidates, distances, 0.2, present)
    ranking = Ranking(anchors, candidates, distances, present)
    values = relative_loss(ranking, 0.2), hard_loss(ranking, 0.2), log_ratio_loss(ranking)
    np.testing.assert_allclose(values, expected, rtol=1e-9)
    slope = jax.grad(lambda c: relative_loss(Ranking(anchors, c, distances, present), 0.2))
    slopes = np.abs(slope(candidates)).sum(-1)
    assert (slopes[~present] == 0).all()
    assert (slopes[present] > 0).any()


@pytest.mark.parametrize("kind", ["relative", "hard", "log_ratio"])
def test_gradients_are_those_of_finite_differences(float64, kind):
    anchors, candidates, distances = random_case(4, 2, seed=5, ties=True)
    rng = np.random.default_rng(1)
    steps = rng.normal(size=anchors.shape) * 1e-6, rng.normal(size=candidates.shape) * 1e-6
    value = lambda sign: value_and_slopes(  # noqa: E731
        anchors + sign * steps[0], candidates + sign * steps[1], distances, 0.2, kind=kind
    )[0]
    _, slopes = value_and_slopes(anchors, candidates, distances, 0.2, kind=kind)
    expected = sum(float((slope * step).sum()) for slope, step in zip(slopes, steps, strict=True))
    assert float(value(1) - value(-1)) / 2 == pytest.approx(expected, rel=1e-6)


def test_distances_take_no_gradient():
    anchors, candidates, distances = (np.float32(x) for x in random_case(4, 2))
    slope = jax.grad(lambda d: relative_loss(Ranking(anchors, candidates, d), 0.1))(distances)
    assert not np.any(slope)


@pytest.mark.parametrize(
    "devices", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 4, 6, 8))]
)
def test_dense_and_sharded_agree(devices):
    anchors, candidates, distances = (np.float32(x) for x in random_case(24, 3, ties=True))
    present = np.arange(72).reshape(24, 3) % 5 > 0
    rows = PartitionSpec("data")

    def losses(ranking):
        values = relative_loss(ranking, 0.1), hard_loss(ranking, 0.1), log_ratio_loss(ranking)
        return sum(values), (*values, agreement(ranking))

    def dense(anchors, candidates):
        return losses(Ranking(anchors, candidates, distances, present))

    def sharded(anchors, candidates):
        local = lambda *arrays: losses(Ranking(*arrays, axis_name="data"))  # noqa: E731
        return jax.shard_map(
            local, mesh=make_mesh(devices), in_specs=rows, out_specs=PartitionSpec()
        )(anchors, candidates, distances, present)

    expected, slopes = jax.jit(jax.value_and_grad(dense, (0, 1), has_aux=True))(anchors, candidates)
    values, grads = jax.jit(jax.value_and_grad(sharded, (0, 1), has_aux=True))(anchors, candidates)
    np.testing.assert_allclose(values[1], expected[1], rtol=1e-5)
    for mine, theirs in zip(grads, slopes, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5 * np.abs(theirs).max())


@pytest.mark.parametrize("temperature", [0.01, 1e-4])
def test_a_small_temperature_keeps_its_digits(float64, temperature):
    anchors, candidates, distances = random_case(16, 4, seed=9)
    exact = value_and_slopes(anchors, candidates, distances, temperature)
    rough = value_and_slopes(
        *(np.float32(x) for x in (anchors, candidates, distances)), np.float32(temperature)
    )
    assert np.isfinite(float(exact[0]))
    assert float(rough[0]) == pytest.approx(float(exact[0]), rel=1e-3)
    for mine, theirs in zip(rough[1], exact[1], strict=True):
        assert np.isfinite(mine).all()
        np.testing.assert_allclose(mine, theirs, atol=2e-2 * np.abs(theirs).max())


def test_embeddings_that_are_all_equal_have_a_finite_gradient():
    anchors, candidates, distances = (np.float32(x) for x in random_case(5, 2))
    for kind in ("relative", "hard", "log_ratio"):
        value, slopes = value_and_slopes(
            np.ones_like(anchors), np.ones_like(candidates), distances, 0.1, kind=kind
        )
        assert np.isfinite(value)
        assert all(np.isfinite(x).all() for x in slopes)


def test_no_loop_over_candidates_is_unrolled():
    def size(batch):
        case = (jnp.zeros((batch, 4)), jnp.zeros((batch, 2, 4)), jnp.zeros((batch, batch + 2)))
        return len(str(jax.make_jaxpr(lambda *x: relative_loss(Ranking(*x), 0.1))(*case)))

    assert size(512) < 3 * size(32)


def test_bad_shapes_and_rules_are_refused():
    anchors, candidates, distances = random_case(4, 2)
    with pytest.raises(PrimusError, match="distances"):
        relative_loss(Ranking(anchors, candidates, distances[:, 1:]), 0.1)
    with pytest.raises(PrimusError, match="own candidates"):
        relative_loss(Ranking(anchors, candidates[:, :, :2], distances), 0.1)
    with pytest.raises(PrimusError, match="ties"):
        relative_loss(Ranking(anchors, candidates, distances), 0.1, "none")
