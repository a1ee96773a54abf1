"""How unlike two windows are: by a learned distance, or by an encoder's embeddings."""

import functools
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from primus_jax.encoder import LONGEST, Encoder, load_encoder
from primus_jax.errors import PrimusError
from primus_jax.hub.loading import read_encoder
from primus_jax.models.motif import MotifConfig
from primus_jax.models.motif_matrix import motif_distances
from primus_jax.models.resnet1d import ResNet1DConfig
from primus_jax.numerics import unit_rows
from primus_jax.objectives.relcon import ACC_UNIT
from primus_jax.trees import Params

# Windows at once, and attention weights at once: 64 MiB of float32.
BATCH = 64
MOST_WEIGHTS = 2**24


class Measure(Protocol):
    """What compares windows.

    Attributes:
        name: of the distance, in words.
        rate_hz, window_seconds: of the windows that it was trained on.
        channels: that it reads: 3, the accelerometer; 6, with the gyroscope.
    """

    name: str
    rate_hz: float
    window_seconds: float
    channels: int

    def distances(self, query: np.ndarray, windows: np.ndarray) -> np.ndarray:
        """Return the distance of a query `[time, 6]` from windows `[n, time, 6]`, float `[n]`."""
        ...


class MotifMeasure:
    """The learned distance: the squared error of the query, rebuilt from a window's motifs."""

    name = "motif distance"

    def __init__(self, encoder: Encoder, config: MotifConfig) -> None:
        self.config, self.params = config, encoder.params
        self.rate_hz, self.window_seconds = encoder.rate_hz, encoder.window_seconds
        self.channels = config.channels

    def distances(self, query: np.ndarray, windows: np.ndarray) -> np.ndarray:
        """See `Measure`; the query asks, and every window answers."""
        found = np.empty(len(windows), np.float32)
        for start in range(0, len(windows), BATCH):
            batch = windows[start : start + BATCH, :, : self.channels]
            padded = np.pad(batch, [(0, BATCH - len(batch)), (0, 0), (0, 0)])
            measured = _motif(self.params, query[None, :, : self.channels], padded, self.config)
            found[start : start + BATCH] = np.asarray(measured)[: len(batch)]
        return found


class EmbeddingMeasure:
    """One minus the cosine of two embeddings: 0 for equal directions, 2 for opposite ones."""

    name = "cosine distance of embeddings"

    def __init__(self, encoder: Encoder, head: str | None = None) -> None:
        self.encoder, self.head = encoder, head
        self.rate_hz, self.window_seconds = encoder.rate_hz, encoder.window_seconds
        config = encoder.config
        self.channels = config.channels if isinstance(config, ResNet1DConfig) else 6

    def distances(self, query: np.ndarray, windows: np.ndarray) -> np.ndarray:
        """See `Measure`."""
        mine = unit_rows(self.encoder.encode_windows(query[None], self.head))
        return 1 - (unit_rows(self.encoder.encode_windows(windows, self.head)) @ mine.T)[:, 0]


def load_measure(path: Path, head: str | None = None) -> Measure:
    """Return the measure of an exported folder: a distance of configs/motif.py, or an encoder.

    Args:
        path: the folder, or a file of weights.
        head: of an encoder; None takes its own.

    Raises:
        PrimusError: no folder or a damaged one, an unknown head, or a distance of another unit.
    """
    encoder = load_encoder(path)
    if not isinstance(encoder.config, MotifConfig):
        if head is not None and head not in encoder.config.heads:
            raise PrimusError(f"head {head!r}; {path} has {encoder.config.heads}.")
        return EmbeddingMeasure(encoder, head)
    if head is not None:
        raise PrimusError(f"{path} is a distance, which has no heads. Leave --head out.")
    description: dict[str, Any] = read_encoder(path)[2]
    unit = description.get("units", {}).get("acc", ACC_UNIT)
    if unit != ACC_UNIT:
        raise PrimusError(
            f"{path} was trained on accelerations in {unit!r}; recordings are measured in "
            f"{ACC_UNIT!r}. Train a distance on such windows (configs/motif.py)."
        )
    return MotifMeasure(encoder, encoder.config)


def check_seconds(measure: Measure, seconds: float) -> None:
    """Raise PrimusError for a query that is shorter than a window, or far longer."""
    least, most = measure.window_seconds, LONGEST * measure.window_seconds
    samples = round(seconds * measure.rate_hz)
    if not round(least * measure.rate_hz) <= samples <= round(most * measure.rate_hz):
        raise PrimusError(
            f"the query lasts {seconds:g} s; expected {least:g} s, the window of the distance, to "
            f"{most:g} s. Move START or END."
        )


@functools.partial(jax.jit, static_argnames="config")
def _motif(params: Params, query: jax.Array, windows: jax.Array, config: MotifConfig) -> jax.Array:
    """Distances `[n]` of the query `[1, time, channels]` from windows `[n, time, channels]`."""
    pairs = max(min(BATCH, MOST_WEIGHTS // windows.shape[1] ** 2), 1)
    none = jnp.zeros((1, 0, *windows.shape[1:]), windows.dtype)
    return motif_distances(
        config.build(),
        params,
        query,
        windows,
        none,
        attention=config.attend(training=False),
        pairs=pairs,
    )[0]
