"""Feet that walk with known times."""

from pathlib import Path

import numpy as np

SWING = 0.42
# rad/s and seconds of the troughs at both ends of a swing
_TROUGH, _WIDTH = 8.0, 0.045
# A trough is at 0.7 of its depth this long after its bottom.
_BESIDE = _WIDTH * np.sqrt(-2 * np.log(0.7))


def foot(
    stride: float, first: float, seconds: float, rate_hz: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A sensor at an unknown angle on a foot, `[time, 6]` m/s^2 and rad/s, toe offs and landings.

    Args:
        stride: seconds.
        first: seconds to the first toe off.
        seconds: of the recording.
        rate_hz: samples a second.
        seed: of the angle and of the noise.
    """
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    off = np.arange(first, seconds - SWING - 0.3, stride)
    strike = off + SWING
    turning = np.zeros_like(time)
    for a, b in zip(off, strike, strict=True):
        inside = (time > a) & (time < b)
        turning += inside * 5.5 * np.sin(np.pi * (time - a) / SWING)
        for bottom, depth in ((a - _BESIDE, _TROUGH), (b + _BESIDE, 0.6 * _TROUGH)):
            turning -= depth * np.exp(-0.5 * ((time - bottom) / _WIDTH) ** 2)
        # the heel rises slowly before it is thrown up
        turning -= 1.0 * np.exp(-0.5 * ((time - a + 0.2) / 0.06) ** 2)
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    gyro = np.stack([0.15 * turning, turning, 0.1 * turning], 1) @ axes
    acc = np.tile(9.81 * axes[2], (len(time), 1))
    signal = np.concatenate([acc, gyro], 1)
    noise = rng.normal(0, [0.05] * 3 + [0.02] * 3, signal.shape)
    return (signal + noise).astype(np.float32), off, strike


def feet(stride: float, seconds: float = 12.0, rate_hz: float = 50.0, seed: int = 0):
    """Both feet, half a stride apart, float32 `[time, 6]` each."""
    left, *_ = foot(stride, 0.5, seconds, rate_hz, seed)
    right, *_ = foot(stride, 0.5 + stride / 2, seconds, rate_hz, seed + 1)
    return left, right


def pack_of_feet(path: Path, people: int = 4) -> Path:
    """A pack of one walk a person: both feet and the back, whose beat is the stride's."""
    parts, columns = [], {name: [] for name in ("subject", "placement", "recording")}
    for k in range(people):
        stride = 1.0 + 0.1 * k
        left, right = feet(stride, seconds=12.0, seed=10 * k)
        time = np.arange(len(left)) / 50
        back = np.zeros_like(left)
        back[:, 2] = 9.81 + 1.5 * np.sin(4 * np.pi * time / stride)
        back[:, 3:] = 0.3 * np.sin(2 * np.pi * time / stride)[:, None]
        noise = np.random.default_rng(k).normal(0, 0.05, back.shape)
        for placement, signal in (("left", left), ("right", right), ("back", back + noise)):
            parts.append(np.round(signal / np.repeat([0.01, 0.002], 3)).astype(np.int16))
            columns["subject"].append(f"p{k}")
            columns["placement"].append(placement)
            columns["recording"].append(f"walk{k}")
    ends = np.cumsum([0, *map(len, parts)])
    same = {name: np.array([""] * len(parts)) for name in ("label", "text")}
    np.savez(
        path, signal=np.concatenate(parts), offsets=ends, rate_hz=np.float32(50),
        acc_scale=np.float32(0.01), gyro_scale=np.float32(0.002), name="walks", license="none",
        source="simulated", **same, **{name: np.array(v) for name, v in columns.items()},
    )  # fmt: skip
    return path
