"""Parts -> a dataset folder: splits, shards and metadata. The one way to write a folder.

Only summaries are in memory; the examples go from the parts into the shards a few at a time.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from data_prep.dataset.members import Member, members_by_split
from data_prep.dataset.origin import Origin
from data_prep.dataset.parts import Part, RecordingSummary
from data_prep.dataset.recipe import Recipe, stored_tokens
from data_prep.dataset.shards import (
    Schema,
    ShardExamples,
    cut_into_shards,
    shard_file,
    windows_per_shard,
    written_shard,
)
from data_prep.dataset.splits import Splits
from data_prep.dataset.tfds import build
from primus_jax.data.folder import TENSORS
from primus_jax.data.metadata import Counts, Metadata, Shard, write_metadata
from primus_jax.data.people import FILE as PEOPLE
from primus_jax.data.people import coded, people_arrays
from primus_jax.errors import PrimusError
from primus_jax.provenance import provenance

Members = Mapping[str, Sequence[Member]]


def assemble(
    folder: Path,
    parts: Sequence[Part],
    recipe: Recipe,
    origin: Origin,
    *,
    drops: Mapping[str, int] | None = None,
    beam: tuple[str, Sequence[str]] | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> None:
    """Write shards and metadata.json into `folder`.

    Args:
        folder: an existing one.
        parts: in the order of the dataset.
        recipe: that made the parts, with a name and splits.
        origin: of the recordings.
        drops: what was left out, in addition to what the parts count.
        beam: runner and options that write the shards; one after another here if None.
        log: takes progress lines.

    Raises:
        PrimusError: no windows at all, two recordings of one id, tensors of different shapes, or
            too few groups for the splits.
    """
    left_out = Counter(drops or {})
    for part in parts:
        left_out.update(part.drops)
    members = members_by_split(parts, recipe.splits, left_out)
    left_out = Counter({reason: count for reason, count in sorted(left_out.items()) if count})
    if not members:
        raise PrimusError(
            f"no window is left to write to {recipe.name}; left out: {dict(left_out) or 0}."
        )
    schema = _schema([member.recording for found in members.values() for member in found], recipe)
    shards = _shards(members, schema, recipe.shard_bytes)
    windows = {split: sum(shard.count for shard in found) for split, found in shards.items()}
    log(f"  writing {', '.join(f'{count:,} {split}' for split, count in windows.items())} windows")
    build(folder, recipe.name, shards, schema, beam)
    written = {
        split: tuple(
            written_shard(folder, shard_file(recipe.name, split, i, len(found)), shard.count)
            for i, shard in enumerate(found)
        )
        for split, found in shards.items()
    }
    _write_people(folder, members)
    write_metadata(folder, _metadata(recipe, origin, members, schema, written, left_out))


def _write_people(folder: Path, members: Members) -> None:
    """Write who wore the sensor in every window; not where parts of an older version do not tell.

    A run that draws windows of one person reads this table in place of every window.
    """
    arrays: dict[str, np.ndarray] = {}
    for split, found in members.items():
        recordings = [member.recording for member in found]
        if any(len(r.starts) != r.windows for r in recordings):
            return
        sizes = [r.windows for r in recordings]
        starts = [start for r in recordings for start in r.starts]
        names = ([r.subject for r in recordings], [r.id for r in recordings])
        arrays |= people_arrays(split, coded(*names, sizes, starts))
    # The checker takes the names of arrays for those of options.
    np.savez(folder / PEOPLE, **arrays)  # type: ignore[arg-type]


def _schema(recordings: Sequence[RecordingSummary], recipe: Recipe) -> Schema:
    """What the windows of these recordings have, taken together.

    Raises:
        PrimusError: embeddings of different widths, or targets of different names.
    """
    tensors: dict[str, tuple[int, ...]] = {}
    widths: set[int] = set()
    for recording in recordings:
        for name, shape in recording.shapes.items():
            tensors[name] = tuple(shape)
            if name.endswith("_embedding"):
                widths.add(shape[0])
    if len(widths) > 1:
        raise PrimusError(
            f"embeddings of {sorted(widths)} values; expected one width for all. Embed all "
            f"sentences and videos with one model."
        )
    if recipe.spec.frames and "frames" not in tensors:
        size = recipe.spec.frame_size
        tensors["frames"] = (recipe.spec.frames, size, size, 3)
    return Schema(
        {name: tensors[name] for name in TENSORS if name in tensors},
        tuple(sorted({recording.label for recording in recordings} - {""})),
        next(iter(widths), None),
        _target_names(recordings),
    )


def _target_names(recordings: Sequence[RecordingSummary]) -> tuple[str, ...]:
    """The names of the numbers to predict, the same in every recording.

    Raises:
        PrimusError: two recordings have others.
    """
    first = recordings[0]
    for other in recordings:
        if other.targets != first.targets:
            raise PrimusError(
                f"recording {first.id!r} has the targets {first.targets}, and {other.id!r} has "
                f"{other.targets}. Give every recording the same names, in the same order."
            )
    return tuple(first.targets)


def _shards(members: Members, schema: Schema, shard_bytes: int) -> dict[str, list[ShardExamples]]:
    """Divide the examples of every split into shards of about `shard_bytes`."""
    windows = {
        split: sum(member.recording.windows for member in found) for split, found in members.items()
    }
    full = windows_per_shard(sum(windows.values()), schema, shard_bytes)
    return {
        split: [
            ShardExamples(segments, schema)
            for segments in cut_into_shards(
                [member.segment for member in found], -(-windows[split] // full)
            )
        ]
        for split, found in members.items()
    }


def _metadata(
    recipe: Recipe,
    origin: Origin,
    members: Members,
    schema: Schema,
    shards: Mapping[str, tuple[Shard, ...]],
    drops: Mapping[str, int],
) -> Metadata:
    """What the dataset states about itself."""
    spec = recipe.spec
    drawn = recipe.splits if isinstance(recipe.splits, Splits) else None
    recordings = {split: [member.recording for member in found] for split, found in members.items()}
    return Metadata(
        name=recipe.name,
        simulated=origin.simulated,
        source=origin.source,
        licence=origin.licence,
        corpus=origin.corpus,
        towers={"text": None, "video": None} if origin.corpus else {},
        failed=origin.failed,
        facts=origin.facts,
        rate_hz=float(spec.rate_hz),
        window_samples=spec.samples,
        window_seconds=spec.samples / spec.rate_hz,
        hop_seconds=spec.hop / spec.rate_hz,
        tokenizer=stored_tokens(recipe.tokenizer),
        drops=dict(drops),
        label_names=schema.label_names,
        target_names=schema.target_names,
        embedding_dim=schema.embedding_dim,
        tensors=schema.tensors,
        split_fractions=tuple(drawn.fractions) if drawn else None,
        split_seed=drawn.seed if drawn else None,
        split_published=drawn is None or bool(drawn.test_groups),
        groups={
            split: tuple(sorted({recording.group for recording in found}))
            for split, found in recordings.items()
        },
        counts={split: _counts(found, schema.label_names) for split, found in recordings.items()},
        placement=_windows_by("placement", [r for found in recordings.values() for r in found]),
        shards=shards,
        content_hash=_content_hash(recordings),
        made_with=provenance(),
    )


def _content_hash(recordings: Mapping[str, Sequence[RecordingSummary]]) -> str:
    """A digest of all examples in their order, from those of the recordings."""
    digest = hashlib.blake2b(digest_size=16)
    for split, found in recordings.items():
        digest.update(json.dumps([split, [recording.digest for recording in found]]).encode())
    return digest.hexdigest()


def _counts(recordings: Sequence[RecordingSummary], label_names: Sequence[str]) -> Counts:
    """Windows of one split."""
    labels = _windows_by("label", recordings)
    return Counts(
        windows=sum(r.windows for r in recordings),
        recordings=len(recordings),
        with_text=sum(r.with_text for r in recordings),
        with_text_embedding=sum(r.has.get("text_embedding", 0) for r in recordings),
        with_video_embedding=sum(r.has.get("video_embedding", 0) for r in recordings),
        with_frames=sum(r.has.get("frames", 0) for r in recordings),
        without_gyro=sum(r.windows for r in recordings if not r.has_gyro),
        labels={name: labels[name] for name in label_names if name in labels},
        unlabelled=labels.get("", 0),
    )


def _windows_by(field: str, recordings: Sequence[RecordingSummary]) -> dict[str, int]:
    """Windows by the value of a field of their recordings, sorted."""
    counts: Counter[str] = Counter()
    for recording in recordings:
        counts[getattr(recording, field)] += recording.windows
    return dict(sorted(counts.items()))
