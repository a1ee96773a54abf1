"""What a dataset folder states about itself: `metadata.json`, typed, read and written here."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from primus_jax.errors import PrimusError
from primus_jax.files import read_json
from primus_jax.window import CHANNELS

FILE = "metadata.json"
FORMAT = 1
UNITS = {"accelerometer": "m/s^2, gravity included", "gyroscope": "rad/s"}
# Types of JSON values by the type of a field: a fraction may be written as a whole number.
_PLAIN: dict[Any, tuple[type, ...]] = {int: (int,), float: (int, float), str: (str,)}


@dataclasses.dataclass(frozen=True)
class Shard:
    """One ArrayRecord file of a split: its name in the folder, its windows, its size."""

    file: str
    examples: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class Counts:
    """Windows of one split: all, those with what some lack, and those of each label."""

    windows: int = 0
    recordings: int = 0
    with_text: int = 0
    with_text_embedding: int = 0
    with_video_embedding: int = 0
    with_frames: int = 0
    without_gyro: int = 0
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unlabelled: int = 0


@dataclasses.dataclass(frozen=True)
class CorpusVersion:
    """Name and version of the corpus that a dataset was made from."""

    name: str
    version: str


@dataclasses.dataclass(frozen=True)
class StoredTokens:
    """The tokenizer behind stored token ids, the digest of its vocabulary, ids of a sentence."""

    name: str
    hash: str
    length: int


@dataclasses.dataclass(frozen=True)
class StoredTower:
    """A frozen tower whose embeddings are stored: its name, the digest of its weights, frames."""

    name: str
    digest: str | None
    frames: int | None = None


@dataclasses.dataclass(frozen=True)
class Embedded:
    """How `primus-jax embed` made a dataset: of what, in which arithmetic, from which dataset."""

    kinds: tuple[str, ...]
    dtype: str
    content_hash: str
    made_with: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metadata:
    """Everything in `metadata.json`; the fields are its keys, in its order.

    Folders of earlier versions lack the keys that have a default here.

    Attributes:
        name: of the dataset, a lower-case identifier.
        simulated: nothing in it was measured.
        source: where the recordings come from, in words.
        licence: of the recordings, in words.
        corpus: the corpus that it was made from, or None.
        towers: of "text" and "video", the tower whose embeddings are stored; None (or no such key)
            where there is none or nobody knows.
        failed: units of the corpus that could not be prepared, with the reason.
        facts: further keys of a corpus, and those that this version does not know.
        rate_hz: samples a second of every window.
        window_samples: samples of every window.
        window_seconds: length of every window; 0 gives `window_samples / rate_hz`.
        hop_seconds: between the starts of neighbouring windows that no narration places; 0 gives
            `window_seconds`.
        channels: names of the six channels.
        units: of "accelerometer" and "gyroscope", in words.
        tokenizer: behind the stored token ids, or None without any.
        drops: what was left out, by reason.
        label_names: names of the labels 0, 1, ...
        target_names: names of the numbers to predict in the order of `targets`; () without any.
        embedding_dim: width of stored text or video embeddings, or None without any.
        tensors: shape of every tensor of a window by its name.
        split_fractions: of training, validation and test; None for a published split.
        split_seed: of the draw, or None.
        split_published: the split, or its test side, is the corpus's own.
        groups: names of the groups (people) of each split.
        counts: windows of each split.
        placement: windows by placement of the sensor.
        shards: files of each split, in the order of the windows.
        content_hash: of all windows in their order.
        embedded: how embeddings were added, or None.
        made_with: versions, platform, command and time.
        keys: of the file that this was read from, which `to_json` keeps in their order.
    """

    name: str
    simulated: bool
    source: str = ""
    licence: str = ""
    corpus: CorpusVersion | None = None
    towers: Mapping[str, StoredTower | None] = dataclasses.field(default_factory=dict)
    failed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rate_hz: float
    window_samples: int
    window_seconds: float = 0.0
    hop_seconds: float = 0.0
    channels: tuple[str, ...] = CHANNELS
    units: Mapping[str, str] = dataclasses.field(default_factory=lambda: dict(UNITS))
    tokenizer: StoredTokens | None = None
    drops: Mapping[str, int] = dataclasses.field(default_factory=dict)
    label_names: tuple[str, ...]
    target_names: tuple[str, ...] = ()
    embedding_dim: int | None
    tensors: Mapping[str, tuple[int, ...]]
    split_fractions: tuple[float, ...] | None = None
    split_seed: int | None = None
    split_published: bool = False
    groups: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    counts: Mapping[str, Counts] = dataclasses.field(default_factory=dict)
    placement: Mapping[str, int] = dataclasses.field(default_factory=dict)
    shards: Mapping[str, tuple[Shard, ...]]
    content_hash: str
    embedded: Embedded | None = None
    made_with: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    keys: tuple[str, ...] = dataclasses.field(default=(), compare=False)

    def __post_init__(self) -> None:
        if not self.window_seconds and self.rate_hz:
            object.__setattr__(self, "window_seconds", self.window_samples / self.rate_hz)
        if not self.hop_seconds:
            object.__setattr__(self, "hop_seconds", self.window_seconds)

    @property
    def windows_with_text(self) -> int:
        """Windows of all splits that have a sentence."""
        return sum(counts.with_text for counts in self.counts.values())

    def to_json(self) -> dict[str, Any]:
        """Return the content of `metadata.json`; keys that were read come first, in their order.

        A dataset without towers, added embeddings or targets has no key for them.
        """
        values: dict[str, Any] = {"format": FORMAT}
        for name, value in dataclasses.asdict(self).items():
            if name == "facts":
                values |= value
            elif name != "keys" and (value or name not in ("towers", "embedded", "target_names")):
                values[name] = value
        for tower in filter(None, values.get("towers", {}).values()):
            if tower["frames"] is None:
                del tower["frames"]
        return {key: values[key] for key in (*self.keys, *values) if key in values}


def read_metadata(folder: Path) -> Metadata:
    """Read and check `metadata.json` of a dataset folder.

    Raises:
        PrimusError: no such file, not JSON, another format, or a key that is missing or damaged.
    """
    file = folder / FILE
    expected = "Expected a dataset folder of primus-jax; `primus-jax prepare` makes one."
    values = read_json(file, expected)
    found = values.get("format") if isinstance(values, dict) else None
    if found != FORMAT:
        raise PrimusError(f"{file}: format {found!r}; this version reads format {FORMAT}.")
    facts = {key: value for key, value in values.items() if key not in _KEYS}
    try:
        metadata: Metadata = _record(Metadata, values | {"facts": facts, "keys": list(values)})
    except _Damaged as error:
        raise PrimusError(f"{file}: {error} is missing or damaged. Prepare it again.") from None
    return metadata


def write_metadata(folder: Path, metadata: Metadata) -> None:
    """Write `metadata.json` into a dataset folder."""
    text = json.dumps(metadata.to_json(), indent=1, ensure_ascii=False)
    (folder / FILE).write_text(text, encoding="utf-8")


_KEYS = {"format", *(field.name for field in dataclasses.fields(Metadata))} - {"facts", "keys"}


class _Damaged(Exception):
    """A value of JSON is not of its type; holds the name of the key."""


def _record(kind: Any, values: dict[str, Any]) -> Any:
    """An object of JSON as the dataclass `kind`; null or no value is the field's default."""
    types = get_type_hints(kind)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        value = values.get(field.name)
        needed = (field.default, field.default_factory) == (dataclasses.MISSING,) * 2
        if value is None and not needed:
            continue
        try:
            if field.name not in values:
                raise _Damaged
            fields[field.name] = _typed(types[field.name], value)
        except _Damaged as error:
            # The outermost key is named: it is the one to look for in the file.
            raise _Damaged(repr(field.name)) from error
    return kind(**fields)


def _typed(kind: Any, value: Any) -> Any:
    """A value of JSON as the type of a field, with tuples for lists and dataclasses for objects."""
    items = get_args(kind)
    if isinstance(kind, UnionType):
        return None if value is None else _typed(items[0], value)
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_typed(items[0], item) for item in value)
    if get_origin(kind) is Mapping and isinstance(value, dict):
        return {key: _typed(items[1], item) for key, item in value.items()}
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _record(kind, value)
    if kind is Any or (kind is bool and isinstance(value, bool)):
        return value
    if isinstance(value, bool) or not isinstance(value, _PLAIN.get(kind, ())):
        raise _Damaged
    return value
