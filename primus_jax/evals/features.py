"""Embeddings of a whole dataset with everything an evaluation needs to know about each window."""

import dataclasses
import hashlib
from typing import Any

import numpy as np

from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.recordings.embedding import WindowEncoder

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Features:
    """Embeddings of n windows, in the order of the dataset.

    `embedding` is float32 `[n, dim]`; `label` is int `[n]`, an index into `label_names` or -1 for
    unlabelled; `subject`, `group`, `recording`, `placement` and `split` are str `[n]`;
    `content` is a digest of each window's signal, bytes `[n]`, or None where it is not known.

    `targets` is float32 `[n, target_names]`, NaN where a number is not known, or None without any.
    `start` is float `[n]`, seconds after the start of the recording, or None.
    """

    embedding: np.ndarray
    label: np.ndarray
    label_names: tuple[str, ...]
    subject: np.ndarray
    group: np.ndarray
    recording: np.ndarray
    placement: np.ndarray
    split: np.ndarray
    content: np.ndarray | None = None
    target_names: tuple[str, ...] = ()
    targets: np.ndarray | None = None
    start: np.ndarray | None = None

    def check_finite(self) -> None:
        """Raise PrimusError for an embedding that is not finite, naming its recording."""
        finite = np.isfinite(self.embedding).all(1)
        if not finite.all():
            row = int(np.argmin(finite))
            raise PrimusError(
                f"the embedding of window {row} (recording {str(self.recording[row])!r}) is not "
                f"finite; the encoder's weights are damaged or its training diverged."
            )


def dataset_features(
    encoder: WindowEncoder, folder: DatasetFolder, head: str = "emb", batch_size: int = 256
) -> Features:
    """Embed every window of every split once; none is dropped, the last batch is padded.

    Raises:
        PrimusError: the dataset's rate is not the encoder's, or the dataset is empty.
    """
    folder.check_rate(encoder.rate_hz)
    embedding: list[np.ndarray] = []
    content: list[bytes] = []
    columns: dict[str, list[Any]] = {name: [] for name in ("label", *_TEXTS, "split")}
    targets: list[np.ndarray] = []
    start: list[float] = []
    for split in SPLITS:
        if not folder.splits.get(split):
            continue
        for rows in folder.windows(split):
            imu = np.stack([row["imu"] for row in rows])
            embedding.append(encoder.encode_windows(imu, head=head, batch_size=batch_size))
            content.extend(window_digest(window) for window in imu)
            for name in ("label", *_TEXTS):
                columns[name].extend(row[name] for row in rows)
            columns["split"].extend([split] * len(rows))
            start.extend(row["start_seconds"] for row in rows)
            if folder.target_names:
                targets.extend(row["targets"] for row in rows)
    if not embedding:
        raise PrimusError(f"{folder.path}: no windows in any split; there is nothing to evaluate.")
    return Features(
        embedding=np.concatenate(embedding).astype(np.float32),
        label=np.asarray(columns.pop("label"), np.int32),
        label_names=tuple(folder.label_names),
        content=np.asarray(content),
        target_names=folder.target_names,
        targets=np.stack(targets) if targets else None,
        start=np.asarray(start),
        **{name: np.asarray(values, dtype=str) for name, values in columns.items()},
    )


def dataset_windows(folder: DatasetFolder) -> np.ndarray:
    """Every window float32 `[n, time, 6]` in the order of `dataset_features`, held in memory."""
    parts = []
    for split in SPLITS:
        if folder.splits.get(split):
            parts += [np.stack([row["imu"] for row in rows]) for rows in folder.windows(split)]
    if not parts:
        raise PrimusError(f"{folder.path}: no windows in any split; there is nothing to evaluate.")
    return np.concatenate(parts)


def window_digest(imu: np.ndarray) -> bytes:
    """16 hex digits of blake2b of a window's samples: equal windows have equal digests."""
    # numpy strips trailing zero bytes of byte strings, so the digest is kept as hex digits
    return hashlib.blake2b(np.ascontiguousarray(imu).data, digest_size=8).hexdigest().encode()


_TEXTS = ("subject", "group", "recording", "placement")
