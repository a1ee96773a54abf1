"""Embeddings of a dataset in parts: finished parts stay, so that a stopped run goes on.

A part is one .npz for 1,024 windows in the order of the dataset: `text_row` int64 (which distinct
sentence of the whole dataset, -1: none), `has_video` bool and `video` float16 `[windows, dim]` of
each, and `keys` and `text` float16 `[new, dim]` of the sentences that no earlier part has.
"""

import hashlib
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from data_prep.embed.plan import Plan
from data_prep.embed.towers import TowerRunner
from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.files import replace_file

PART = 1024
# Windows read together; one with eight frames has 1.2 MB.
_READ = 16
# Seconds between two progress lines.
_LOG_EVERY = 5.0
Part = dict[str, np.ndarray]


class Windows:
    """All windows of a dataset, by number in the order of its splits and shards."""

    def __init__(self, folder: DatasetFolder) -> None:
        self._sources = [folder.source(split) for split in folder.splits]
        self._ends = np.cumsum([len(source) for source in self._sources])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, first: int, count: int) -> Iterator[dict[str, Any]]:
        """Yield `count` windows from number `first`, a few at a time in memory."""
        for end, source in zip(self._ends.tolist(), self._sources, strict=True):
            begin = end - len(source)
            stop = min(first + count, end)
            for number in range(max(first, begin), stop, _READ):
                numbers = range(number - begin, min(number + _READ, stop) - begin)
                yield from source.__getitems__(numbers)


def embed_parts(plan: Plan, work: Path, mesh: Mesh, log: Callable[[str], None]) -> None:
    """Make the parts that are missing in `work`.

    Raises:
        PrimusError: token ids beyond the text tower's vocabulary, or a damaged shard or tower.
    """
    windows, batch = Windows(plan.folder), plan.options.batch
    runners = {
        kind: TowerRunner(
            kind,
            plan.towers,
            mesh,
            batch if kind == "text" else -(-batch // plan.frames),
            plan.options.dtype,
        )
        for kind in plan.kinds
    }
    maker = _PartMaker(plan, windows, runners, log)
    for number, first in enumerate(range(0, len(windows), PART)):
        count = min(PART, len(windows) - first)
        part = read_part(work, number)
        if part is None:
            part = maker.make(first, count)
            with replace_file(part_path(work, number)) as temporary:
                np.savez(temporary, **part)  # type: ignore[arg-type]  # may hold allow_pickle
        maker.remember(part)


def part_path(work: Path, number: int) -> Path:
    """The file of part `number`."""
    return work / f"part-{number:06d}.npz"


def read_part(work: Path, number: int) -> Part | None:
    """Return a finished part, or None where the part is missing or damaged."""
    try:
        with part_path(work, number).open("rb") as file, np.load(file) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


class _PartMaker:
    """Makes parts one after another, and remembers the sentences of earlier parts."""

    def __init__(
        self,
        plan: Plan,
        windows: Windows,
        runners: dict[str, TowerRunner],
        log: Callable[[str], None],
    ) -> None:
        self._plan, self._windows, self._runners, self._log = plan, windows, runners, log
        self._rows: dict[bytes, int] = {}
        self._made = 0
        self._started = self._logged = time.monotonic()

    def remember(self, part: Part) -> None:
        """Note the sentences of a part, which need not be embedded again."""
        for key in part["keys"]:
            self._rows[key.tobytes()] = len(self._rows)

    def make(self, first: int, count: int) -> Part:
        """Embed `count` windows from number `first`."""
        texts: list[tuple[int, str, np.ndarray | None]] = []
        has_video = np.zeros(count, bool)

        def frames() -> Iterator[np.ndarray]:
            for place, window in enumerate(self._windows.read(first, count)):
                self._made += 1
                self._log_progress(first + place)
                if window["text"]:
                    texts.append((place, window["text"], window.get("tokens")))
                if "video" in self._runners and window["has_frames"]:
                    has_video[place] = True
                    yield window["frames"]

        video = np.zeros((count, self._plan.width), np.float16)
        if "video" in self._runners:
            # All windows must be read before it is known which of them have frames.
            vectors = self._runners["video"](frames())
            video[has_video] = vectors
        else:
            list(frames())
        part = {"has_video": has_video, "video": video}
        return part | self._embed_texts(texts if "text" in self._runners else [], count)

    def _embed_texts(self, texts: list[tuple[int, str, np.ndarray | None]], count: int) -> Part:
        """Embed the sentences that no earlier part has: `text_row`, `keys` and `text` of a part."""
        rows = np.full(count, -1, np.int64)
        new: dict[bytes, tuple[int, np.ndarray]] = {}
        for (place, _, _), tokens in zip(texts, self._tokens(texts), strict=True):
            key = hashlib.blake2b(tokens.tobytes(), digest_size=16).digest()
            row = self._rows.get(key)
            if row is None:
                row, _ = new.setdefault(key, (len(self._rows) + len(new), tokens))
            rows[place] = row
        vectors = np.empty((0, self._plan.width), np.float16)
        if new:
            vectors = self._runners["text"](tokens for _, tokens in new.values())
        keys = np.frombuffer(b"".join(new), np.uint8).reshape(-1, 16)
        return {"text_row": rows, "keys": keys, "text": vectors}

    def _tokens(self, texts: list[tuple[int, str, np.ndarray | None]]) -> list[np.ndarray]:
        """Token ids int32 `[77]` of every sentence, stored or made now."""
        tokenizer = self._plan.tokenizer
        if tokenizer is None:
            tokens = [ids for _, _, ids in texts if ids is not None]
        else:
            tokens = list(tokenizer([text for _, text, _ in texts]))
        tower = self._plan.towers.config.text
        vocabulary = 0 if tower is None else tower.vocabulary
        for (_, text, _), ids in zip(texts, tokens, strict=True):
            if ids.min() < 0 or ids.max() >= vocabulary:
                raise PrimusError(
                    f"token id {ids.max()} of {text!r}; the text tower {self._plan.towers.name} "
                    f"has {vocabulary}. Use the tower's own tokenizer, or another tower."
                )
        return tokens

    def _log_progress(self, done: int) -> None:
        now = time.monotonic()
        if now - self._logged < _LOG_EVERY:
            return
        self._logged = now
        rate = self._made / (now - self._started)
        left = (len(self._windows) - done) / rate
        self._log(
            f"  {done:,} of {len(self._windows):,} windows, {rate:,.1f} windows/s, "
            f"{left / 60:,.1f} min left"
        )
