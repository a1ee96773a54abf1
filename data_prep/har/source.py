"""A public dataset: its terms, its download, and its recordings."""

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.plausible import NOT_GRAVITY, magnitudes, within_range
from primus_jax.recordings.recording import Recording

ODD_NAME = "files with an unexpected name"
FROZEN_GYRO = "recordings whose gyroscope never changes"
BEYOND_RANGE = "recordings beyond the range of any body-worn sensor"


@dataclasses.dataclass(frozen=True)
class Source:
    """A public dataset.

    Attributes:
        name: of the sub-command; the prefix of people and recordings.
        title: for people.
        licence: as its authors state it.
        citation: what to cite.
        download: how to get the official files.
        layout: what the folder given as --raw must hold.
        recordings: reads the folder; counts by reason the recordings and rows that it leaves out.
        official_split: person -> train or test, where the authors publish a split by person.
        on_request: placements that a dataset has only where they are asked for.
    """

    name: str
    title: str
    licence: str
    citation: str
    download: str
    layout: str
    recordings: Callable[[Path, Counter[str]], Iterator[Recording]]
    official_split: Mapping[str, str] = dataclasses.field(default_factory=dict)
    on_request: frozenset[str] = frozenset()

    def files(
        self, raw: Path, pattern: str, name: str, drops: Counter[str]
    ) -> list[tuple[Path, re.Match[str]]]:
        """Files at any depth under `raw`, in natural order, with what their path says.

        Args:
            raw: the folder of the official files, or one above it.
            pattern: a glob for the end of the path.
            name: a regular expression for the end of the path; files of the pattern that do not
                match are counted.
            drops: the counter.

        Raises:
            PrimusError: no such folder, or not one file.
        """
        found = []
        for path in sorted(raw.rglob(pattern), key=_natural) if raw.is_dir() else []:
            if path.name.startswith(".") or "__MACOSX" in path.parts or not path.is_file():
                continue
            match = re.search(f"(?:^|/){name}$", path.as_posix())
            if match:
                found.append((path, match))
            else:
                drops[ODD_NAME] += 1
        if not found:
            raise PrimusError(
                f"{raw}: no files of {self.title} there. Expected {self.layout}. "
                f"To get them: {self.download}"
            )
        return found


def sentence(label: str) -> str:
    """A sentence for an activity that is named by a gerund, as in "walking upstairs"."""
    return f"a person is {label}"


def believable(drops: Counter[str], *, text: str = "", **fields: Any) -> Iterator[Recording]:
    """Yield the recording with a sentence, or count why its signal cannot be true."""
    signal = np.asarray(fields["signal"])
    if not magnitudes(signal).gravity:
        drops[NOT_GRAVITY] += 1
    elif not within_range(signal):
        drops[BEYOND_RANGE] += 1
    elif fields.get("has_gyro", True) and len(signal) > 1 and not np.ptp(signal[:, 3:], 0).any():
        drops[FROZEN_GYRO] += 1
    else:
        yield Recording(text=text or sentence(fields["label"]), **fields)


def _natural(path: Path) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdigit() else (-1, part)
        for part in re.split(r"(\d+)", path.as_posix())
    ]
