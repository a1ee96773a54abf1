"""The recordings of a source that a user asked for."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_prep.har.source import Source
from data_prep.user.packs import LABEL, PLACEMENT
from primus_jax.errors import PrimusError
from primus_jax.recordings.recording import Recording


class Selection:
    """Recordings of `source` under `raw`, of the placements and without the labels named.

    `drops` counts the recordings left out since iteration began, by reason.

    Raises:
        PrimusError: while iterating, anything wrong with the files, or a placement or label that
            no recording has.
    """

    def __init__(
        self,
        source: Source,
        raw: Path,
        placements: Sequence[str] = (),
        drop_labels: Sequence[str] = (),
    ) -> None:
        self.source, self.raw = source, Path(raw)
        self.placements, self.drop_labels = frozenset(placements), frozenset(drop_labels)
        self.drops: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Recording]:
        self.drops.clear()
        seen: tuple[set[str], set[str]] = (set(), set())
        for recording in self.source.recordings(self.raw, self.drops):
            seen[0].add(recording.placement)
            seen[1].add(recording.label)
            if not self.placements and recording.placement in self.source.on_request:
                continue
            if self.placements and recording.placement not in self.placements:
                self.drops[PLACEMENT] += 1
            elif recording.label in self.drop_labels:
                self.drops[LABEL] += 1
            else:
                yield recording
        for asked, known, what in (
            (self.placements, seen[0], "placement"),
            (self.drop_labels, seen[1], "label"),
        ):
            if asked - known:
                raise PrimusError(
                    f"no recording has the {what} {min(asked - known)!r}; {self.source.title} has "
                    f"{sorted(known)}."
                )
