"""MotifDist against the original program, against plain NumPy, and inside a mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from jax.sharding import PartitionSpec
from support.relcon_golden import assert_close, golden, golden_params

from primus_jax.errors import PrimusError
from primus_jax.hub.layout import layout
from primus_jax.models.compute import mark_varying
from primus_jax.models.motif import MotifConfig, border_gain
from primus_jax.models.sparsemax import sparsemax
from primus_jax.parallel.sharding import make_mesh

SMALL, PUBLISHED = MotifConfig(features=16), MotifConfig()
CONFIGS = {"small": SMALL, "config": PUBLISHED}


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def rebuilt(config, params, anchor, candidate, attention, keep=None):
    module, variables = config.build(), {"params": params}
    memory = module.apply(variables, candidate, method="remember")
    return module.apply(variables, anchor, memory, attention, keep, method="rebuild")


def distance(config, params, anchor, candidate, attention):
    module, variables = config.build(), {"params": params}
    memory = module.apply(variables, candidate, method="remember")
    return module.apply(variables, anchor, memory, attention, method="distance")


@pytest.mark.parametrize(
    ("dtype", "case"),
    [
        (np.float32, "config"),
        (np.float64, "small"),
        pytest.param(np.float32, "small", marks=pytest.mark.slow),
        pytest.param(np.float64, "config", marks=pytest.mark.slow),
    ],
)
def test_measures_as_the_original_both_ways(float64, case, dtype):
    tolerance = 1e-8 if dtype == np.float64 else 1e-5
    config = CONFIGS[case]
    params = golden_params(f"motifdist.weights/{case}", config, dtype)
    pair = golden(f"motifdist.pair/{case}")
    anchor, candidate = (jnp.asarray(pair[f"in/{n}"], dtype) for n in ("anchor", "candidate"))
    for group, attention in (("released", "softmax"), ("paper", "sparsemax")):
        theirs = golden(f"motifdist.measure.{group}/{case}")
        ours = rebuilt(config, params, anchor, candidate, attention)
        assert ours.dtype == dtype
        assert_close(ours, theirs["out/reconstruction"], tolerance)
        ours = distance(config, params, anchor, candidate, attention)
        assert_close(ours, theirs["out/distance_anchor_candidate"], tolerance)
        ours = distance(config, params, candidate, anchor, attention)
        assert_close(ours, theirs["out/distance_candidate_anchor"], tolerance)


def test_its_attention_is_that_of_the_original(float64):
    params = golden_params("motifdist.weights/small", SMALL)
    pair, theirs = golden("motifdist.pair/small"), golden("motifdist.measure.paper/small")
    module, variables = SMALL.build(), {"params": params}
    memory = module.apply(variables, jnp.float64(pair["in/candidate"]), method="remember")
    anchor = jnp.float64(pair["in/anchor"])
    ours = module.apply(variables, anchor, memory, "sparsemax", method="attention")
    assert_close(ours, theirs["out/attention"], 1e-8)
    assert float((ours == 0).mean()) == pytest.approx(float(theirs["out/zero_fraction"]))


@pytest.mark.parametrize(
    ("case", "dtype"),
    [
        ("small", np.float64),
        pytest.param("small", np.float32, marks=pytest.mark.slow),
        pytest.param("config", np.float64, marks=pytest.mark.slow),
        pytest.param("config", np.float32, marks=pytest.mark.slow),
    ],
)
def test_its_training_loss_and_gradients_are_those_of_the_original(float64, case, dtype):
    config, theirs = CONFIGS[case], golden(f"motifdist.train/{case}")
    params = golden_params(f"motifdist.weights/{case}", config, dtype)
    pair = golden(f"motifdist.pair/{case}")
    anchor, candidate = (jnp.asarray(pair[f"in/{n}"], dtype) for n in ("anchor", "candidate"))

    def loss(params):
        return jnp.sum((rebuilt(config, params, anchor, candidate, "sparsemax") - anchor) ** 2)

    value, grads = jax.jit(jax.value_and_grad(loss))(params)
    tolerance = 1e-8 if dtype == np.float64 else 1e-5
    assert_close(value, theirs["out/loss"], tolerance)
    grads, checked = flatten_dict(grads), 0
    for name, (path, _) in layout(config).items():
        if f"grad/{name}" in theirs:
            assert_close(grads[path].T, theirs[f"grad/{name}"], tolerance)
            checked += 1
    assert checked == (34 if case == "small" else 5)


def test_dropout_keeps_what_the_original_keeps(float64):
    params = golden_params("motifdist.weights/small", SMALL)
    pair, theirs = golden("motifdist.pair/small"), golden("motifdist.train_dropout/small")
    shape = tuple(theirs["in/keep_shape"])
    keep = np.unpackbits(theirs["in/keep"])[: np.prod(shape)].reshape(shape)
    keep = jnp.float64(keep / (1 - theirs["opt/dropout"]))
    anchor, candidate = (jnp.float64(pair[f"in/{n}"]) for n in ("anchor", "candidate"))
    ours = rebuilt(SMALL, params, anchor, candidate, "sparsemax", keep)
    assert_close(ours, theirs["out/reconstruction"], 1e-8)
    assert_close(jnp.sum((ours - anchor) ** 2), theirs["out/loss"], 1e-8)


def test_the_published_sizes():
    for config, count in ((PUBLISHED, 58_617), (MotifConfig(features=256, blocks=5), 2_006_505)):
        window = jax.ShapeDtypeStruct((1, 256, 6), jnp.float32)
        shapes = jax.eval_shape(config.build().init, jax.random.key(0), window)["params"]
        assert sum(x.size for x in jax.tree.leaves(shapes)) == count
        assert {path: x.shape[::-1] for path, x in flatten_dict(shapes).items()} == dict(
            layout(config).values()
        )


def slow_sparsemax(row):
    """Martins and Astudillo's algorithm 1, by sorting."""
    ordered = np.sort(row)[::-1]
    sums = np.cumsum(ordered)
    support = np.flatnonzero(1 + np.arange(1, len(row) + 1) * ordered > sums)[-1]
    return np.maximum(row - (sums[support] - 1) / (support + 1), 0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e6])
def test_sparsemax_is_the_projection_by_sorting(float64, scale):
    rows = np.random.default_rng(0).normal(size=(50, 40)) * scale
    rows[0], rows[1, :20] = 3.0, rows[1].max()  # all equal; half of them tied at the top
    ours = np.asarray(sparsemax(jnp.asarray(rows)))
    np.testing.assert_allclose(ours, [slow_sparsemax(row) for row in rows], atol=1e-9)
    single = sparsemax(jnp.asarray(rows, jnp.float32))
    np.testing.assert_allclose(single.sum(-1), 1, atol=1e-5)


def test_the_derivative_of_sparsemax_is_that_of_finite_differences(float64):
    rng = np.random.default_rng(1)
    rows, weight = jnp.asarray(rng.normal(size=(6, 12))), jnp.asarray(rng.normal(size=(6, 12)))
    step = jnp.asarray(rng.normal(size=(6, 12)) * 1e-6)
    value = lambda x: jnp.sum(sparsemax(x) * weight)  # noqa: E731
    difference = (value(rows + step) - value(rows - step)) / 2
    assert float(jnp.sum(jax.grad(value)(rows) * step)) == pytest.approx(float(difference), 1e-6)


def test_borders_weigh_as_much_as_the_middle():
    gain = border_gain(40, 3)[:, 0]
    np.testing.assert_allclose(gain[7:-7], 1, rtol=1e-9)
    np.testing.assert_allclose(gain[:3], [15 / 8, 15 / 9, 15 / 10], rtol=1e-9)
    np.testing.assert_allclose(gain, gain[::-1])


@pytest.mark.slow
def test_it_works_inside_a_mesh():
    params = SMALL.build().init(jax.random.key(0), jnp.zeros((1, 32, 6)))["params"]
    windows = jax.random.normal(jax.random.key(1), (4, 32, 3))

    def loss(params, windows):
        params = mark_varying(params, windows)
        values = distance(SMALL, params, windows, windows[:, ::-1], "sparsemax")
        return jax.lax.psum(values.sum(), "data")

    mesh = make_mesh(2)
    everywhere, rows = PartitionSpec(), PartitionSpec("data")
    sharded = jax.shard_map(loss, mesh=mesh, in_specs=(everywhere, rows), out_specs=everywhere)
    value, grads = jax.jit(jax.value_and_grad(sharded))(params, windows)
    plain = lambda p: distance(SMALL, p, windows, windows[:, ::-1], "sparsemax").sum()  # noqa: E731
    expected, slopes = jax.jit(jax.value_and_grad(plain))(params)
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    for ours, theirs in zip(jax.tree.leaves(grads), jax.tree.leaves(slopes), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_bad_settings_and_windows_are_refused():
    for config, words in (
        (MotifConfig(features=20), "multiple of 8"),
        (MotifConfig(attention="hard"), "sparsemax"),
        (MotifConfig(channels=4), "channels"),
        (MotifConfig(multihead=True), "heads"),
    ):
        with pytest.raises(PrimusError, match=words):
            config.validate()
    with pytest.raises(PrimusError, match="at least 15"):
        SMALL.build().init(jax.random.key(0), jnp.zeros((1, 14, 6)))
