"""Names of recordings and people that stand in paths."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from primus_jax.recordings.path_pattern import named_in
from primus_jax.recordings.sources import SensorFiles, Source, files_of

_PACKED = (".gz", ".zip")


@dataclasses.dataclass(frozen=True)
class PathNames:
    """Patterns that read names from the path of a file; see `path_pattern.named_in`.

    Attributes:
        recording: with `{recording}`; "" names a recording after its file.
        subject: with `{subject}`; "" where a column names people, or nothing does.
    """

    recording: str = ""
    subject: str = ""

    def recordings(self, sources: Sequence[Source]) -> list[str]:
        """Name each source; folders are added where files have the same name.

        Raises:
            PrimusError: a path that does not fit the pattern.
        """
        if self.recording:
            return named_in(self.recording, _paths(sources), "recording")
        parts = [_parts(source) for source in sources]
        return ["/".join(part[-_depth(part, parts) :]) for part in parts]

    def subjects(self, sources: Sequence[Source]) -> list[str]:
        """The person of each source, "" without a pattern.

        Raises:
            PrimusError: a path that does not fit the pattern.
        """
        if not self.subject:
            return [""] * len(sources)
        return named_in(self.subject, _paths(sources), "subject")


def _depth(part: list[str], parts: list[list[str]]) -> int:
    """How many words tell apart all recordings that have the last word of `part`.

    The same file twice has one name, however many folders are added.
    """
    group = {tuple(other) for other in parts if other[-1] == part[-1]}
    deepest = max(map(len, group))
    return next(
        (d for d in range(1, deepest) if len({other[-d:] for other in group}) == len(group)),
        deepest,
    )


def _paths(sources: Sequence[Source]) -> list[Path]:
    return [files_of(source)[0] for source in sources]


def _parts(source: Source) -> list[str]:
    """Folders and name of a recording."""
    path = files_of(source)[0]
    if isinstance(source, SensorFiles) and source.name:
        return [source.name]
    plain = path.with_suffix("") if path.suffix.lower() in _PACKED else path
    return [*plain.absolute().parent.parts[1:], plain.stem]
