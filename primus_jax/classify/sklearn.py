"""The encoder as a scikit-learn transformer: windows in, embeddings out."""

import os
import warnings
from typing import Any

import numpy as np

from primus_jax.encoder import Encoder, load_encoder
from primus_jax.errors import PrimusError
from primus_jax.recordings.arrays import SignalWarning, to_windows

try:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise PrimusError(
        "PrimusFeatures needs scikit-learn: pip install 'primus-jax[sklearn]'."
    ) from error


class PrimusFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Windows -> embeddings, for scikit-learn pipelines.

    `make_pipeline(PrimusFeatures(path, rate_hz=100), LogisticRegression())` is a classifier of
    windows. X is `[n, time, channels]`, or the same flattened to `[n, time * channels]` (time
    first, as `X.reshape(n, -1)` gives), which is what cross-validation and column names work on.
    Fitting learns nothing: it loads the encoder, checks the settings and remembers the width. A
    fitted transformer pickles with its weights; other settings need another `fit`.

    Args:
        encoder: what `load_encoder` takes, or an `Encoder`.
        rate_hz: samples per second of X; None: the encoder's.
        acc_unit: "m/s2" or "g".
        gyro_unit: "rad/s" or "deg/s".
        channels: 6, or 3: accelerometer only (zeros stand in for the gyroscope, with a warning).
        head: None takes the encoder's.

    Attributes:
        encoder_: the `Encoder`.
        n_features_in_: width of X, flattened.
        feature_names_in_: names of the columns of X, where it is a table with names.
    """

    def __init__(
        self,
        encoder: str | os.PathLike[str] | Encoder,
        *,
        rate_hz: float | None = None,
        acc_unit: str = "m/s2",
        gyro_unit: str = "rad/s",
        channels: int = 6,
        head: str | None = None,
    ) -> None:
        self.encoder = encoder
        self.rate_hz = rate_hz
        self.acc_unit = acc_unit
        self.gyro_unit = gyro_unit
        self.channels = channels
        self.head = head

    def __sklearn_tags__(self) -> Any:
        """Embeddings are float32, whatever the type of X."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def fit(self, X: Any, y: Any = None) -> "PrimusFeatures":
        """Load the encoder and check X; labels are not looked at.

        Raises:
            PrimusError: no such encoder or head, an unknown unit, an impossible rate, or windows
                that the encoder does not take.
            ValueError: X is not finite numbers.
        """
        if self.channels not in (3, 6):
            raise PrimusError(f"channels is {self.channels!r}; expected 6 or 3.")
        windows = self._windows(self._rows(X, reset=True))
        given: Any = self.encoder
        encoder: Encoder = given if hasattr(given, "encode_windows") else load_encoder(given)
        rate_hz = encoder.rate_hz if self.rate_hz is None else self.rate_hz
        with warnings.catch_warnings():
            # `transform` says them, of all windows
            warnings.simplefilter("ignore", SignalWarning)
            imu, _ = to_windows(
                windows[:1], rate_hz, encoder.rate_hz, self.acc_unit, self.gyro_unit
            )
        # no window is embedded, but its length and the head are checked
        self._n_features_out = encoder.encode_windows(imu[:0], self.head).shape[1]
        self.encoder_ = encoder
        self._fitted_params = self.get_params(deep=False)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Embed, float32 `[n, width of the head]`.

        Raises:
            PrimusError: windows that the encoder does not take, or settings changed since `fit`.
            ValueError: X is not finite numbers, or has another width than in `fit`.
        """
        check_is_fitted(self)
        now = self.get_params(deep=False)
        changed = [name for name, value in self._fitted_params.items() if now[name] != value]
        if changed:
            raise PrimusError(f"{changed} changed since fit; call fit again.")
        windows = self._windows(self._rows(X, reset=False))
        rate_hz = self.encoder_.rate_hz if self.rate_hz is None else self.rate_hz
        return self.encoder_.encode(windows, rate_hz, self.acc_unit, self.gyro_unit, self.head)

    def _rows(self, X: Any, *, reset: bool) -> np.ndarray:
        """X as checked rows `[n, time * channels]`."""
        shape = X.shape if hasattr(X, "shape") else np.asarray(X).shape
        if len(shape) == 3:
            if shape[2] != self.channels:
                raise PrimusError(
                    f"X has shape {shape}; expected [n, time, {self.channels}], or set channels."
                )
            X = np.asarray(X).reshape(len(X), -1)
        return validate_data(self, X, reset=reset, dtype=(np.float64, np.float32))

    def _windows(self, rows: np.ndarray) -> np.ndarray:
        """Rows -> `[n, time, channels]`."""
        if rows.shape[1] % self.channels:
            raise PrimusError(
                f"X has {rows.shape[1]} columns; expected time * {self.channels} values of a "
                f"window, time first: X.reshape(n, -1) of [n, time, {self.channels}]."
            )
        return rows.reshape(len(rows), -1, self.channels)
