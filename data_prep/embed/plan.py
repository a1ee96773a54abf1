"""The plan of an embedding: options, dataset and towers, and the identity of finished parts."""

import dataclasses
from typing import Any

from data_prep.embed.towers import DTYPES
from primus_jax.data.folder import DatasetFolder
from primus_jax.data.metadata import StoredTower
from primus_jax.errors import PrimusError
from primus_jax.models.clip.tokenizer import LENGTH, Tokenizer
from primus_jax.models.clip.towers import Towers

KINDS = ("text", "video")
# Of the files of finished parts.
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class EmbedOptions:
    """What is embedded, and how.

    Attributes:
        kinds: "text", "video" or both; empty: what the dataset has.
        tokenizer: gives token ids, which are then stored as well, where the dataset has none.
        dtype: of the towers' arithmetic, "float32" or "bfloat16"; parameters stay float32.
        batch: sentences or frames that go through a tower at a time, on all devices together.
        devices: how many to use; 0: all.
        keep_frames: store the embedded frames again (they are most of the bytes).
        replace: embeddings that the dataset has already.

    Raises:
        PrimusError: a batch that is not positive, or another dtype.
    """

    kinds: tuple[str, ...] = ()
    tokenizer: Tokenizer | None = None
    dtype: str = "float32"
    batch: int = 256
    devices: int = 0
    keep_frames: bool = False
    replace: bool = False

    def __post_init__(self) -> None:
        if self.batch < 1 or self.dtype not in DTYPES:
            raise PrimusError(
                f"a batch of {self.batch} in {self.dtype}; expected a positive number and "
                f"{' or '.join(DTYPES)}."
            )


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is embedded with what.

    Attributes:
        folder: the dataset.
        towers: the frozen towers.
        options: with the kinds that are embedded, and a tokenizer only where it is needed.
    """

    folder: DatasetFolder
    towers: Towers
    options: EmbedOptions

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of `KINDS`, those that are embedded."""
        return self.options.kinds

    @property
    def tokenizer(self) -> Tokenizer | None:
        """Gives the token ids that the dataset does not store, or None."""
        return self.options.tokenizer

    @property
    def width(self) -> int:
        """Values of an embedding."""
        config = self.towers.config
        part = config.text if "text" in self.kinds else config.vision
        assert part is not None  # `check_towers` refuses towers without it
        return part.projection

    @property
    def frames(self) -> int:
        """Frames of a window."""
        return self.folder.metadata.tensors["frames"][0]

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what the new dataset stores."""
        tensors = dict(self.folder.metadata.tensors)
        if "video" in self.kinds and not self.options.keep_frames:
            del tensors["frames"]
        if self.tokenizer is not None:
            tensors["tokens"] = (LENGTH,)
        return tensors | {f"{kind}_embedding": (self.width,) for kind in self.kinds}

    @property
    def stored_towers(self) -> dict[str, StoredTower | None]:
        """The towers behind all embeddings of the new dataset."""
        towers = {kind: self.folder.metadata.towers.get(kind) for kind in KINDS}
        name, digests = self.towers.name, self.towers.digests
        if "text" in self.kinds:
            towers["text"] = StoredTower(name, digests.get("text"))
        if "video" in self.kinds:
            towers["video"] = StoredTower(name, digests.get("vision"), self.frames)
        return towers

    @property
    def identity(self) -> dict[str, Any]:
        """What finished parts depend on, as JSON."""
        digests = {"text": self.towers.digests.get("text")}
        digests["video"] = self.towers.digests.get("vision")
        return {
            # The key is older than its spelling elsewhere: unfinished work is not thrown away.
            "data set": self.folder.content_hash,
            "towers": {kind: digests[kind] for kind in self.kinds},
            "dtype": self.options.dtype,
            "tokenizer": self.tokenizer and self.tokenizer.digest,
            "part format": FORMAT,
        }


def check_towers(plan: Plan) -> None:
    """Raise PrimusError unless the towers take what the dataset holds, in one width."""
    config, path = plan.towers.config, plan.folder.path
    parts = {"text": ("text", config.text), "video": ("vision", config.vision)}
    used = [part for kind, (_, part) in parts.items() if kind in plan.kinds and part is not None]
    for kind, (part_name, part) in parts.items():
        if kind in plan.kinds and part is None:
            other = [k for k in plan.kinds if k != kind]
            without = f", or pass --only {other[0]}" if other else ""
            raise PrimusError(
                f"{plan.towers.name} holds no {part_name} tower for "
                f"the {kind} of {path}. Give a folder that holds one{without}."
            )
    if "text" in plan.kinds and config.text is not None and config.text.positions < LENGTH:
        raise PrimusError(
            f"the text tower {plan.towers.name} takes {config.text.positions} token ids; the "
            f"{LENGTH} of CLIP are stored. Give another tower."
        )
    if "video" in plan.kinds and config.vision is not None:
        size, wanted = plan.folder.metadata.tensors["frames"][1], config.vision.image
        if size != wanted:
            raise PrimusError(
                f"{path} has frames of {size} x {size} pixels; the vision tower "
                f"{plan.towers.name} takes {wanted} x {wanted}. Prepare the dataset again with "
                f"`--frame-size {wanted}`, or give a tower for {size}."
            )
    widths = {part.projection for part in used}
    stored = [f"{kind}_embedding" for kind in KINDS if kind not in plan.kinds]
    kept = plan.folder.embedding_dim
    if kept is not None and any(name in plan.folder.metadata.tensors for name in stored):
        widths.add(kept)
    if len(widths) > 1:
        raise PrimusError(
            f"embeddings of {path} would have {sorted(widths)} values; expected one width for "
            f"text and video. Give towers of one projection, or embed both again."
        )
