"""What people use: recordings in, embeddings out."""

import functools
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import jax
import numpy as np
from numpy.typing import ArrayLike

from primus_jax.errors import PrimusError
from primus_jax.hub.folder import check_length, write_folder
from primus_jax.hub.loading import AssumptionWarning, assumption, read_encoder
from primus_jax.models.base import EncoderConfig, check_window
from primus_jax.recordings.arrays import to_windows
from primus_jax.recordings.chunks import table_format
from primus_jax.trees import Params

if TYPE_CHECKING:
    from primus_jax.models.clip.tokenizer import Tokenizer
    from primus_jax.models.clip.towers import Towers
    from primus_jax.recordings.search import Match

# A recording as `Encoder.embed_recording` takes one: rows, a file of rows, or pieces in turn.
RecordingLike = ArrayLike | str | os.PathLike[str] | Iterator[ArrayLike]
# Windows may be this many times as long as the encoder's own.
LONGEST = 10


@functools.partial(jax.jit, static_argnames=("config", "head"))
def embed(params: Params, imu: jax.Array, config: EncoderConfig, head: str) -> jax.Array:
    """One output of the encoder, `[batch, time, 6]` -> `[batch, width]`, in full float32."""
    with jax.default_matmul_precision("highest"):
        outputs = config.build().apply({"params": params}, imu)
        return cast(dict[str, jax.Array], outputs)[head]


@functools.partial(jax.jit, static_argnames="config")
def initialise(key: jax.Array, window: jax.Array, config: EncoderConfig) -> Params:
    """Initial parameters for windows like `window` `[1, time, 6]`."""
    return config.build().init(key, window)["params"]


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

    def __repr__(self) -> str:
        """The architecture and its window."""
        return f"Encoder({self.config.kind}, {self.rate_hz:g} Hz x {self.window_seconds:g} s)"

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
        signal: ArrayLike,
        rate_hz: float,
        acc_unit: str = "m/s2",
        gyro_unit: str = "rad/s",
        head: str | None = None,
        on_missing: str = "refuse",
    ) -> np.ndarray:
        """Embed one window `[time, 6]` or several `[n, time, 6]`, at any rate from 10 Hz.

        A `SignalWarning` says where the signal holds less than the encoder saw in pretraining (a
        rate below the encoder's, no gyroscope), or numbers that contradict the stated units, which
        are never changed.

        Args:
            signal: NumPy or JAX array, or a DataFrame with columns acc_x, acc_y, acc_z, gyro_x,
                gyro_y, gyro_z: accelerometer with gravity, then gyroscope. With three channels
                there is no gyroscope, and zeros stand in for it; masked values are missing. Every
                window is embedded whole, none is cut; it may be shorter than `window_seconds`, or
                up to 10 times as long. Long recordings are for `embed_recording`.
            rate_hz: samples per second of `signal`; resampled, anti-aliased, to `self.rate_hz`
                (see `window.resample`: a quotient that is no ratio of integers up to 2,000 is
                taken as the nearest, at most 0.03 % off).
            acc_unit: "m/s2" or "g".
            gyro_unit: "rad/s" or "deg/s".
            head: "emb", or "ssl" or "mmcl" where the encoder has them; None takes `self.head`.
            on_missing: "refuse" windows with missing values, or give them rows of "nan".

        Returns:
            float32 `[n, config.width(head)]` (one row for a single window), not of unit length.

        Raises:
            PrimusError: wrong shape, unit or rate, values that are missing or that no sensor
                reads, a window too short or too long for this encoder, or an unknown head.
        """
        imu, whole = to_windows(signal, rate_hz, self.rate_hz, acc_unit, gyro_unit, on_missing)
        embedding = self.encode_windows(imu, head)
        embedding[~whole] = np.nan
        return embedding

    def embed_recording(
        self,
        recording: RecordingLike,
        hop_seconds: float = 1.0,
        *,
        rate_hz: float | None = None,
        acc_unit: str = "m/s2",
        gyro_unit: str = "rad/s",
        head: str | None = None,
        **columns: str | Sequence[str] | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Embed a long recording in one pass: windows of `window_seconds`, one every hop.

        Memory does not grow with the recording, only with the result; the recording is read in
        pieces, and how it is cut into them changes nothing. Up to 5 missing samples in a row are
        bridged; at longer gaps the recording is cut, no window lies across one, and a
        `SignalWarning` says how many and how long.

        Args:
            recording: an array `[time, 6]` (or `[time, 3]`, accelerometer only; memory-mapped ones
                stay on disk), a DataFrame, an iterator of these or a list of DataFrames, or the
                path of a CSV or Parquet file. Tables may have a column `time`; without times rows
                are evenly spaced.
            hop_seconds: between the starts of neighbouring windows.
            rate_hz: samples per second; with times it is measured, on the first 16,384 rows, and
                checked if given.
            acc_unit: "m/s2" or "g".
            gyro_unit: "rad/s" or "deg/s".
            head: "emb", or "ssl" or "mmcl" where the encoder has them; None takes `self.head`.
            columns: of tables: `acc` and `gyro`, three names each; `time`, a name or None;
                `time_unit`, s, ms, us or ns; see `primus_jax.recordings.table_format.TableFormat`.

        Returns:
            times float64 `[n]`, starts of the windows in seconds after the first row, and
            embeddings float32 `[n, config.width(head)]`.

        Raises:
            PrimusError: anything wrong with the recording (which row), no whole window in it, or
                an unknown head.
        """
        from primus_jax.recordings.embedding import collect

        layout = table_format(rate_hz, acc_unit, gyro_unit, columns)
        return collect(self, recording, layout, hop_seconds, head)

    def search(
        self,
        sentences: Sequence[str],
        recording: RecordingLike,
        hop_seconds: float = 1.0,
        *,
        top: int = 5,
        separation_seconds: float | None = None,
        text_embeddings: ArrayLike | None = None,
        towers: "Towers | str | os.PathLike[str] | None" = None,
        tokenizer: "Tokenizer | str | os.PathLike[str] | None" = None,
        rate_hz: float | None = None,
        acc_unit: str = "m/s2",
        gyro_unit: str = "rad/s",
        **columns: str | Sequence[str] | None,
    ) -> "dict[str, list[Match]]":
        """Where in a recording each sentence happens, best first, by cosine.

        Windows are compared by the head that pretraining compared with sentences. Of windows that
        start less than `separation_seconds` apart only the best is reported (non-maximum
        suppression over time). Scores rank the windows of one sentence; they are no probabilities,
        and the best window of a sentence that never happens also has one.

        Args:
            sentences: what to look for.
            recording: and hop_seconds, rate_hz, acc_unit, gyro_unit, columns: see
                `embed_recording`.
            top: most matches per sentence.
            separation_seconds: None takes the length of a window, so that matches do not overlap.
            text_embeddings: float `[sentences, dim]`, of the text tower of pretraining; or
            towers: that tower, as a folder in Hugging Face's layout or `models.clip.load_towers`'s
                result, and
            tokenizer: argument or result of `models.clip.tokenizer.load_tokenizer`; None: files
                in the towers' folder.

        Returns:
            for each sentence, its `Match`es (start_seconds, end_seconds, score), best first.

        Raises:
            PrimusError: the encoder was not pretrained with text, widths differ, or anything wrong
                with the recording.
        """
        from primus_jax.recordings.search import SearchOptions, search
        from primus_jax.recordings.sentences import text_source

        text = text_source(text_embeddings, towers, tokenizer)
        layout = table_format(rate_hz, acc_unit, gyro_unit, columns)
        options = SearchOptions(text, top, separation_seconds, hop_seconds)
        return search(self, sentences, recording, layout, options)

    def encode_windows(
        self, imu: np.ndarray, head: str | None = None, batch_size: int = 256
    ) -> np.ndarray:
        """Embed float32 windows `[n, time, 6]` in m/s^2 and rad/s at `self.rate_hz`.

        Returns float32 `[n, config.width(head)]`, one row per window. Batches are padded to a fixed
        size.

        Raises:
            PrimusError: wrong shape or window length (at most 10 times the encoder's own), or an
                unknown head.
        """
        head = self.head if head is None else head
        if head not in self.config.heads:
            raise PrimusError(f"head {head!r}; this encoder has {self.config.heads}.")
        imu = np.asarray(imu, np.float32)
        check_window(self.config, imu.shape)
        longest = LONGEST * round(self.rate_hz * self.window_seconds)
        if imu.shape[1] > longest:
            raise PrimusError(
                f"windows of {imu.shape[1]:,} samples ({imu.shape[1] / self.rate_hz:,.4g} s); this "
                f"encoder was made for {self.window_seconds:g} s and takes at most {LONGEST} times "
                f"that, {longest:,} samples. Use a shorter window; for a long recording use "
                f"embed_recording, which cuts it into windows."
            )
        rows = len(imu)
        # A power of two, so that few sizes are ever compiled and one window does not pay for many.
        size = min(batch_size, 1 << max(rows - 1, 0).bit_length())
        output = np.empty((rows, self.config.width(head)), np.float32)
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
    prefix: str | None = None,
) -> Encoder:
    """Load an encoder from an export folder, or from a file of weights of another program.

    Files are safetensors (`.safetensors`) or PyTorch's (`.pt`, `.pth`, `.ckpt`, `.bin`), a state
    dict or a Lightning checkpoint, whose other models are not read; PyTorch's are read without it
    and without running their code. A file that this package did not write names neither rate nor
    window: max-pooling IMU2CLIP weights (`net.*`) are taken as 200 Hz x 5 s, all others as
    50 Hz x 5 s, and an `AssumptionWarning` says so, unless both are stated.

    Args:
        path: the folder or file.
        config: the architecture of a file, where names and shapes do not tell it.
        rate_hz: overrides the rate.
        window_seconds: overrides the length of the window.
        prefix: what stands before the encoder's names in a file; None finds it.

    Raises:
        PrimusError: missing, damaged or unknown weights; missing, unexpected or wrongly shaped
            tensors, all listed; windows that the encoder cannot take.
    """
    params, found, description = read_encoder(path, config, prefix, rate_hz, window_seconds)
    length = description["rate_hz"], description["window_seconds"]
    check_length(found, *length, str(path))
    if description.get("assumed") is True:
        warnings.warn(assumption(path, found, *length), AssumptionWarning, stacklevel=2)
    return Encoder(
        found,
        params,
        *length,
        description.get("provenance"),
        description.get("head", "emb"),
    )
