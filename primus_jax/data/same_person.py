"""Inputs of RelCon: the window's own channels, and further windows of the same person."""

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from primus_jax.data.folder import DatasetFolder
from primus_jax.data.inputs import Input, Spec, Window
from primus_jax.data.people import PeopleIndex, index_people, read_people
from primus_jax.errors import PrimusError


@dataclasses.dataclass(frozen=True)
class Motion(Input):
    """The first channels of the window, float32 `[time, channels]`, under the name "motion".

    Attributes:
        samples: of a window.
        channels: 3, the accelerometer; 6, with the gyroscope.
    """

    samples: int
    channels: int

    @property
    def arrays(self) -> Mapping[str, Spec]:
        """The one array."""
        return {"motion": Spec((self.samples, self.channels), "float32")}

    def read(self, window: Window) -> Mapping[str, Any]:
        """Return the channels.

        Raises:
            PrimusError: a window without an accelerometer.
        """
        return {"motion": motion(window.record, self.channels, window.id)}


def motion(record: Mapping[str, Any], channels: int, where: str) -> np.ndarray:
    """Return the first channels of a record, float32 `[time, channels]`.

    Raises:
        PrimusError: the accelerometer is silent, so that only a gyroscope was recorded, or the
            gyroscope is asked for and missing.
    """
    imu = np.asarray(record["imu"], np.float32)[:, :channels]
    if not imu[:, :3].any():
        raise PrimusError(
            f"{where}: the accelerometer is zero throughout, as where only a gyroscope was "
            f"recorded. RelCon compares accelerations; leave such recordings out."
        )
    if channels == 6 and not record["has_gyro"]:
        raise PrimusError(
            f"{where}: no gyroscope, but config.encoder.channels is 6. Set it to 3, or leave such "
            f"recordings out."
        )
    return imu


@dataclasses.dataclass(frozen=True)
class SamePerson(Input):
    """Other windows of the person who wore the sensor, drawn anew for every place of the stream.

    Arrays: `candidates` float32 `[count, time, channels]`; `candidates_there` bool `[count]`, False
    for repetitions where the person has too few windows nearby; `contents` int32 `[1 + count]`,
    equal numbers for equal windows, of the window itself first.

    Attributes:
        samples: of a window.
        channels: see `Motion`.
        count: of windows to draw.
        near, minutes: which windows of the person; see `people.index_people`.
        indices: of each dataset by its path, once `opened`.
        notes: how many windows have too few others, in words.
    """

    samples: int
    channels: int
    count: int
    near: str = "minutes"
    minutes: float = 60.0
    indices: Mapping[str, PeopleIndex] = dataclasses.field(default_factory=dict, compare=False)
    notes: tuple[str, ...] = ()

    @property
    def draws(self) -> bool:
        """Whether `read` needs `Window.rng`: it does."""
        return True

    @property
    def arrays(self) -> Mapping[str, Spec]:
        """Windows, which of them are there, and numbers that equal ones share."""
        return {
            "candidates": Spec((self.count, self.samples, self.channels), "float32"),
            "candidates_there": Spec((self.count,), "bool"),
            "contents": Spec((1 + self.count,), "int32"),
        }

    def opened(self, folders: Sequence[DatasetFolder], split: str) -> "SamePerson":
        """Return the input with an index of the people of a split.

        Raises:
            PrimusError: a dataset that names no people.
        """
        tables = {str(folder.path): read_people(folder, split) for folder in folders}
        indices = {
            path: index_people(people, self.near, self.minutes) for path, people in tables.items()
        }
        notes = tuple(
            note
            for path, index in indices.items()
            if (note := self._few(path, split, tables[path].subject, index))
        )
        return dataclasses.replace(self, indices=indices, notes=notes)

    def read(self, window: Window) -> Mapping[str, Any]:
        """Return the three arrays."""
        assert window.rng is not None  # `draws`
        index = self.indices[window.path]
        numbers, there = index.draw(window.number, self.count, window.rng)
        records = [window.records[int(number)] for number in numbers]
        # A record that stands for a damaged one may be of somebody else.
        same = [record["subject"] == window.record["subject"] for record in records]
        arrays = [motion(record, self.channels, window.id) for record in (window.record, *records)]
        contents = [zlib.crc32(x.tobytes()) & 0x7FFFFFFF for x in arrays]
        return {
            "candidates": np.stack(arrays[1:]),
            "candidates_there": there & np.array(same),
            "contents": np.array(contents, np.int32),
        }

    def _few(self, path: str, split: str, subject: np.ndarray, index: PeopleIndex) -> str:
        """How many windows have fewer others than `count`, as a sentence; "" for none."""
        few = index.others < self.count
        if not few.any():
            return ""
        near = (
            f"the same {self.minutes:g} minutes" if self.near == "minutes" else f"one {self.near}"
        )
        return (
            f"{path}, {split}: {int(few.sum()):,} of {len(few):,} windows, of "
            f"{len(np.unique(subject[few])):,} of {len(np.unique(subject)):,} people, have fewer "
            f"than {self.count} others within {near}; their missing candidates are left out"
        )
