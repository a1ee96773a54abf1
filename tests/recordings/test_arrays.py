"""What goes into `Encoder.encode`: kinds of arrays, rates, missing sensors and values, units."""

import warnings

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from support.user_files import moving, tiny_encoder

from primus_jax import SignalWarning
from primus_jax.errors import PrimusError
from primus_jax.window import CHANNELS, GRAVITY

SI = np.repeat([GRAVITY, np.pi / 180], 3)


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder()


@pytest.fixture(scope="module")
def window():
    return moving("walk", 3, 50, 1) * SI


def test_numpy_jax_lists_and_tables_are_the_same(encoder, window):
    plain = encoder.encode(window.astype(np.float32), 50)
    assert plain.shape == (1, encoder.config.embed_dim)
    for other in (
        jnp.asarray(window, jnp.float32),
        window.astype(np.float32).tolist(),
        pd.DataFrame(window.astype(np.float32), columns=CHANNELS),
        # by name, not by order
        pd.DataFrame(window.astype(np.float32), columns=CHANNELS)[[*CHANNELS[3:], *CHANNELS[:3]]],
    ):
        np.testing.assert_allclose(encoder.encode(other, 50), plain, atol=1e-5)
    with pytest.raises(PrimusError, match="no column 'acc_y'"):
        encoder.encode(pd.DataFrame(window, columns=["acc_x", "y", "z", *CHANNELS[3:]]), 50)


def test_missing_in_a_masked_array_is_missing(encoder, window):
    masked = np.ma.masked_array(window, np.zeros(window.shape, bool))
    np.testing.assert_array_equal(encoder.encode(masked, 50), encoder.encode(window, 50))
    masked[4, 2] = np.ma.masked
    for signal in (masked, masked[None], [masked], list(masked)):
        with pytest.raises(PrimusError, match="sample 4, channel acc_z"):
            encoder.encode(signal, 50)


def test_windows_in_a_list_are_read_as_each_alone(encoder, window):
    table = pd.DataFrame(window, columns=CHANNELS)
    turned = table[[*CHANNELS[3:], *CHANNELS[:3]]]
    plain = encoder.encode(window, 50)
    found = encoder.encode([turned, table], 50)
    np.testing.assert_allclose(found, plain[[0, 0]], atol=1e-5)
    with pytest.raises(PrimusError, match="no column 'acc_x'"):
        encoder.encode([table, table.rename(columns={"acc_x": "x"})], 50)
    for ragged in ([[1, 2, 3], [1]], [window, window[:100]]):
        with pytest.raises(PrimusError, match="windows of one length"):
            encoder.encode(ragged, 50)


def test_tensors_of_pytorch(encoder, window):
    torch = pytest.importorskip("torch")
    plain = encoder.encode(window, 50)
    tensor = torch.tensor(window, requires_grad=True)
    np.testing.assert_array_equal(encoder.encode(tensor, 50), plain)
    # Two windows are another batch, whose products may round differently.
    both = encoder.encode([tensor, tensor], 50)
    np.testing.assert_allclose(both[:1], plain, rtol=1e-5, atol=1e-6)
    half = encoder.encode(tensor.bfloat16(), 50)
    np.testing.assert_allclose(half, encoder.encode(tensor.bfloat16().float().detach(), 50))


@pytest.mark.parametrize("rate", [49.98, 24.98, 25.01, 99.97, 50.01, 123.46, np.float32(60)])
def test_any_rate_gives_the_embedding_of_the_motion(encoder, rate):
    """A walk as it is at 200 Hz, and read off at this rate."""
    fine = moving("walk", 3, 200, 1) * SI
    t = np.arange(round(3 * rate)) / rate
    signal = np.stack([np.interp(t, np.arange(600) / 200, channel) for channel in fine.T], 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SignalWarning)
        found = encoder.encode(signal, rate)[0]
    expected = encoder.encode(fine, 200)[0]
    assert found @ expected > 0.97 * np.linalg.norm(found) * np.linalg.norm(expected)


@pytest.mark.parametrize("rate", [None, "50", [50], 50j, np.nan, 0, 9.4])
def test_what_is_no_rate_is_refused(encoder, window, rate):
    with pytest.raises(PrimusError, match=r"rate .* Hz; expected"):
        encoder.encode(window, rate)


def test_a_lower_rate_is_resampled_and_says_which_band_is_missing(encoder, window):
    with pytest.warns(SignalWarning, match=r"band from 12\.5 to 25 Hz is missing"):
        low = encoder.encode(window[::2], 25)
    high = encoder.encode(window, 50)
    cosine = (low @ high.T).item() / np.linalg.norm(low) / np.linalg.norm(high)
    assert cosine > 0.98
    with pytest.raises(PrimusError, match="rate 8 Hz; expected 10 to 5,000 Hz"):
        encoder.encode(window, 8)
    # a clock that runs late by half a per cent misses nothing
    encoder.encode(window, 49.75)


def test_accelerometer_only_is_zeros_for_the_gyroscope_and_says_so(encoder, window):
    with pytest.warns(SignalWarning, match="filled with zeros"):
        alone = encoder.encode(window[:, :3], 50)
    silent = window * [1, 1, 1, 0, 0, 0]
    np.testing.assert_array_equal(alone, encoder.encode(silent, 50))
    with pytest.warns(SignalWarning, match="filled with zeros"):
        table = encoder.encode(pd.DataFrame(window[:, :3], columns=CHANNELS[:3]), 50)
    np.testing.assert_array_equal(table, alone)


def test_missing_values_are_counted_and_refused_or_marked(encoder, window):
    windows = np.stack([window, window, window])
    windows[1, 7, 4] = np.nan
    with pytest.raises(PrimusError, match=r"1 of 3 windows .* window 1, sample 7, channel gyro_y"):
        encoder.encode(windows, 50)
    with pytest.warns(SignalWarning, match="1 of 3 windows"):
        found = encoder.encode(windows, 50, on_missing="nan")
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(found[[0, 2]], encoder.encode(windows[[0, 2]], 50), atol=1e-5)
    with pytest.warns(SignalWarning, match="2 of 2 windows"):
        assert np.isnan(encoder.encode(windows[[1, 1]], 50, on_missing="nan")).all()
    table = pd.DataFrame(window, columns=CHANNELS).convert_dtypes()
    table.loc[3, "acc_z"] = pd.NA
    with pytest.raises(PrimusError, match="sample 3, channel acc_z"):
        encoder.encode(table, 50)
    with pytest.raises(PrimusError, match="on_missing 'drop'"):
        encoder.encode(window, 50, on_missing="drop")


@pytest.mark.parametrize(
    ("factor", "options", "message"),
    [
        (
            [1 / GRAVITY] * 3 + [1] * 3,
            {},
            r"magnitude is 1\.0\d m/s2.*looks like g;",
        ),
        (1, {"acc_unit": "g"}, r"is 9\.\d+ g.*looks like m/s2;"),
        ([0.01] * 3 + [1] * 3, {}, "Gravity seems to have been removed"),
        ([1] * 3 + [180 / np.pi] * 3, {}, r"gyroscope magnitudes .* looks like deg/s"),
    ],
)
def test_units_are_doubted_aloud_and_never_changed(encoder, window, factor, options, message):
    signal = window * factor
    with pytest.warns(SignalWarning, match=message):
        found = encoder.encode(signal, 50, **options)
    scale = np.repeat([GRAVITY if options else 1.0, 1.0], 3)
    exact = encoder.encode_windows((signal * scale)[None].astype(np.float32))
    np.testing.assert_allclose(found, exact, atol=1e-5)


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        (np.zeros((150, 4)), r"shape \(150, 4\); expected \[\.\.\., time, 6\]"),
        (np.zeros(6), "shape"),
        (np.zeros((2, 2, 150, 6)), r"expected \[n, time, 6\]"),
        (np.zeros((0, 6)), "shape"),
        (np.array([["a"] * 6] * 150), "expected numbers"),
        (np.full((150, 6), 1 + 1j), "complex128.*expected numbers"),
        (pd.DataFrame(np.full((150, 6), 1 + 1j), columns=CHANNELS), "complex"),
        (pd.DataFrame(np.ones((150, 7)), columns=["acc_x", *CHANNELS]), "several columns of one"),
        (np.full((150, 6), 1e39), "expected finite values"),
        (np.full((150, 6), 1e300), "expected finite values"),
    ],
)
def test_what_is_no_window_is_refused(encoder, signal, message):
    with pytest.raises(PrimusError, match=message):
        encoder.encode(signal, 50)
