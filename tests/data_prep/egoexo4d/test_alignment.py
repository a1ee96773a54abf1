"""Stamped samples to a uniform rate: amplitude, phase, aliases, jitter and clocks."""

from collections import Counter

import numpy as np
import pytest

from data_prep.egoexo4d.alignment import (
    CLOCK,
    LENGTH,
    OFFSET,
    RATE,
    STRAY,
    Limits,
    measure,
)
from primus_jax.recordings.grid import GAPS, uniform_pieces
from primus_jax.window import resample

START = 284_324_000_000
PHASE = 0.3


def stamped(rate, seconds, clock_error=0.0, jitter=0.0, seed=0):
    """True times of samples that a sensor of nominal `rate` takes, irregularly."""
    count = int(seconds * rate)
    noise = np.random.default_rng(seed).uniform(-jitter, jitter, count)
    return (np.arange(count) + noise - noise[0]) / (rate * (1 + clock_error))


def to_rate(time, values, nominal, rate):
    """Through the two steps that every recording takes: a uniform grid, then the target rate."""
    (piece,) = uniform_pieces(time, values, nominal, Counter())
    return resample(piece.signal, nominal, rate)


def sine(y, rate, frequency):
    """Amplitude, phase and largest residual of the sine in `y`, one second from the ends."""
    t = np.arange(len(y)) / rate
    inner = (t > 1) & (t < t[-1] - 1)
    basis = np.stack([np.sin(2 * np.pi * frequency * t), np.cos(2 * np.pi * frequency * t)], 1)
    (a, b), *_ = np.linalg.lstsq(basis[inner], y[inner], rcond=None)
    return np.hypot(a, b), np.arctan2(b, a), np.abs(y - basis @ [a, b])[inner].max()


@pytest.mark.parametrize("clock_error", [0.0, 0.005, -0.005])
@pytest.mark.parametrize("rate", [50.0, 100.0, 200.0, 30.0, 64.0])
@pytest.mark.parametrize("nominal", [1000.0, 800.0])
def test_a_sine_keeps_amplitude_and_phase_or_is_gone(nominal, rate, clock_error):
    """Below the new Nyquist rate: amplitude to 0.1 %, phase to 0.001 rad (at 0.8 of it, 40 us or
    less), nothing else added above 0.3 %. Above it: less than 0.3 % is left."""
    time = stamped(nominal, 10, clock_error, jitter=0.2)
    kept, gone = 0.8 * rate / 2, 1.25 * rate / 2
    phases = 2 * np.pi * np.array([kept, gone]) * time[:, None] + PHASE
    y = to_rate(time, np.sin(phases), nominal, rate)
    amplitude, phase, rest = sine(y[:, 0], rate, kept)
    assert amplitude == pytest.approx(1, abs=1e-3)
    assert phase == pytest.approx(PHASE, abs=1e-3)
    assert rest < 3e-3
    seconds = len(y) / rate
    assert np.abs(y[int(rate) : int((seconds - 1) * rate), 1]).max() < 3e-3


def test_a_pulse_lands_at_its_time():
    """Half a minute of a clock that is 0.5 % off would move it by 150 ms; it stays within 1 ms."""
    for clock_error in (0.005, -0.005):
        time = stamped(1000.0, 30, clock_error, jitter=0.4)
        at = 27.0
        pulse = np.exp(-(((time - at) / 0.05) ** 2))[:, None]
        y = to_rate(time, pulse, 1000.0, 50.0)[:, 0].astype(np.float64)
        t = np.arange(len(y)) / 50.0
        assert (y * t).sum() / y.sum() == pytest.approx(at, abs=1e-3)


def test_pauses_are_lines_and_ends_stay():
    rng = np.random.default_rng(1)
    time = np.delete(np.arange(400) / 100, [200, 201, 202]) + 0.001
    values = rng.normal(size=(len(time), 2))
    values[300] = np.nan
    (piece,) = uniform_pieces(time, values, 100.0, Counter())
    grid = piece.signal
    line = np.linspace(values[199], values[200], 5)
    np.testing.assert_allclose(grid[199:204], line, atol=1e-12)
    assert np.isfinite(grid).all()
    assert piece.bad_spans[0] == pytest.approx((3.025, 3.04))
    assert len(piece.bad_spans) == 1
    rough = np.abs(grid).max()
    assert rough < 1.5 * np.nanmax(np.abs(values))


def test_a_long_pause_cuts():
    time = np.concatenate([np.arange(100), np.arange(200, 300)]) / 100.0
    drops = Counter()
    pieces = uniform_pieces(time, np.sin(time)[:, None], 100.0, drops)
    assert [(p.start_seconds, len(p.signal)) for p in pieces] == [(0.0, 100), (2.0, 100)]
    assert drops[GAPS] == 1


def take(seconds=60.0, clock_error=0.0, offset=0.0, length=None, rate=1000.0, frames=True, sway=0):
    """Stamps of samples and of frames in a take."""
    rng = np.random.default_rng(0)
    count = int((seconds if length is None else length) * rate)
    stamps = START + np.round((offset + np.arange(count) / rate) * 1e9).astype(np.int64)
    shown = np.arange(round(seconds * 30)) / 30
    device = shown * (1 + clock_error) + rng.uniform(-0.5, 0.5, len(shown)) / 30
    device += sway * np.sin(shown)
    known = START + device * 1e9
    known[rng.random(len(shown)) < 0.1] = np.nan
    return stamps, known if frames else np.empty(0)


def test_offset_clock_and_gaps_are_measured():
    stamps, frames = take(clock_error=0.005, offset=0.4, length=58.0)
    stamps = np.delete(stamps, np.arange(20_000, 20_750))
    found = measure(stamps, 1000.0, 60.0, frames)
    assert found.method == "timesync"
    assert found.clock_error == pytest.approx(0.005, abs=1e-4)
    assert found.offset_seconds == pytest.approx(0.4, abs=5e-3)
    assert found.rate_hz == pytest.approx(1000)
    assert (found.gaps, found.longest_gap_seconds) == (1, pytest.approx(0.751))
    assert found.coverage == pytest.approx((58 - 0.75) / 1.005 / 60, abs=1e-3)
    assert found.refusal(Limits()) == ""
    time = found.take_time(np.array([START, START + 50_250_000_000]))
    np.testing.assert_allclose(time, [0, 50], atol=5e-3)


@pytest.mark.parametrize(
    ("reason", "options", "nominal"),
    [
        (CLOCK, {"clock_error": 0.02}, 1000.0),
        (CLOCK, {"clock_error": -1.0}, 1000.0),
        (RATE, {"rate": 1015.0}, 1000.0),
        (RATE, {}, 800.0),
        (OFFSET, {"offset": 1.5}, 1000.0),
        (OFFSET, {"offset": -400.0}, 1000.0),
        (STRAY, {"sway": 0.3}, 1000.0),
        (LENGTH, {"frames": False, "length": 58.5}, 1000.0),
        (LENGTH, {"frames": False, "length": 61.5}, 1000.0),
        ("", {"frames": False, "length": 59.5, "offset": 33.0}, 1000.0),
        ("", {"clock_error": -0.005, "offset": 0.9, "length": 30.0, "rate": 995.0}, 1000.0),
    ],
)
def test_what_is_beyond_a_limit_is_refused(reason, options, nominal):
    stamps, frames = take(**options)
    assert measure(stamps, nominal, 60.0, frames).refusal(Limits()) == reason


def test_limits_can_be_moved():
    stamps, frames = take(clock_error=0.02, offset=1.5)
    found = measure(stamps, 1000.0, 60.0, frames)
    assert found.refusal(Limits(clock_error=0.03)) == OFFSET
    assert found.refusal(Limits(clock_error=0.03, offset_seconds=2)) == ""
