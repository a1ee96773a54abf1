"""Dataset folders -> Grain -> the batch of step s, a pure function of (seed, s) (law 2).

Shuffle before the split between hosts, then take elements `s * batch + host :: hosts`: the same
global batch on any number of hosts, and resuming needs the step and nothing else.
"""

import copy
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import grain
import numpy as np

from primus_jax.data.folder import DatasetFolder
from primus_jax.data.inputs import Input, Records, Window, specs
from primus_jax.errors import PrimusError

# Two threads hide the decoding behind the step; more only take the step's cores.
READ_THREADS = 2
# Batches that are read ahead: this many, or as many as fit into so much memory.
READ_AHEAD, READ_AHEAD_BYTES = 64, 1 << 30


class Pipeline:
    """Batches of one split of several dataset folders, mixed.

    Args:
        folders: datasets of equal rate, window length and units.
        split: "train" or "validation".
        batch_size: windows of the global batch.
        seed: of the order, and of what inputs draw.
        inputs: what batches hold, as the objective lists it.
        weights: share of each folder in the mixture; empty: in proportion to its windows.
        skip_damaged: read the next good record in place of a damaged one.
        host, hosts: this process and how many there are.

    Raises:
        PrimusError: folders that do not fit together or cannot fill the inputs, a split without
            windows, or a batch that the hosts cannot share evenly.
    """

    def __init__(
        self,
        folders: Sequence[DatasetFolder],
        split: str,
        batch_size: int,
        seed: int,
        inputs: Sequence[Input],
        *,
        weights: Sequence[float] = (),
        skip_damaged: bool = False,
        host: int = 0,
        hosts: int = 1,
    ):
        check_alike(folders)
        for one in inputs:
            one.check(folders)
        if batch_size % hosts:
            raise PrimusError(f"batch size {batch_size} does not divide among {hosts} hosts.")
        if weights and (len(weights) != len(folders) or min(weights) <= 0):
            raise PrimusError(
                f"{len(weights)} data weights {tuple(weights)} for {len(folders)} datasets; "
                f"expected one positive number for each."
            )
        used = [f for f in folders if f.splits.get(split, 0)]
        if not used:
            raise PrimusError(
                f"no windows in split {split!r} of {', '.join(str(f.path) for f in folders)}."
            )
        shares = [weights[i] for i, f in enumerate(folders) if f in used] if weights else []
        self.size = sum(f.splits[split] for f in used)
        self._batch, self._host, self._hosts = batch_size, host, hosts
        self._inputs = tuple(one.opened(used, split) for one in inputs)
        self._window_bytes = sum(spec.nbytes for spec in specs(inputs).values())
        self._sources = [f.source(split, skip_damaged=skip_damaged) for f in used]
        parts = [
            grain.MapDataset.source(_Windows(str(f.path), source))
            for f, source in zip(used, self._sources, strict=True)
        ]
        if shares:
            parts = [p.seed(seed + i).shuffle().repeat() for i, p in enumerate(parts)]
            self._windows = grain.MapDataset.mix(parts, weights=shares)
        else:
            self._windows = grain.MapDataset.concatenate(parts).seed(seed).shuffle().repeat()
        if any(one.draws for one in inputs):
            self._windows = self._windows.random_map(_with_rng, seed=seed)

    def from_step(self, step: int) -> Iterator[dict[str, np.ndarray]]:
        """This host's rows of the batches of steps `step`, `step + 1`, ...

        Yields dicts of arrays with leading axis `batch / hosts`: the arrays of the inputs, and
        `index` int32, the place of every row in the global batch.
        """
        rows = self._batch // self._hosts
        ahead = max(READ_THREADS, min(READ_AHEAD, READ_AHEAD_BYTES // (rows * self._window_bytes)))
        mine = self._windows[step * self._batch + self._host :: self._hosts]
        arrays = mine.map(self._read).batch(rows)
        place = np.arange(rows, dtype=np.int32) * self._hosts + self._host
        for batch in arrays.to_iter_dataset(grain.ReadOptions(READ_THREADS, ahead)):
            yield {**batch, "index": place}

    def _read(self, window: Window) -> dict[str, Any]:
        return {name: array for one in self._inputs for name, array in one.read(window).items()}

    @property
    def notes(self) -> list[str]:
        """What the inputs have to tell about the split."""
        return [note for one in self._inputs for note in one.notes]

    def damaged(self) -> list[str]:
        """Shard and record of every damaged one that was skipped so far."""
        return sorted(set().union(*(source.damaged for source in self._sources)))

    def window_ids(self, step: int) -> list[str]:
        """Return `Window.id` of every window of the global batch of a step."""
        return [self._windows[step * self._batch + i].id for i in range(self._batch)]


class _Windows:
    """The records of a split as `Window`s, for Grain."""

    def __init__(self, path: str, records: Records):
        self._path, self._records = path, records

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, number: int) -> Window:
        return Window(self._records[number], number, self._records, self._path)


def _with_rng(window: Window, rng: np.random.Generator) -> Window:
    # Grain takes its generator back when this returns, and another thread sets it anew.
    return dataclasses.replace(window, rng=copy.deepcopy(rng))


def check_alike(folders: Sequence[DatasetFolder]) -> None:
    """Raise PrimusError unless all datasets state the same rate and window length."""
    if not folders:
        raise PrimusError("no dataset given: set config.data.train to one or more folders.")
    first = folders[0]
    for other in folders[1:]:
        for field, unit in (("rate_hz", "Hz"), ("window_samples", "samples")):
            mine, theirs = getattr(first, field), getattr(other, field)
            if mine != theirs:
                raise PrimusError(
                    f"{first.path} has {field} {mine} {unit}, {other.path} has {theirs} {unit}. "
                    f"Prepare both with the same --target-rate and --window."
                )
