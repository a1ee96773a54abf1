"""Self-made recordings for the tests of data preparation."""

from pathlib import Path

import numpy as np

from primus_jax.recordings.recording import Recording

GRAVITY = 9.80665


def signal(samples: int, rate: float = 50.0, seed: int = 0) -> np.ndarray:
    """A swaying sensor, float64 `[samples, 6]` in SI units with gravity and a little noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / rate
    sway = 0.3 * np.sin(2 * np.pi * 1.1 * t + seed)
    acc = GRAVITY * np.stack([np.sin(sway), 0 * t, np.cos(sway)], 1)
    gyro = np.stack([0 * t, np.gradient(sway, 1 / rate) if samples > 1 else 0 * t, 0 * t], 1)
    return np.concatenate([acc, gyro], 1) + rng.normal(0, 0.02, (samples, 6))


def recording(name: str, seconds: float = 20.0, **fields) -> Recording:
    rate = fields.pop("rate_hz", 50.0)
    return Recording(name, signal(round(seconds * rate), rate, len(name)), rate, **fields)


def people(count: int = 5, each: int = 2, **fields) -> list[Recording]:
    """Labelled recordings of some people."""
    return [
        recording(
            f"p{p}-{k}",
            subject=f"p{p}",
            label=("walking", "sitting")[k % 2],
            text=f"a person number {p} moves",
            **fields,
        )
        for p in range(count)
        for k in range(each)
    ]


def write_pack(path: Path, recordings: list[Recording], **arrays) -> Path:
    """Save recordings as a pack; `arrays` replaces arrays, None leaves one out."""
    counts = [np.round(r.signal / np.repeat([0.01, 0.002], 3)) for r in recordings]
    pack = {
        "signal": np.concatenate(counts).astype(np.int16),
        "acc_scale": np.float32(0.01),
        "gyro_scale": np.float32(0.002),
        "offsets": np.cumsum([0, *(len(c) for c in counts)]),
        "rate_hz": np.float32(recordings[0].rate_hz),
        "recording": np.array([r.id for r in recordings]),
        "name": np.array("mine"),
        "license": np.array("CC0"),
        "source": np.array("made by a test"),
    }
    for field in ("subject", "label", "text", "placement"):
        pack[field] = np.array([getattr(r, field) for r in recordings])
    pack |= arrays
    np.savez_compressed(path, **{k: v for k, v in pack.items() if v is not None})
    return path


def write_csv(path: Path, columns: dict[str, object]) -> Path:
    rows = [",".join(columns)]
    rows += [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(rows) + "\n")
    return path


def table_columns(samples: int = 1000, rate: float = 50.0, **more) -> dict[str, object]:
    """Columns of a CSV of `signal` with times in seconds; `more` adds or replaces columns."""
    x = signal(samples, rate)
    names = ("acc_x", "acc_y", "acc_z", "gyro_x", "gyro_y", "gyro_z")
    columns: dict[str, object] = {"time": np.arange(samples) / rate}
    columns |= {name: x[:, i].copy() for i, name in enumerate(names)}
    columns |= more
    return {name: values for name, values in columns.items() if values is not None}
