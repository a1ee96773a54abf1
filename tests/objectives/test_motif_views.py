"""The eight changes against the original program with its draws, and what two of them do."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.relcon_golden import assert_close, golden

from primus_jax.errors import PrimusError
from primus_jax.objectives import motif_views
from primus_jax.objectives.motif_views import ORDERS, VIEWS, ViewConfig, view

WINDOW = jnp.asarray(np.random.default_rng(0).normal(size=(60, 3)), jnp.float32)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def test_rotations_are_those_of_the_original(float64):
    case = golden("augment.rotation/a")
    for i, (axis, angle) in enumerate(zip(case["in/axes"], case["in/angles"], strict=True)):
        matrix = motif_views.rotation(jnp.asarray(axis), jnp.asarray(angle))
        assert_close(matrix, case["out/matrices"][i], 1e-9)
        assert_close(jnp.float64(case["in/x"][i]) @ matrix, case["out/x"][i], 1e-9)


def test_warps_are_those_of_the_original(float64):
    case = golden("augment.time_warp/a")
    x = golden("augment.rotation/a")["in/x"]
    for i, knots in enumerate(case["in/knots"]):
        assert_close(
            motif_views.play(jnp.asarray(knots), jnp.float64(x[i])), case["out/x"][i], 1e-9
        )


def test_permutations_and_orders_are_those_of_the_original(float64):
    x = golden("augment.rotation/a")["in/x"]
    case = golden("augment.permutation/a")
    for i, (cuts, order) in enumerate(zip(case["in/cuts"], case["in/order"], strict=True)):
        ours = motif_views.arrange(jnp.asarray(cuts), jnp.asarray(order), jnp.asarray(x[i]))
        assert_close(ours, case["out/x"][i], 1e-12)
    case = golden("augment.channel_shuffle/a")
    for i, index in enumerate(case["in/index"]):
        assert_close(motif_views.reorder(index, jnp.asarray(x[i])), case["out/x"][i], 1e-12)


def test_the_orders_are_all_but_the_identity():
    everything = set(itertools.permutations(range(3)))
    assert {tuple(order) for order in ORDERS.tolist()} == everything - {(0, 1, 2)}


@pytest.mark.parametrize("name", VIEWS)
def test_each_change_alone_changes_the_window(name):
    config = ViewConfig(of=(name,), drawn=1)
    changed = jax.jit(lambda key, window: view(key, window, config))(jax.random.key(1), WINDOW)
    assert changed.shape == WINDOW.shape
    assert np.isfinite(changed).all()
    assert (np.abs(changed - WINDOW) > 1e-3).any()
    if name in ("rotation", "negation", "flip", "shuffle", "permutation"):
        lengths = [np.sort(np.linalg.norm(x, axis=1)) for x in (changed, WINDOW)]
        np.testing.assert_allclose(*lengths, rtol=1e-5)


def test_two_different_changes_in_both_orders_are_drawn_for_every_window():
    config = ViewConfig(of=("negation", "scale", "flip"))
    keys = jax.random.split(jax.random.key(0), 64)
    windows = jnp.broadcast_to(WINDOW, (64, *WINDOW.shape))
    copies = jax.jit(jax.vmap(lambda k, w: view(k, w, config)))(keys, windows)
    ratio = np.asarray(copies) / np.asarray(WINDOW)
    flipped = np.asarray(copies) / np.asarray(WINDOW)[::-1]
    both = np.isclose(flipped, -1, rtol=1e-4).all((1, 2))
    scaled = (np.ptp(ratio, axis=1) < 1e-3 * np.abs(ratio).max(1)).all(1)
    assert both.any()
    assert scaled.any()
    assert not np.isclose(ratio, 1).all((1, 2)).any()


def test_the_gyroscope_moves_with_the_accelerometer():
    six = jnp.concatenate([WINDOW, 2 * WINDOW], 1)
    for name in ("rotation", "flip", "shuffle", "permutation"):
        changed = view(jax.random.key(3), six, ViewConfig(of=(name,), drawn=1))
        np.testing.assert_allclose(changed[:, 3:], 2 * changed[:, :3], rtol=1e-5, atol=1e-6)


def test_bad_settings_are_refused():
    for config, words in (
        (ViewConfig(of=("noise", "twirl")), "twirl"),
        (ViewConfig(of=("noise",)), "drawn"),
        (ViewConfig(noise=0.0), "noise"),
    ):
        with pytest.raises(PrimusError, match=words):
            config.validate()
