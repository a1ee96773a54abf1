"""The encoder and the windows of a retrieval or zero-shot evaluation."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder, load_encoder
from primus_jax.evals.crossmodal.paired import (
    PairedWindows,
    check_width,
    chosen_splits,
    paired_windows,
)
from primus_jax.evals.identity import encoder_hash
from primus_jax.models.heads import cross_modal_head
from primus_jax.provenance import provenance


@dataclasses.dataclass(frozen=True)
class Inputs:
    """An encoder's head, and the split of a dataset.

    Attributes:
        path: where the encoder was read.
        encoder: what embeds windows.
        head: its output that is compared.
        folder: the dataset.
        split: "train", "validation", "test" or "all".
    """

    path: Path
    encoder: Encoder
    head: str
    folder: DatasetFolder
    split: str

    @property
    def title(self) -> str:
        """Dataset and split, for a heading."""
        simulated = " (simulated)" if self.folder.simulated else ""
        return f"{self.folder.name}, {self.split}{simulated}"

    @property
    def splits(self) -> list[str]:
        """The splits that are evaluated; PrimusError where there is no such split."""
        return chosen_splits(self.folder, self.split)

    def windows(self, dim: int, compared_with: str) -> PairedWindows:
        """Embed every window, beside what is stored with it.

        Args:
            dim: width of the embeddings that the windows are compared with.
            compared_with: those embeddings in words.

        Raises:
            PrimusError: the head has another width, or what `paired_windows` raises.
        """
        check_width(self.encoder, self.head, dim, compared_with)
        return paired_windows(self.encoder, self.folder, self.splits, self.head)

    def row(self) -> dict[str, Any]:
        """What a row of results.jsonl states about encoder, dataset and how it was made."""
        return {
            "encoder": self.path.stem,
            "encoder_hash": encoder_hash(self.encoder),
            "encoder_config": dataclasses.asdict(self.encoder.config),
            "head": self.head,
            "dataset": self.folder.name,
            "simulated": self.folder.simulated,
            "dataset_hash": self.folder.content_hash,
            "split": self.split,
            "provenance": provenance(),
        }

    def training_notes(self, targets: Sequence[str]) -> list[str]:
        """A sentence for each target that the encoder is not known to have been trained with."""
        notes = []
        for target in targets:
            found = cross_modal_head(self.encoder.config.heads, self.encoder.metadata, target)
            if found.trained is False:
                notes.append(f"The encoder {found.reason}: chance is expected.")
            elif found.trained is None:
                notes.append(f"The encoder {found.reason}: expect chance if it was not.")
        return list(dict.fromkeys(notes))


def open_inputs(encoder: Path, data: Path, split: str, head: str | None = None) -> Inputs:
    """Read an encoder and a dataset.

    Args:
        encoder: an export folder or a file of weights.
        data: a dataset folder.
        split: "train", "validation", "test" or "all".
        head: output of the encoder; None: the one that is compared with sentences and videos.

    Raises:
        PrimusError: what `load_encoder` and `DatasetFolder` raise.
    """
    loaded = load_encoder(encoder)
    head = head or cross_modal_head(loaded.config.heads, loaded.metadata).name
    return Inputs(encoder, loaded, head, DatasetFolder(data), split)
