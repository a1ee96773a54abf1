"""A corpus of the tests' own, importable by worker processes: units with planted faults."""

import dataclasses
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from data_prep.dataset.corpus import write_corpus
from data_prep.dataset.pool import LocalPool
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.windows import WindowSpec
from support.recording_files import recording

SPEC = WindowSpec(50.0, 2.0, 2.0)


@dataclasses.dataclass(frozen=True)
class PlantedCorpus:
    """Some units of two recordings each, and files in a folder that make a unit fail.

    `UNIT.broken` raises a PrimusError, `UNIT.bug` another exception; `UNIT.kill` holds how often
    the process is killed with SIGKILL; `parent` kills the process that started the worker.
    """

    folder: Path
    count: int = 5
    name: str = "planted"
    version: str = "7"
    source: str = "made by a test"
    licence: str = "CC0"

    def units(self) -> list[str]:
        return [f"take {i:02d}" for i in reversed(range(self.count))]

    def recordings(self, unit: str) -> tuple[list[Recording], Counter[str]]:
        with (self.folder / "log").open("a") as log:
            log.write(f"{unit}\n")
        if (self.folder / f"{unit}.broken").exists():
            raise PrimusError(f"{unit}.csv, line 3: the clock stands still.")
        if (self.folder / f"{unit}.bug").exists():
            raise KeyError("uid")
        kill = self.folder / f"{unit}.kill"
        if kill.exists() and (left := int(kill.read_text())):
            kill.write_text(str(left - 1))
            os.kill(os.getpid(), signal.SIGKILL)
        parent = self.folder / "parent"
        if unit == "take 02" and parent.exists():
            parent.unlink()
            os.kill(os.getppid(), signal.SIGKILL)
        number = int(unit[5:])
        return [
            recording(
                f"{unit}/{k}",
                8.0 + number + k,
                subject=f"p{number % 4}",
                label=("walking", "")[k],
                placement="head",
                narrations=((3.0, f"C waves at {number}"), (5.5, "C turns")) if k else (),
            )
            for k in range(2)
        ], Counter({"rows without a sensor": number})

    def official_split(self) -> dict[str, str]:
        return {"p0": "test", "p1": "train", "p2": "train"}

    def facts(self) -> dict[str, Any]:
        return {"planted by": "a test"}


def log(folder: Path) -> list[str]:
    """Units that were prepared, in the order in which their preparation began."""
    return (folder / "log").read_text().splitlines()


def prepare(corpus: PlantedCorpus, out: Path, engine=None, **options) -> DatasetFolder:
    """Write the corpus with two splits and small shards, by one worker without an engine."""
    recipe = {"spec": SPEC, "splits": Splits((0.5, 0.5, 0.0))}
    recipe |= {name: options.pop(name) for name in recipe if name in options}
    made = Recipe(**recipe, name="planted", shard_bytes=20_000)
    return write_corpus(corpus, out, made, engine or LocalPool(1), **options)
