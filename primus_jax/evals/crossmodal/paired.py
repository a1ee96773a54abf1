"""Embeddings of windows beside the stored embeddings of their sentences and videos."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError

TARGETS = ("text", "video")
ALL = "all"


@dataclasses.dataclass(frozen=True)
class PairedWindows:
    """Windows of some splits, in their order.

    `embedding` is float32 `[n, dim]`; `label` int `[n]`, an index into the dataset's names or -1;
    `text` str `[n]`; `targets` has, for "text" and "video" where the dataset stores them, float32
    `[n, dim]`, and `present` bool `[n]` which windows have one; `recording` str `[n]` names the
    recording of each, or is None where that is not known.
    """

    embedding: np.ndarray
    label: np.ndarray
    text: np.ndarray
    targets: dict[str, np.ndarray]
    present: dict[str, np.ndarray]
    recording: np.ndarray | None = None


def chosen_splits(folder: DatasetFolder, split: str) -> list[str]:
    """The split of that name, or every split for "all".

    Raises:
        PrimusError: no such split.
    """
    if split == ALL:
        return list(folder.splits)
    if split not in folder.splits:
        raise PrimusError(
            f"{folder.path}: no split {split!r}; the dataset has {list(folder.splits)} (or "
            f"choose {ALL!r})."
        )
    return [split]


def check_width(encoder: Encoder, head: str, dim: int, what: str) -> None:
    """Raise PrimusError unless the encoder's head is as wide as the embeddings."""
    width = encoder.config.width(head)
    if width != dim:
        raise PrimusError(
            f"the encoder's head {head!r} has {width} values, but {what} "
            f"{dim}: they cannot be compared. Take the embeddings of the towers that the encoder "
            f"was pretrained with."
        )


def paired_windows(
    encoder: Encoder, folder: DatasetFolder, splits: Sequence[str], head: str
) -> PairedWindows:
    """Embed every window of `splits`, and read what is stored beside them.

    Raises:
        PrimusError: the dataset's rate is not the encoder's, its windows are too short for it, or
            the encoder has no such head.
    """
    folder.check_rate(encoder.rate_hz)
    stored = [name for name in TARGETS if f"{name}_embedding" in folder.metadata.tensors]
    embedding, label, text, recording = [], [], [], []
    targets: dict[str, list[np.ndarray]] = {name: [] for name in stored}
    present: dict[str, list[bool]] = {name: [] for name in stored}
    for split in splits:
        for rows in folder.windows(split):
            imu = np.stack([row["imu"] for row in rows])
            embedding.append(encoder.encode_windows(imu, head=head))
            label += [row["label"] for row in rows]
            text += [row["text"] for row in rows]
            recording += [row["recording"] for row in rows]
            for name in stored:
                block = np.stack([row[f"{name}_embedding"] for row in rows])
                targets[name].append(block.astype(np.float32))
                present[name] += [row[f"has_{name}_embedding"] for row in rows]
    return PairedWindows(
        embedding=np.concatenate(embedding),
        label=np.asarray(label, np.int32),
        text=np.asarray(text, dtype=str),
        targets={name: np.concatenate(blocks) for name, blocks in targets.items()},
        present={name: np.asarray(flags, bool) for name, flags in present.items()},
        recording=np.asarray(recording, dtype=str),
    )
