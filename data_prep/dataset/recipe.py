"""A recording becomes examples: the windows with everything that is stored beside them."""

import dataclasses
import importlib.util
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from data_prep.video import window_frames
from primus_jax.errors import PrimusError
from primus_jax.models.clip.tokenizer import Tokenizer
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.windows import WindowSpec, cut


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What becomes of a recording: its windows, token ids, frames and text embeddings.

    Attributes:
        spec: rate, length, hop and frames of the windows.
        tokenizer: gives `tokens`; none are stored without one.
        text_embeddings: by sentence, for windows whose recording brings none.

    Raises:
        PrimusError: frames are wanted, and nothing is installed that decodes video.
    """

    spec: WindowSpec
    tokenizer: Tokenizer | None = None
    text_embeddings: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        # A window without frames is only counted, so this must not wait for the first video.
        if self.spec.frames and importlib.util.find_spec("av") is None:
            raise PrimusError("frames need PyAV: pip install 'primus-jax[video]'.")

    def examples(self, recording: Recording, drops: Counter[str]) -> Iterator[dict[str, Any]]:
        """Yield the examples of one recording in the order of their windows.

        Labels are names here, and what a window does not have is left out: only the whole dataset
        knows the labels' numbers and which tensors it stores.

        Args:
            recording: any.
            drops: counts what is left out by reason.
        """
        spec = self.spec
        imu, starts, texts = cut(recording, spec, drops)
        begins = (recording.start_seconds + starts / spec.rate_hz).astype(np.float32).tolist()
        tokens = {}
        if self.tokenizer is not None:
            sentences = sorted(set(texts))
            tokens = dict(zip(sentences, self.tokenizer(sentences), strict=True))
        frames = iter([None] * len(imu))
        if spec.frames:
            frames = window_frames(recording, starts, spec, drops)
        for signal, begin, text, shown in zip(imu, begins, texts, frames, strict=True):
            own = recording.text_embedding if text == recording.text else None
            vectors = {
                "text_embedding": self.text_embeddings.get(text) if own is None else own,
                "video_embedding": recording.video_embedding,
            }
            arrays = {
                "imu": signal,
                "tokens": tokens.get(text),
                "frames": shown,
                **{k: v if v is None else np.asarray(v, np.float16) for k, v in vectors.items()},
            }
            yield {
                "has_gyro": recording.has_gyro,
                "label": recording.label,
                "text": text,
                "subject": recording.subject,
                "group": recording.split_group,
                "recording": recording.id,
                "placement": recording.placement,
                "start_seconds": begin,
                **{name: array for name, array in arrays.items() if array is not None},
            }
