"""What an objective reads of a window: named arrays of fixed shape, and how they are filled."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from primus_jax.data.folder import DatasetFolder


@dataclasses.dataclass(frozen=True)
class Spec:
    """Shape and dtype of one array of one window; the batch axis comes first in a batch."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes of one window."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class Records(Protocol):
    """Every record of one split of one dataset, by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Mapping[str, Any]: ...


@dataclasses.dataclass(frozen=True)
class Window:
    """One element of the global batch, before it becomes arrays.

    Attributes:
        record: what the dataset stores of it, by field.
        number: of the record within `records`.
        records: the split that it comes from, from which an input may read further records.
        path: of the dataset folder.
        rng: of this element of the global batch, a function of the seed and its place alone
            (law 2); None unless an input of the objective `draws`.
    """

    record: Mapping[str, Any]
    number: int
    records: Records
    path: str
    rng: np.random.Generator | None = None

    @property
    def id(self) -> str:
        """`dataset/recording@seconds`, or `dataset/number` without a recording."""
        if "recording" not in self.record:
            return f"{self.path}/{self.number}"
        start = float(self.record["start_seconds"])
        return f"{self.path}/{self.record['recording']}@{start:.2f}s"


class Input(Protocol):
    """One or more arrays that an objective reads; a class that names it as its base inherits
    the bodies below."""

    @property
    def arrays(self) -> Mapping[str, Spec]:
        """The arrays by the names that they have in a batch."""
        ...

    @property
    def draws(self) -> bool:
        """Whether `read` needs `Window.rng`."""
        return False

    @property
    def tower(self) -> str:
        """The frozen tower that can embed the input in the step; "" for none."""
        return ""

    @property
    def notes(self) -> Sequence[str]:
        """What a run should log about the input at its start, in words."""
        return ()

    def opened(self, folders: Sequence[DatasetFolder], split: str) -> "Input":
        """Return the input, ready to read this split; itself where it needs nothing.

        Raises:
            PrimusError: datasets that cannot fill the arrays.
        """
        return self

    def read(self, window: Window) -> Mapping[str, Any]:
        """Return the arrays of one window, by name, of the shapes and dtypes of `arrays`.

        Raises:
            PrimusError: a record that the objective cannot use.
        """
        ...

    def check(self, folders: Sequence[DatasetFolder]) -> None:
        """Raise PrimusError unless these datasets can fill the arrays."""
        return

    def with_towers(self, towers: Any, folders: Sequence[DatasetFolder]) -> "Input":
        """Return the input that frozen towers in the step fill; itself if no tower can.

        Args:
            towers: `models.clip.towers.Towers`.
            folders: the datasets.

        Raises:
            PrimusError: a tower that is missing or does not fit the datasets.
        """
        return self

    def embed(self, towers: Any, config: Any, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the batch that the objective sees, inside the step.

        Args:
            towers: parameters of the towers, the step's frozen argument (law 4).
            config: of the towers.
            batch: the arrays of `arrays`, `[rows, ...]`, of this device.
        """
        return batch


@dataclasses.dataclass(frozen=True)
class Field(Input):
    """A field of the record as it is stored, under its own name."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def arrays(self) -> Mapping[str, Spec]:
        """The one array."""
        return {self.name: Spec(self.shape, self.dtype)}

    def read(self, window: Window) -> Mapping[str, Any]:
        """Return the field."""
        return {self.name: np.asarray(window.record[self.name], self.dtype)}


def imu(window_samples: int) -> Field:
    """The inertial window, float32 `[time, 6]` (law 1)."""
    return Field("imu", (window_samples, 6), "float32")


def has_gyro() -> Field:
    """Whether the window has a gyroscope, bool `[]`; its three channels are zeros without."""
    return Field("has_gyro", (), "bool")


def specs(inputs: Sequence[Input]) -> dict[str, Spec]:
    """Return all arrays of some inputs, by name, with "index", the place in the global batch.

    Raises:
        ValueError: two inputs of one objective give an array of one name.
    """
    found: dict[str, Spec] = {"index": Spec((), "int32")}
    for one in inputs:
        if twice := found.keys() & one.arrays.keys():
            raise ValueError(f"two inputs of the objective give the array {sorted(twice)[0]!r}")
        found |= one.arrays
    return found


def example_batch(inputs: Sequence[Input]) -> dict[str, np.ndarray]:
    """Return a batch of one window of zeros, for shapes and dtypes."""
    return {name: np.zeros((1, *spec.shape), spec.dtype) for name, spec in specs(inputs).items()}
