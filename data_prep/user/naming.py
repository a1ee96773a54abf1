"""Names of recordings and people that stand in paths."""

import dataclasses
from collections import Counter
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
        depth = [1] * len(parts)
        while True:
            names = ["/".join(p[-d:]) for p, d in zip(parts, depth, strict=True)]
            # the same file twice has one name, however many folders are added
            counts = Counter(
                name for name, _ in {(n, tuple(p)) for n, p in zip(names, parts, strict=True)}
            )
            deeper = [
                d + 1 if counts[name] > 1 and d < len(p) else d
                for name, p, d in zip(names, parts, depth, strict=True)
            ]
            if deeper == depth:
                return names
            depth = deeper

    def subjects(self, sources: Sequence[Source]) -> list[str]:
        """The person of each source, "" without a pattern.

        Raises:
            PrimusError: a path that does not fit the pattern.
        """
        if not self.subject:
            return [""] * len(sources)
        return named_in(self.subject, _paths(sources), "subject")


def _paths(sources: Sequence[Source]) -> list[Path]:
    return [files_of(source)[0] for source in sources]


def _parts(source: Source) -> list[str]:
    """Folders and name of a recording."""
    path = files_of(source)[0]
    if isinstance(source, SensorFiles) and source.name:
        return [source.name]
    plain = path.with_suffix("") if path.suffix.lower() in _PACKED else path
    return [*plain.absolute().parent.parts[1:], plain.stem]
