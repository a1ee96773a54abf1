"""What is embedded with which towers, and what finished parts depend on."""

import dataclasses
from typing import Any

from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.models.clip.tokenizer import LENGTH, Tokenizer
from primus_jax.models.clip.towers import Towers

KINDS = ("text", "video")
# Of the files of finished parts.
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is embedded with what.

    Attributes:
        folder: the dataset.
        towers: the frozen towers.
        kinds: of `KINDS`, those that are embedded.
        tokenizer: gives the token ids that the dataset does not store, or None.
        dtype: of the towers' arithmetic, "float32" or "bfloat16".
        batch: sentences or frames that go through a tower at a time, on all devices together.
        keep_frames: frames stay in the dataset although they are embedded.
    """

    folder: DatasetFolder
    towers: Towers
    kinds: tuple[str, ...]
    tokenizer: Tokenizer | None
    dtype: str
    batch: int
    keep_frames: bool

    @property
    def width(self) -> int:
        """Values of an embedding."""
        config = self.towers.config
        return (config.text if "text" in self.kinds else config.vision).projection

    @property
    def frames(self) -> int:
        """Frames of a window."""
        return self.folder.metadata["tensors"]["frames"][0]

    @property
    def tensors(self) -> dict[str, list[int]]:
        """Shapes of what the new dataset stores."""
        tensors = dict(self.folder.metadata["tensors"])
        if "video" in self.kinds and not self.keep_frames:
            del tensors["frames"]
        if self.tokenizer is not None:
            tensors["tokens"] = [LENGTH]
        return tensors | {f"{kind}_embedding": [self.width] for kind in self.kinds}

    @property
    def tower_metadata(self) -> dict[str, dict[str, Any] | None]:
        """Name and digest of the towers behind all embeddings of the new dataset."""
        digests = self.towers.digests
        new = {
            "text": {"name": self.towers.name, "digest": digests.get("text")},
            "video": {"name": self.towers.name, "digest": digests.get("vision")},
        }
        if "video" in self.kinds:
            new["video"]["frames"] = self.frames
        return {kind: new[kind] if kind in self.kinds else self.folder.towers[kind] for kind in new}

    @property
    def identity(self) -> dict[str, Any]:
        """What finished parts depend on."""
        towers = self.tower_metadata
        return {
            "data set": self.folder.content_hash,
            "towers": {kind: towers[kind]["digest"] for kind in self.kinds},
            "dtype": self.dtype,
            "tokenizer": self.tokenizer and self.tokenizer.digest,
            "part format": FORMAT,
        }


def check_towers(plan: Plan) -> None:
    """Raise PrimusError unless the towers take what the dataset holds, in one width."""
    config, path = plan.towers.config, plan.folder.path
    for kind, part in (("text", config.text), ("video", config.vision)):
        if kind in plan.kinds and part is None:
            other = [k for k in plan.kinds if k != kind]
            without = f", or pass --only {other[0]}" if other else ""
            raise PrimusError(
                f"{plan.towers.name} holds no {'text' if kind == 'text' else 'vision'} tower for "
                f"the {kind} of {path}. Give a folder that holds one{without}."
            )
    if "text" in plan.kinds and config.text.positions < LENGTH:
        raise PrimusError(
            f"the text tower {plan.towers.name} takes {config.text.positions} token ids; the "
            f"{LENGTH} of CLIP are stored. Give another tower."
        )
    if "video" in plan.kinds:
        size, wanted = plan.folder.metadata["tensors"]["frames"][1], config.vision.image
        if size != wanted:
            raise PrimusError(
                f"{path} has frames of {size} x {size} pixels; the vision tower "
                f"{plan.towers.name} takes {wanted} x {wanted}. Prepare the dataset again with "
                f"`--frame-size {wanted}`, or give a tower for {size}."
            )
    parts = {"text": config.text, "video": config.vision}
    widths = {parts[kind].projection for kind in plan.kinds}
    stored = [f"{kind}_embedding" for kind in KINDS if kind not in plan.kinds]
    if any(name in plan.folder.metadata["tensors"] for name in stored):
        widths.add(plan.folder.embedding_dim)
    if len(widths) > 1:
        raise PrimusError(
            f"embeddings of {path} would have {sorted(widths)} values; expected one width for "
            f"text and video. Give towers of one projection, or embed both again."
        )
