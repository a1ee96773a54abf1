"""Envelopes of a long signal keep its peaks and its gaps."""

import numpy as np

from primus_jax.explore.levels import MISSING, as_int16, envelope


def test_every_stretch_has_its_least_and_largest_value():
    rng = np.random.default_rng(0)
    pieces = [rng.normal(size=(n, 6)).astype(np.float32) for n in (700, 1, 433)]
    starts = [0.0, 14.5, 16.0]
    found = envelope(starts, pieces, 50.0, most=100)
    place = np.concatenate(
        [round(s * 50) + np.arange(len(x)) for s, x in zip(starts, pieces, strict=True)]
    )
    per = round(found.seconds * 50)
    assert len(found.low) <= 100 < len(found.low) * 2
    values = np.concatenate(pieces)
    for k in range(len(found.low)):
        inside = values[place // per == k]
        if len(inside):
            np.testing.assert_array_equal(found.low[k], inside.min(0))
            np.testing.assert_array_equal(found.high[k], inside.max(0))
        else:
            assert np.isnan(found.low[k]).all()


def test_a_short_signal_keeps_every_sample():
    samples = np.arange(60, dtype=np.float32).reshape(10, 6)
    found = envelope([0.0], [samples], 50.0)
    np.testing.assert_array_equal(found.low, samples)
    np.testing.assert_array_equal(found.high, samples)


def test_whole_numbers_lose_little_and_keep_what_is_missing():
    values = np.array([[0.5, np.nan], [-4.0, 2.0]], np.float32)
    whole, unit = as_int16(values)
    assert whole[0, 1] == MISSING
    np.testing.assert_allclose(whole[~np.isnan(values)] * unit, [0.5, -4.0, 2.0], atol=unit)
    assert as_int16(np.zeros((2, 2)))[1] == 1.0
