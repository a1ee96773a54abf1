"""Augmentations of images: golden numbers, their meaning, and one key per image."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.img2imu_golden import golden

from primus_jax.errors import PrimusError
from primus_jax.models.vision import augment, colour, geometry
from primus_jax.models.vision.augment import (
    ALL,
    MOCO_V1,
    MOCO_V2,
    SENSOR_AWARE,
    ImageAugmentConfig,
    augment_images,
)


def images(count=4, height=12, width=20, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.uniform(size=(count, height, width, 3)), jnp.float32)


def channels_last(x):
    return jnp.asarray(np.moveaxis(x, -3, -1))


def keys_of(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


COLOURS = {
    "hue": colour.shift_hue,
    "brightness": colour.brighten,
    "contrast": jax.vmap(colour.stretch_contrast, (0, None)),
    "saturation": colour.saturate,
}


@pytest.mark.parametrize(
    ("name", "factors"),
    [
        ("hue", ("0.1", "-0.35", "0.5")),
        *((name, ("0.6", "1.4")) for name in ("brightness", "contrast", "saturation")),
    ],
)
def test_colours_are_torchvisions(name, factors):
    with jax.enable_x64(True):
        for factor in factors:
            theirs = golden(f"augment.{name}/a_{factor}")
            x, amount = channels_last(theirs["in/x"]), jnp.asarray(theirs["opt/factor"])
            for dtype, tolerance in ((jnp.float64, 1e-6), (jnp.float32, 1e-6)):
                ours = COLOURS[name](x.astype(dtype), amount.astype(dtype))
                np.testing.assert_allclose(ours, channels_last(theirs["out/x"]), atol=tolerance)


@pytest.mark.parametrize("case", ["a_5", "a_-7"])
def test_golden_shift(case):
    theirs = golden(f"augment.translate_x/{case}")
    shift = jax.vmap(geometry.shift_columns, (0, None))
    ours = shift(channels_last(theirs["in/x"]), jnp.asarray(theirs["opt/pixels"], jnp.int32))
    np.testing.assert_array_equal(ours, channels_last(theirs["out/x"]).astype(jnp.float32))


def test_golden_order():
    theirs = golden("augment.permute_x/a_4")
    cuts, order = (jnp.asarray(theirs[f"opt/{name}"], jnp.int32) for name in ("cuts", "order"))
    ours = jax.vmap(geometry.reorder_columns, (0, None, None))(
        channels_last(theirs["in/x"]), cuts, order
    )
    np.testing.assert_array_equal(ours, channels_last(theirs["out/x"]).astype(jnp.float32))


def test_golden_mixing():
    theirs = golden("augment.hue_mix/a")
    with jax.enable_x64(True):
        matrices = jax.vmap(colour.mixing_matrix)(
            jnp.asarray(theirs["in/axes"]), jnp.asarray(theirs["in/angles"])
        )
        np.testing.assert_allclose(matrices, theirs["out/matrices"], atol=1e-12)
        x = jnp.asarray(theirs["in/x"], jnp.float64) / 255
        mixed = jax.vmap(colour.mix_colours)(x, matrices)
        np.testing.assert_allclose(mixed * 255, theirs["out/x"], atol=1e-9)


def test_golden_noise(monkeypatch):
    theirs = golden("augment.jitter/a")
    noise = jnp.asarray(theirs["in/noise"], jnp.float32)
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape, *rest: noise)
    ours = augment.jitter(jax.random.key(0), jnp.asarray(theirs["in/x"], jnp.float32), 0.2)
    np.testing.assert_allclose(ours, theirs["out/x"], atol=1e-6)


def test_a_third_of_a_turn_exchanges_the_axes():
    x = images()
    turned = colour.shift_hue(x, jnp.float32(1 / 3))
    np.testing.assert_allclose(turned, x[..., [2, 0, 1]], atol=1e-6)
    grey = jnp.broadcast_to(x[..., :1], x.shape)
    np.testing.assert_allclose(colour.shift_hue(grey, jnp.float32(0.2)), grey, atol=1e-6)
    slope = jax.grad(lambda x: jnp.sum(colour.shift_hue(x, jnp.float32(0.2))))(grey)
    assert np.isfinite(slope).all()


def test_mixing_keeps_grey_and_the_sum_of_the_axes():
    x = images()
    mixed = jax.vmap(functools.partial(augment.hue_mix, probability=1.0))(keys_of(4), x)
    assert np.abs(mixed - x).max() > 0.1
    np.testing.assert_allclose(mixed.sum(-1), x.sum(-1), atol=1e-5)
    grey = jnp.broadcast_to(x[..., :1], x.shape)
    same = jax.vmap(functools.partial(augment.hue_mix, probability=1.0))(keys_of(4), grey)
    np.testing.assert_allclose(same, grey, atol=1e-5)


def test_a_shift_along_time_is_black_behind():
    x = images(64) + 0.1
    moved = np.asarray(jax.vmap(lambda k, i: augment.translate_x(k, i, 0.45))(keys_of(64), x))
    black = (moved == 0).all((1, 3))
    shifts = black.sum(1)
    assert shifts.max() == 9
    assert shifts.min() == 0
    for before, after, columns in zip(np.asarray(x), moved, black, strict=True):
        kept = after[:, ~columns]
        width = kept.shape[1]
        whole = before[:, :width] if columns[0] else before[:, -width:]
        np.testing.assert_array_equal(kept, whole)


def test_permuted_pieces_are_whole():
    place = jnp.broadcast_to(jnp.arange(20, dtype=jnp.float32)[:, None], (64, 2, 20, 3))
    moved = jax.vmap(lambda k, i: augment.permute_x(k, i, 4))(keys_of(64), place)[:, 0, :, 0]
    breaks = np.diff(np.asarray(moved)) != 1
    assert (np.sort(moved) == np.arange(20)).all()
    assert breaks.sum(1).max() == 3
    assert len({tuple(row) for row in np.asarray(moved).tolist()}) > 55


def test_jitter_is_uniform_and_clipped():
    grey = jnp.full((2, 60, 80, 3), 0.5)
    noise = jax.vmap(lambda k, i: augment.jitter(k, i, 0.1))(keys_of(2), grey) - 0.5
    assert np.abs(noise).max() <= 0.1 + 1e-6
    assert float(noise.mean()) == pytest.approx(0, abs=2e-3)
    assert float(noise.std()) == pytest.approx(0.1 / np.sqrt(3), rel=0.02)
    assert float(augment.jitter(jax.random.key(0), jnp.ones((9, 9, 3)), 0.5).max()) == 1


@pytest.mark.slow
def test_a_crop_is_a_part_of_the_image():
    ramp = jnp.linspace(0, 1, 60)[:, None, None] + jnp.zeros((60, 80, 3))
    across = jnp.linspace(0, 1, 80)[None, :, None] + jnp.zeros((60, 80, 3))
    keys = keys_of(200)
    cropped = np.asarray(jax.vmap(lambda k: augment.crop(k, ramp, 0.2))(keys))
    sideways = np.asarray(jax.vmap(lambda k: augment.crop(k, across, 0.2))(keys))
    assert cropped.min() > -1e-5
    assert cropped.max() < 1 + 1e-5
    heights = np.ptp(cropped[:, :, 0, 0], axis=1)
    areas = heights * np.ptp(sideways[:, 0, :, 0], axis=1)
    assert 0.15 < areas.min() < 0.3
    assert areas.max() > 0.8
    whole = geometry.cut_out(ramp, jnp.zeros(2), jnp.array([60.0, 80.0]))
    np.testing.assert_allclose(whole, ramp, atol=1e-6)


def test_blur_is_scipys_inside():
    from scipy.ndimage import gaussian_filter

    x = images(1, 40, 44)[0]
    ours = np.asarray(geometry.blur(x, jnp.float32(1.3)))
    theirs = gaussian_filter(np.asarray(x), (1.3, 1.3, 0), truncate=8)
    np.testing.assert_allclose(ours[11:-11, 11:-11], theirs[11:-11, 11:-11], atol=1e-5)
    np.testing.assert_allclose(geometry.blur(jnp.ones_like(x), jnp.float32(2.0)), 1, atol=1e-5)


@pytest.mark.slow
def test_probabilities():
    x = images(400, 4, 6)
    for name, function in (
        ("flip", augment.flip),
        ("grey", augment.grey),
        ("blur", augment.blur),
        ("hue_mix", augment.hue_mix),
    ):
        changed = jax.vmap(lambda k, i, f=function: f(k, i, 0.3))(keys_of(400), x)
        share = np.mean(np.abs(np.asarray(changed - x)).max((1, 2, 3)) > 1e-6)
        assert 0.2 < share < 0.4, name
    config = ImageAugmentConfig(brightness=0.4, hue=0.1, colour_probability=0.3)
    changed = augment_images(keys_of(400), x, config)
    assert 0.2 < np.mean(np.abs(np.asarray(changed - x)).max((1, 2, 3)) > 1e-6) < 0.4


@pytest.mark.parametrize("config", [SENSOR_AWARE, MOCO_V1, MOCO_V2, ALL], ids=range(4))
def test_one_key_per_image(config):
    x, keys = images(6), keys_of(6)
    run = jax.jit(functools.partial(augment_images, config=config))
    together = np.asarray(run(keys, x))
    assert together.shape == x.shape
    assert together.min() > -1e-5
    assert together.max() < 1 + 1e-5
    np.testing.assert_allclose(run(keys[::-1], x[::-1])[::-1], together, atol=1e-6)
    same = np.asarray(run(keys, jnp.stack([x[0]] * 6)))
    assert all(np.abs(same[i] - same[j]).max() > 1e-3 for i in range(6) for j in range(i))
    assert np.abs(np.asarray(run(keys_of(6, 1), x)) - together).max() > 0.01


def test_nothing_is_left_out_or_put_in():
    x, keys = images(3), keys_of(3)
    np.testing.assert_array_equal(augment_images(keys, x, ImageAugmentConfig()), x)
    for field in dataclasses.fields(ImageAugmentConfig):
        if field.name == "colour_probability":
            continue
        value = 4 if field.name == "segments" else 0.5 if field.name == "hue" else 1.0
        changed = augment_images(keys, x, ImageAugmentConfig(**{field.name: value}))
        # The smallest share of a crop is then the whole, but for its aspect.
        assert np.abs(changed - x).max() > 1e-3, field.name


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hue": 0.6}, "augment.hue is 0.6; expected 0 to 0.5"),
        ({"jitter": -0.1}, "augment.jitter is -0.1; expected 0 to 1"),
        ({"crop": float("nan")}, "augment.crop is nan"),
        ({"segments": 1}, "expected 0 .off. or at least 2"),
        ({"segments": 21}, "images of 20 columns"),
    ],
)
def test_wrong_words(values, message):
    with pytest.raises(PrimusError, match=message):
        augment_images(keys_of(4), images(), ImageAugmentConfig(**values))


def test_images_of_other_channels_are_refused():
    with pytest.raises(PrimusError, match=r"expected \[batch, height, width, 3\]"):
        augment_images(keys_of(1), jnp.zeros((1, 8, 8, 6)), SENSOR_AWARE)
