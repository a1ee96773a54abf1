"""The recordings of all parts, each on its side of the split."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from data_prep.dataset.parts import Part, RecordingSummary
from data_prep.dataset.shards import Segment
from data_prep.dataset.splits import NAMES, Splits, assign
from primus_jax.errors import PrimusError

NO_SPLIT = "recordings that the official split does not name"


class Member(NamedTuple):
    """A recording of the dataset, and where its examples lie."""

    recording: RecordingSummary
    segment: Segment


def members_by_split(
    parts: Sequence[Part], splits: Splits | Mapping[str, str], drops: Counter[str]
) -> dict[str, list[Member]]:
    """Return the members of every split that has any, in the order of the parts.

    Args:
        parts: in the order of the dataset.
        splits: fractions by group, or the split of each group.
        drops: counts the recordings that have no split.

    Raises:
        PrimusError: two recordings of one id, or too few groups for the fractions.
    """
    members = [member for part in parts for member in _members(part)]
    _check_ids(parts)
    windows: Counter[str] = Counter()
    for recording, _ in members:
        windows[recording.group] += recording.windows
    if isinstance(splits, Splits):
        split_of: Mapping[str, str] = assign(windows, splits) if windows else {}
    else:
        split_of = splits
        drops[NO_SPLIT] += sum(recording.group not in splits for recording, _ in members)
    by_split = {
        name: [member for member in members if split_of.get(member.recording.group) == name]
        for name in NAMES
    }
    return {name: found for name, found in by_split.items() if found}


def _members(part: Part) -> list[Member]:
    """The recordings of a part with their examples, which lie one after another in its file."""
    members, first = [], 0
    for recording in part.recordings:
        members.append(Member(recording, Segment(part.path, first, recording.windows)))
        first += recording.windows
    return members


def _check_ids(parts: Sequence[Part]) -> None:
    """Raise PrimusError if recordings of two units have one id."""
    units: dict[str, str] = {}
    for part in parts:
        for recording in part.recordings:
            other = units.setdefault(recording.id, part.unit)
            if other != part.unit:
                raise PrimusError(
                    f"two recordings are called {recording.id!r}: of {other} and of {part.unit}. "
                    f"Give each recording an id of its own."
                )
