"""A path of plain letters for a folder of any name, for Orbax and TensorStore.

Orbax makes glob patterns of the folder's own path: below `run[1]` it finds nothing, so that no
checkpoint can be read, and below `run*` it finds what lies in `run1`. TensorStore takes a backslash
for a slash, and Orbax `/gs/...` for a bucket. Such folders are handed over as a link in the folder
for temporary files; a folder with a plain path is handed over as it is.
"""

import os
import re
import secrets
import tempfile
from pathlib import Path

from primus_jax.errors import PrimusError
from primus_jax.parallel.processes import Processes

_PLAIN = re.compile(r"(?!/(?:gs|s3|az|hf)(?:/|\Z))[\w ./+=,@:-]*")


class PlainPath:
    """A folder under a path that Orbax and TensorStore read as we do, the same on every process.

    Attributes:
        path: the folder itself, or a link to the folder.
    """

    def __init__(self, folder: Path, processes: Processes):
        """Choose the path; all processes must call it.

        Raises:
            CommonError: a link is needed, and some process cannot make the link.
        """
        self._folder, self._link = folder.absolute(), None
        self.path = self._folder
        chosen = None if _PLAIN.fullmatch(str(self._folder)) else _temporary_name()
        chosen = processes.exchange(chosen)[0]
        if chosen is not None:
            self.path = self._link = Path(chosen)
        with processes.raise_together():
            self.refresh()

    def refresh(self) -> None:
        """Make the link again where somebody has cleaned the folder of temporary files.

        Raises:
            PrimusError: the link cannot be made.
        """
        if self._link is None:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                os.symlink(self._folder, self._link)
            except FileExistsError:
                # Another process of this job on this machine made the link.
                own = os.lstat(self._link).st_uid == os.geteuid()
                if not own or os.readlink(self._link) != str(self._folder):
                    raise
        except OSError as error:
            raise PrimusError(
                f"{self._folder} has signs in its path that Orbax cannot take, and the link "
                f"{self._link} to the folder cannot be made: {error.strerror or error}. Choose "
                f"another TMPDIR, or a --workdir of letters, digits and _."
            ) from error

    def close(self) -> None:
        """Remove the link; every process calls it when nothing is read or saved any more."""
        if self._link is not None:
            self._link.unlink(missing_ok=True)


def _temporary_name() -> str:
    name = f"primus-jax-{secrets.token_hex(8)}"
    folder = tempfile.gettempdir()
    return os.path.join(folder if _PLAIN.fullmatch(folder) else "/tmp", name)
