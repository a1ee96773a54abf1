"""The job of preparing one unit of a corpus, and the protocols of corpora and engines.

Engines (`pool`, `beam`) differ in where they prepare units, never in the result: every unit becomes
a part in the work folder, or a note with the reason why not.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from data_prep.dataset.parts import part_path, read_part, write_part
from data_prep.dataset.recipe import Recipe
from primus_jax.errors import PrimusError
from primus_jax.files import replace_file
from primus_jax.recordings.recording import Recording


class Corpus(Protocol):
    """A source of recordings in independent units; picklable, and the same in every process.

    Attributes:
        name: of the corpus.
        version: of the raw files, in words.
        source: where it comes from, in words.
        licence: in words.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def licence(self) -> str: ...

    def units(self) -> list[str]:
        """Sorted ids of independent pieces of work (a video, a take)."""
        ...

    def recordings(self, unit: str) -> tuple[list[Recording], Counter[str]]:
        """The recordings of one unit, and what was left out by reason.

        Raises:
            PrimusError: a broken file, named in the message; the unit is reported, others go on.
        """
        ...

    def official_split(self) -> dict[str, str]:
        """Split group -> "train", "validation" or "test", as published; {} if nothing is."""
        ...

    def facts(self) -> dict[str, Any]:
        """Further keys of `metadata.json`, as JSON; asked for when all units are done."""
        ...


@dataclasses.dataclass(frozen=True)
class UnitJob:
    """Prepares one unit: its recordings into a part of the work folder. Picklable."""

    corpus: Corpus
    recipe: Recipe
    work: Path

    def __call__(self, unit: str) -> bool:
        """Make the part of a unit, or note why the unit failed; True if there is a part."""
        try:
            recordings, drops = self.corpus.recordings(unit)
            write_part(part_path(self.work, unit), unit, recordings, self.recipe, drops)
        except PrimusError as error:
            self.fail(unit, str(error))
        except Exception as error:
            # One bad file must not end hours of work, whatever a library raises.
            self.fail(unit, f"{type(error).__name__}: {error}")
        else:
            return True
        return False

    def done(self, unit: str) -> bool:
        """Whether there is a finished part of a unit."""
        return read_part(part_path(self.work, unit)) is not None

    def fail(self, unit: str, message: str) -> None:
        """Note that a unit failed."""
        with replace_file(self._note(unit)) as file:
            file.write_text(json.dumps({"unit": unit, "message": message}), encoding="utf-8")

    def forget(self, unit: str) -> None:
        """Forget that a unit failed, to try it again."""
        self._note(unit).unlink(missing_ok=True)

    def failure(self, unit: str) -> str:
        """Return why there is no part of a unit."""
        try:
            return json.loads(self._note(unit).read_text(encoding="utf-8"))["message"]
        except FileNotFoundError:
            return "its worker ended without a result; see the log of the runner"

    def _note(self, unit: str) -> Path:
        return part_path(self.work, unit).with_suffix(".failed.json")


class Engine(Protocol):
    """Calls a job for many units, wherever.

    Attributes:
        beam: Beam runner and options with which the shards are written as well, or None.
    """

    @property
    def beam(self) -> tuple[str, Sequence[str]] | None: ...

    def run(self, job: UnitJob, units: Sequence[str], log: Callable[[str], None]) -> None:
        """Call `job(unit)` for every unit; a unit whose process dies does not end the rest.

        Raises:
            PrimusError: the engine cannot work at all.
        """
        ...
