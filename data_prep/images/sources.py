"""Files of pictures by name: trees of folders, tar files (WebDataset), Parquet with bytes."""

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from primus_jax.errors import PrimusError

# Descriptions beside the pictures of a WebDataset, which are no pictures and no mistake.
BESIDE = (".cls", ".json", ".txt")


def picture_files(sources: Sequence[Path]) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of all files, sorted by name within a folder; not of hidden ones.

    Raises:
        PrimusError: a source that does not exist, or an archive that cannot be read.
    """
    for source in sources:
        if not source.exists():
            raise PrimusError(f"{source}: no such file or folder of pictures.")
        files = [source] if source.is_file() else sorted(filter(Path.is_file, source.rglob("*")))
        for file in files:
            name = file.relative_to(source).as_posix() if source.is_dir() else file.name
            if any(part.startswith(".") for part in Path(name).parts):
                continue
            if file.suffix == ".tar" or file.name.endswith((".tar.gz", ".tgz")):
                yield from _tar(file, name)
            elif file.suffix == ".parquet":
                yield from _parquet(file, name)
            else:
                yield name, file.read_bytes()


def _tar(file: Path, name: str) -> Iterator[tuple[str, bytes]]:
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                handle = archive.extractfile(member)
                if handle is not None and not member.name.endswith(BESIDE):
                    yield f"{name}/{member.name}", handle.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise PrimusError(f"{file} is not a whole tar file ({error}). Copy it again.") from error


def _parquet(file: Path, name: str) -> Iterator[tuple[str, bytes]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        if "image" not in table.schema_arrow.names:
            raise PrimusError(
                f"{file} has the columns {table.schema_arrow.names}; expected 'image' with bytes, "
                f"as Hugging Face's datasets have."
            )
        number = 0
        for batch in table.iter_batches(64, columns=["image"]):
            for value in batch.column(0).to_pylist():
                data = value.get("bytes") if isinstance(value, dict) else value
                yield f"{name}/{number}", data if isinstance(data, bytes) else b""
                number += 1
    except (pa.ArrowException, OSError) as error:
        raise PrimusError(f"{file} is not a whole Parquet file ({error}).") from error
