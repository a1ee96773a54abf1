"""An encoder of one rate for windows of another."""

import numpy as np

from primus_jax.encoder import Encoder
from primus_jax.window import resample


class ResampledEncoder:
    """A `WindowEncoder` that resamples each window to the rate of the encoder that it holds.

    Attributes:
        encoder: what embeds.
        rate_hz: of the windows that it takes.
    """

    def __init__(self, encoder: Encoder, rate_hz: float) -> None:
        self.encoder = encoder
        self.rate_hz = float(rate_hz)

    def encode_windows(
        self, imu: np.ndarray, head: str | None = None, batch_size: int = 256
    ) -> np.ndarray:
        """Embed float32 windows `[n, time, 6]` at `self.rate_hz`; see `Encoder.encode_windows`."""
        parts = []
        for start in range(0, len(imu), batch_size):
            part = self.resampled(imu[start : start + batch_size])
            parts.append(self.encoder.encode_windows(part, head, batch_size))
        return np.concatenate(parts)

    def resampled(self, imu: np.ndarray) -> np.ndarray:
        """Windows `[n, time, 6]` at the encoder's own rate."""
        return resample(imu, self.rate_hz, self.encoder.rate_hz)
