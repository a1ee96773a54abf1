"""What an app or a device exports, and which of its exports given files are."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from primus_jax.errors import PrimusError
from primus_jax.recordings.columns import open_table
from primus_jax.recordings.path_pattern import sensor_files
from primus_jax.recordings.sources import Source, files_of
from primus_jax.recordings.table_format import TableFormat


@dataclasses.dataclass(frozen=True)
class Export:
    """One kind of export.

    Attributes:
        layout: names, units, signs and clock of the columns.
        files: globs of "acc", "gyro" and "gravity" within the folder of a recording; {} where one
            table holds all.
        compared: of the globs' wildcards, so many have to agree; None: all.
        adjust: fits the format to what else the export states, or refuses the export.
    """

    layout: TableFormat
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)
    compared: int | None = None
    adjust: Callable[[Path, TableFormat], TableFormat] = lambda path, layout: layout


@dataclasses.dataclass(frozen=True)
class App:
    """An app or a device.

    Attributes:
        name: of the option `--from`.
        title: for people.
        exports: kinds of export; the first that fits is taken.
        clock: what its times are.
        signs: what a sensor at rest reads.
        source: where the format is described.
        sample: whether the format was compared with public files; else it is written from the
            description alone.
        refusal: why nothing of it can be read, or "".
    """

    name: str
    title: str
    exports: tuple[Export, ...]
    clock: str
    signs: str
    source: str
    sample: bool
    refusal: str = ""

    def find(self, paths: Sequence[Path]) -> tuple[list[Source], TableFormat]:
        """Return the recordings of files and folders, and their format.

        Raises:
            PrimusError: nothing that this app exports, or exports of different kinds.
        """
        if self.refusal:
            raise PrimusError(f"--from {self.name}: {self.refusal}")
        found: list[tuple[Source, TableFormat]] = []
        for path in paths:
            found += self._folder(path) if path.is_dir() else [self._file(path)]
        layout = found[0][1]
        for source, other in found:
            if other != layout:
                raise PrimusError(
                    f"{source}: another kind of export of {self.title} than {found[0][0]}. Read "
                    f"the two kinds apart."
                )
        return [source for source, _ in found], layout

    def recognises(self, names: Sequence[str]) -> bool:
        """Whether columns of these names are those of an export of this app, and of no other."""
        layouts = [export.layout for export in self.exports if not export.files]
        own = (lay for lay in layouts if not lay.acc[0].isdecimal() and lay.acc != TableFormat.acc)
        return any(_fits(names, layout) for layout in own)

    def recognises_folder(self, path: Path) -> bool:
        """Whether a folder holds a file that this app names so."""
        return any(export.files and any(path.rglob(export.files["acc"])) for export in self.exports)

    def _file(self, path: Path) -> tuple[Source, TableFormat]:
        """One table."""
        tables = [export for export in self.exports if not export.files]
        for export in tables:
            if _has(path, export.layout):
                return path, export.adjust(path, export.layout)
        if not tables:
            raise PrimusError(
                f"{path}: {self.title} writes a file for each sensor; give the folder that holds "
                f"{' and '.join(self.exports[0].files.values())}."
            )
        raise PrimusError(
            f"{path}: not an export of {self.title}. It has the columns "
            f"{list(open_table(path).names)}; expected {list(tables[0].layout.acc)}."
        )

    def _folder(self, path: Path) -> list[tuple[Source, TableFormat]]:
        """All recordings of a folder."""
        separate = [export for export in self.exports if export.files]
        for export in separate:
            globs = {sensor: f"{path}/**/{name}" for sensor, name in export.files.items()}
            if not list(path.rglob(export.files["acc"])):
                continue
            sources: list[Source] = list(sensor_files(globs, export.compared))
            if not _has(files_of(sources[0])[0], dataclasses.replace(export.layout, gyro=())):
                continue
            return [(s, export.adjust(files_of(s)[0], export.layout)) for s in sources]
        if not separate:
            raise PrimusError(f"{path}: a folder; expected the files that {self.title} exported.")
        wanted = [" and ".join(export.files.values()) for export in separate]
        raise PrimusError(
            f"{path}: holds no export of {self.title}; expected {', or '.join(wanted)} in it or in "
            f"its folders. Unpack the zip file that the app made."
        )


def _has(path: Path, layout: TableFormat) -> bool:
    """Whether a table has the columns of a format, gyroscope included."""
    wanted = [name for name in layout.acc if "*" not in name]
    return _fits(open_table(path, layout.text, wanted).names, layout)


def _fits(names: Sequence[str], layout: TableFormat) -> bool:
    """Whether the columns of a format are among the names."""
    try:
        found = layout.columns(names, "", need_gyro=True)
    except PrimusError:
        return False
    return found.time is not None or layout.time is None
