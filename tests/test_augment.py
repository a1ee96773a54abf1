"""Each augmentation does what its equation says, per window, whatever the batch it is in."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from primus_jax import augment as aug
from primus_jax.errors import PrimusError

TIME = 250


@pytest.fixture(scope="module")
def imu():
    return jax.random.normal(jax.random.key(7), (TIME, 6), jnp.float32)


def many(function, imu, count=400):
    keys = jax.random.split(jax.random.key(0), count)
    return np.asarray(jax.jit(jax.vmap(lambda key: function(key, imu)))(keys), np.float64)


def test_noise_has_its_deviation(imu):
    added = many(lambda k, x: aug.noise(k, x, 0.3), imu) - np.asarray(imu)
    assert added.std() == pytest.approx(0.3, rel=0.01)
    assert added.mean() == pytest.approx(0, abs=0.003)


def test_scale_is_one_gain_per_channel_or_per_step(imu):
    gains = many(lambda k, x: aug.scale(k, x, 0.25), imu) / np.asarray(imu)
    np.testing.assert_allclose(gains.std(axis=1), 0, atol=2e-3)
    assert gains[:, 0].std() == pytest.approx(0.25, rel=0.05)
    gains = many(lambda k, x: aug.scale(k, x, 0.25, "step"), imu) / np.asarray(imu)
    np.testing.assert_allclose(gains.std(axis=2), 0, atol=2e-3)
    assert gains[:, :, 0].std() == pytest.approx(0.25, rel=0.05)


def test_rotation_is_one_rotation_for_both_sensors_within_its_angle(imu):
    turned = many(lambda k, x: aug.rotate(k, x, 30.0), imu, 200)
    x = np.asarray(imu, np.float64)
    angles = []
    for window in turned:
        matrix = np.linalg.lstsq(x[:, :3], window[:, :3], rcond=None)[0].T
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-5)
        assert np.linalg.det(matrix) == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(x[:, 3:] @ matrix.T, window[:, 3:], atol=1e-4)
        angles.append(np.degrees(np.arccos(np.clip((np.trace(matrix) - 1) / 2, -1, 1))))
    assert max(angles) <= 30.01
    assert max(angles) > 25
    assert np.mean(angles) == pytest.approx(15, abs=2)


def test_negation_and_flip_happen_with_their_probability(imu):
    x = np.asarray(imu, np.float64)
    negated = many(lambda k, x: aug.negate(k, x, 0.3), imu)
    is_negated = (negated == -x).all(axis=(1, 2))
    assert ((negated == x).all(axis=(1, 2)) | is_negated).all()
    assert is_negated.mean() == pytest.approx(0.3, abs=0.07)
    flipped = many(lambda k, x: aug.flip(k, x, 1.0), imu, 3)
    assert (flipped == x[::-1]).all()


def test_sensor_dropout_silences_whole_gyroscopes_with_its_probability(imu):
    x = np.asarray(imu, np.float64)
    dropped = many(lambda k, x: aug.drop_gyro(k, x, 0.3), imu)
    silent = (dropped[:, :, 3:] == 0).all(axis=(1, 2))
    assert ((dropped == x).all(axis=(1, 2)) | silent).all()
    assert (dropped[:, :, :3] == x[:, :3]).all()
    assert silent.mean() == pytest.approx(0.3, abs=0.07)


def test_sensor_dropout_comes_last_and_changes_no_other_draw(imu):
    """Noise, gains and rotations leave its zeros alone, and are those of a run without it."""
    options = {"noise": 0.3, "scale": 0.2, "rotation_degrees": 30.0, "warp": 0.2}
    configs = (aug.AugmentConfig(**options, drop_gyro=p) for p in (0.0, 0.5))
    without, half = (
        many(functools.partial(aug.augment, config=config), imu, 64) for config in configs
    )
    silent = (half[:, :, 3:] == 0).all(axis=(1, 2))
    assert 0 < silent.sum() < 64
    np.testing.assert_array_equal(half[~silent], without[~silent])
    np.testing.assert_array_equal(half[:, :, :3], without[:, :, :3])


def test_permutation_moves_whole_pieces_cut_independently_per_window():
    clock = jnp.tile(jnp.arange(TIME, dtype=jnp.float32)[:, None], (1, 6))
    shuffled = many(lambda k, x: aug.permute_segments(k, x, 5), clock)[..., 0].astype(int)
    assert (np.sort(shuffled, axis=1) == np.arange(TIME)).all()
    breaks = (np.diff(shuffled, axis=1) != 1).sum(axis=1)
    assert breaks.max() == 4
    assert breaks.min() == 0
    cuts = {tuple(np.flatnonzero(np.diff(row) != 1)) for row in shuffled}
    assert len(cuts) > 300


def test_warp_keeps_the_ends_and_the_order_of_time():
    clock = jnp.tile(jnp.arange(TIME, dtype=jnp.float32)[:, None], (1, 6))
    warped = many(lambda k, x: aug.warp_time(k, x, 0.3, 4), clock, 100)[..., 0]
    assert (np.diff(warped, axis=1) > 0).all()
    np.testing.assert_allclose(warped[:, 0], 0, atol=1e-4)
    np.testing.assert_allclose(warped[:, -1], TIME - 1, atol=1e-2)
    assert np.abs(warped - np.arange(TIME)).max() > 5


def test_a_window_does_not_depend_on_the_rest_of_the_batch(imu):
    config = aug.AugmentConfig(
        noise=0.1, scale=0.2, rotation_degrees=30, negate=0.5, flip=0.5, segments=4, warp=0.2
    )
    keys = jax.random.split(jax.random.key(1), 6)
    batch = jax.random.normal(jax.random.key(2), (6, TIME, 6), jnp.float32)
    run = jax.jit(functools.partial(aug.augment_batch, config=config))
    together, alone = run(keys, batch), run(keys[2:4], batch[2:4])
    np.testing.assert_allclose(alone, together[2:4], atol=1e-6)
    assert np.isfinite(together).all()


def test_nothing_switched_on_changes_nothing(imu):
    same = jax.jit(functools.partial(aug.augment, config=aug.AugmentConfig()))(
        jax.random.key(0), imu
    )
    np.testing.assert_array_equal(same, imu)


@pytest.mark.parametrize(
    "values",
    [
        {"scale_per": "axis"},
        {"noise": -1.0},
        {"negate": 1.5},
        {"rotation_degrees": 270.0},
        {"drop_gyro": 1.5},
        {"segments": 1},
        {"warp": float("nan")},
    ],
)
def test_values_that_mean_nothing_are_refused_by_name(values):
    with pytest.raises(PrimusError, match="second_view"):
        aug.AugmentConfig(**values).validate("second_view")
