"""The matrix of motif distances: values, blocks, memory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.relcon_golden import assert_close, golden, golden_params

from primus_jax.models.compute import ComputeConfig
from primus_jax.models.motif import MotifConfig
from primus_jax.models.motif_matrix import motif_distances

CONFIG = MotifConfig(features=8, blocks=1)
TIME = 24


@pytest.fixture(scope="module")
def case():
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = (6, TIME, 3), (9, TIME, 3), (6, 4, TIME, 3)
    windows = [jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=False)]
    return CONFIG.build().init(keys[3], jnp.zeros((1, TIME, 6)))["params"], windows


def matrix(params, windows, pairs, compute=None, attention="sparsemax"):
    module = CONFIG.build() if compute is None else CONFIG.build(compute)
    return motif_distances(module, params, *windows, attention=attention, pairs=pairs)


def test_every_entry_is_the_distance_of_its_pair(case):
    params, (anchors, everybody, own) = case
    module, variables = CONFIG.build(), {"params": params}

    @jax.jit
    def one(anchor, candidate):
        memory = module.apply(variables, candidate, method="remember")
        return module.apply(variables, anchor, memory, "sparsemax", method="distance")

    expected = [
        [one(a, c) for c in everybody] + [one(a, c) for c in mine]
        for a, mine in zip(anchors, own, strict=True)
    ]
    for pairs in (1, 5, 12, 10_000):
        ours = jax.jit(matrix, static_argnums=2)(params, case[1], pairs)
        np.testing.assert_allclose(ours, expected, rtol=2e-4)


def test_memory_follows_the_block_and_not_the_matrix(case):
    def bytes_of(rows, pairs):
        shapes = (rows, TIME, 3), (rows, TIME, 3), (rows, 2, TIME, 3)
        windows = [jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes]
        compiled = jax.jit(matrix, static_argnums=2).lower(case[0], windows, pairs).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    few, many = bytes_of(16, 16), bytes_of(64, 16)
    attention = TIME * TIME * 4
    assert many - few < 16 * attention  # sixteen times the pairs, not one more block
    assert bytes_of(64, 64 * 64) > 64 * 64 * attention


def test_nothing_flows_back_into_weights_or_windows(case):
    value = lambda params, windows: matrix(params, windows, 12).sum()  # noqa: E731
    for slope in jax.tree.leaves(jax.jit(jax.grad(value, (0, 1)))(*case)):
        assert not np.any(slope)


@pytest.mark.slow
def test_bfloat16_ranks_almost_alike(case):
    exact, rough = matrix(*case, 54), matrix(*case, 54, ComputeConfig("bfloat16"))
    assert rough.dtype == jnp.float32
    np.testing.assert_allclose(rough, exact, rtol=0.1)
    assert np.any(rough != exact)


@pytest.mark.slow
def test_the_distances_of_the_original_step():
    with jax.enable_x64(True):
        config, theirs = MotifConfig(features=16), golden("relcon.step/small")
        params = golden_params("motifdist.weights/small", config)
        anchors, own = (jnp.float64(theirs[f"in/{n}"]) for n in ("anchors", "candidates"))
        attention = "softmax" if "softmax" in str(theirs["opt/attention"]) else "sparsemax"
        ours = motif_distances(
            config.build(), params, anchors, anchors, own, attention=attention, pairs=8
        )
        for anchor in range(4):
            shifts = [(anchor + shift) % 4 for shift in (1, 2, 3)]
            row = jnp.concatenate([ours[anchor, jnp.array(shifts)], ours[anchor, 4:]])
            assert_close(row, theirs["out/distances"][:, anchor], 1e-8)
