"""What people use: recordings in, embeddings out."""

import functools
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.export.folder import (
    check_description,
    read_folder,
    read_safetensors,
    write_folder,
)
from primus_jax.export.torch import Params, from_torch_names
from primus_jax.export.torch_file import read_torch_file
from primus_jax.models.imu_encoder import EncoderConfig, ImuEncoder, check_window
from primus_jax.window import check_imu, resample, to_si


@functools.partial(jax.jit, static_argnames=("config", "head"))
def embed(params: Params, imu: jax.Array, config: EncoderConfig, head: str) -> jax.Array:
    """One output of the encoder, `[batch, time, 6]` -> `[batch, embed_dim]`, in full float32."""
    with jax.default_matmul_precision("highest"):
        return ImuEncoder(config).apply({"params": params}, imu)[head]


@functools.partial(jax.jit, static_argnames="config")
def initialise(key: jax.Array, window: jax.Array, config: EncoderConfig) -> Params:
    """Initial parameters for windows like `window` `[1, time, 6]`."""
    return ImuEncoder(config).init(key, window)["params"]


class Encoder:
    """A trained (or random) inertial encoder and the windows it was made for.

    Attributes:
        config: the architecture.
        params: its parameters, the tree inside "params".
        rate_hz: samples per second that it works at.
        window_seconds: length of the windows that it was trained on.
        metadata: what is known of its training.
        head: the output that `encode` returns unless told otherwise.
    """

    def __init__(
        self,
        config: EncoderConfig,
        params: Params,
        rate_hz: float,
        window_seconds: float,
        metadata: dict[str, Any] | None = None,
        head: str = "emb",
    ):
        self.config = config
        self.params = jax.device_put(params)
        self.rate_hz = float(rate_hz)
        self.window_seconds = float(window_seconds)
        self.metadata = dict(metadata or {})
        self.head = head

    @classmethod
    def random(
        cls, config: EncoderConfig, seed: int, rate_hz: float, window_seconds: float
    ) -> "Encoder":
        """An untrained encoder, initialised as PyTorch does, the same for the same seed."""
        config.validate()
        window = np.zeros((1, round(rate_hz * window_seconds), 6), np.float32)
        params = initialise(jax.random.key(seed), window, config)
        return cls(config, params, rate_hz, window_seconds, {"random_seed": seed})

    def encode(
        self,
        signal: np.ndarray,
        rate_hz: float,
        acc_unit: str = "m/s2",
        gyro_unit: str = "rad/s",
        head: str | None = None,
    ) -> np.ndarray:
        """Embed one window `[time, 6]` or several `[n, time, 6]`, at any rate.

        Args:
            signal: accelerometer x, y, z with gravity, then gyroscope x, y, z. Every window is
                embedded whole, none is cut; it may be longer or shorter than `window_seconds`.
            rate_hz: samples per second of `signal`; resampled, anti-aliased, to `self.rate_hz`.
            acc_unit: "m/s2" or "g".
            gyro_unit: "rad/s" or "deg/s".
            head: "emb", or "ssl" or "mmcl" where the encoder has them; None takes `self.head`.

        Returns:
            float32 `[n, embed_dim]` (one row for a single window), not of unit length.

        Raises:
            PrimusError: wrong shape, unit or rate, values that are not finite or that no sensor
                reads, a window too short (or too long) for this encoder, or an unknown head.
        """
        signal = check_imu(to_si(signal, acc_unit, gyro_unit), "signal")
        if signal.ndim > 3:
            raise PrimusError(f"signal has shape {signal.shape}; expected [n, time, 6].")
        imu = resample(signal if signal.ndim == 3 else signal[None], rate_hz, self.rate_hz)
        return self.encode_windows(imu, head)

    def encode_windows(
        self, imu: np.ndarray, head: str | None = None, batch_size: int = 256
    ) -> np.ndarray:
        """Embed float32 windows `[n, time, 6]` in m/s^2 and rad/s at `self.rate_hz`.

        Returns float32 `[n, embed_dim]`, one row per window. Batches are padded to a fixed size.

        Raises:
            PrimusError: wrong shape or window length, or an unknown head.
        """
        head = self.head if head is None else head
        if head not in self.config.heads:
            raise PrimusError(f"head {head!r}; this encoder has {self.config.heads}.")
        imu = np.asarray(imu, np.float32)
        check_window(self.config, imu.shape)
        rows = len(imu)
        # A power of two, so that few sizes are ever compiled and one window does not pay for many.
        size = min(batch_size, 1 << max(rows - 1, 0).bit_length())
        output = np.empty((rows, self.config.embed_dim), np.float32)
        for start in range(0, rows, size):
            batch = imu[start : start + size]
            padded = np.pad(batch, [(0, size - len(batch)), (0, 0), (0, 0)])
            result = embed(self.params, padded, self.config, head)
            output[start : start + size] = np.asarray(result)[: len(batch)]
        return output

    def save(
        self,
        folder: str | os.PathLike[str],
        extra_metadata: dict[str, Any] | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        """Write an export folder that `load_encoder` reads; see `export.folder.write_folder`."""
        write_folder(
            folder,
            self.params,
            self.config,
            rate_hz=self.rate_hz,
            window_seconds=self.window_seconds,
            provenance={**self.metadata, **(extra_metadata or {})},
            head=self.head,
            overwrite=overwrite,
        )


def load_encoder(
    path: str | os.PathLike[str],
    *,
    config: EncoderConfig | None = None,
    rate_hz: float | None = None,
    window_seconds: float | None = None,
) -> Encoder:
    """Load an encoder from an export folder, or from a `.safetensors` or `.pt` file of weights.

    A file of weights that this package did not write names neither rate nor window: max-pooling
    IMU2CLIP weights (`net.*`) are taken as 200 Hz x 5 s, PRIMUS weights (`backbone.*`) as
    50 Hz x 5 s. `.pt` files are read without PyTorch and without running their code.

    Args:
        path: the folder or file.
        config: the architecture of a file that is neither; not for export folders.
        rate_hz: overrides the rate.
        window_seconds: overrides the length of the window.

    Raises:
        PrimusError: missing, damaged or unknown weights; missing, unexpected or wrongly shaped
            tensors, all listed.
    """
    path = Path(path)
    if not path.exists():
        raise PrimusError(f"{path} does not exist; expected an export folder, .safetensors or .pt.")
    if path.is_dir():
        params, found, description = read_folder(path)
    elif path.suffix in (".safetensors", ".pt", ".pth"):
        params, found, description = read_weights(path, config)
    else:
        raise PrimusError(f"{path}: expected an export folder, .safetensors, .pt or .pth.")
    if config is not None and config != found:
        raise PrimusError(f"{path} holds {found}; it cannot be loaded as {config}.")
    return Encoder(
        found,
        params,
        description["rate_hz"] if rate_hz is None else rate_hz,
        description["window_seconds"] if window_seconds is None else window_seconds,
        description.get("provenance"),
        description.get("head", "emb"),
    )


def read_weights(
    path: Path, config: EncoderConfig | None
) -> tuple[Params, EncoderConfig, dict[str, Any]]:
    """Weights of one file -> (parameters, architecture, description, at least rate and window)."""
    description = None
    if path.suffix == ".safetensors":
        tensors, description = read_safetensors(path)
    else:
        tensors = read_torch_file(path)
    if description is not None:
        config = check_description(description, str(path))
    try:
        params, config = from_torch_names(tensors, config)
    except PrimusError as error:
        raise PrimusError(f"{path}: {error}") from error
    if description is None:
        rate_hz = 200.0 if config.third_pool == "max" else 50.0
        description = {"rate_hz": rate_hz, "window_seconds": 5.0}
        description["provenance"] = {"source": path.name}
    return params, config, description
