"""What a dataset is made of: windows of recordings, splits, and what is stored beside a window."""

import dataclasses
import importlib.util
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.dataset.splits import Splits
from data_prep.video import window_frames
from primus_jax.data.metadata import StoredTokens
from primus_jax.errors import PrimusError
from primus_jax.models.clip.tokenizer import LENGTH, Tokenizer
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.targets import window_means
from primus_jax.recordings.windows import WindowSpec, cut

# A small dataset has shards of about this size.
SHARD_BYTES = 64 << 20
# In place of the split of each group: whatever the corpus publishes.
OFFICIAL: Mapping[str, str] = {}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What becomes of recordings: their windows, splits, token ids, frames and text embeddings.

    Attributes:
        spec: rate, length, hop and frames of the windows.
        splits: fractions by group, and seed; or the split of each group, where `OFFICIAL` stands
            for the split that a corpus publishes.
        tokenizer: gives `tokens`; none are stored without one.
        text_embeddings: float `[dim]` by sentence, for windows whose recording brings none.
        name: of the dataset; "" stands for the name of its folder.
        shard_bytes: about the size of a shard before compression.

    Raises:
        PrimusError: frames are wanted, and nothing is installed that decodes video.
    """

    spec: WindowSpec = dataclasses.field(default_factory=WindowSpec)
    splits: Splits | Mapping[str, str] = dataclasses.field(default_factory=Splits)
    tokenizer: Tokenizer | None = None
    text_embeddings: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    name: str = ""
    shard_bytes: int = SHARD_BYTES

    def __post_init__(self) -> None:
        # Windows without frames are only counted, so a missing decoder must be noticed here.
        if self.spec.frames and importlib.util.find_spec("av") is None:
            raise PrimusError("frames need PyAV: pip install 'primus-jax[video]'.")

    def for_folder(self, out: Path) -> "Recipe":
        """This recipe with a name that TFDS accepts, by default that of the folder `out`."""
        return dataclasses.replace(self, name=tfds_name(self.name or out.name))

    def examples(self, recording: Recording, drops: Counter[str]) -> Iterator[dict[str, Any]]:
        """Yield the examples of one recording in the order of their windows.

        Labels are names here, and an example lacks the keys of tensors that its window does not
        have: numbers of labels and stored tensors are known for the whole dataset only.

        Args:
            recording: any.
            drops: counts what is left out, by reason.
        """
        spec = self.spec
        imu, starts, texts = cut(recording, spec, drops)
        begins = (recording.start_seconds + starts / spec.rate_hz).astype(np.float32).tolist()
        tokens: dict[str, np.ndarray] = {}
        if self.tokenizer is not None:
            sentences = sorted(set(texts))
            tokens = dict(zip(sentences, self.tokenizer(sentences), strict=True))
        frames: Iterator[np.ndarray | None] = iter([None] * len(imu))
        if spec.frames:
            frames = window_frames(recording, starts, spec, drops)
        targets = window_means(
            recording.targets, starts / spec.rate_hz, spec.samples / spec.rate_hz
        )
        for signal, begin, text, shown, numbers in zip(
            imu, begins, texts, frames, targets, strict=True
        ):
            own = recording.text_embedding if text == recording.text else None
            vectors = {
                "text_embedding": self.text_embeddings.get(text) if own is None else own,
                "video_embedding": recording.video_embedding,
            }
            arrays = {
                "imu": signal,
                "tokens": tokens.get(text),
                "frames": shown,
                "targets": numbers if recording.targets else None,
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


def stored_tokens(tokenizer: Tokenizer | None) -> StoredTokens | None:
    """What a dataset states about the tokenizer of its token ids."""
    if tokenizer is None:
        return None
    return StoredTokens(tokenizer.name, tokenizer.digest, LENGTH)


def tfds_name(name: str) -> str:
    """A name as TFDS wants it: a lower-case identifier."""
    name = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_") or "windows"
    return name if name[0].isalpha() else f"windows_{name}"
