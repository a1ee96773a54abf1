"""One process at a time writes to a folder: a lock file that names who does.

The file changes every few seconds for as long as the folder is in use, so that another host knows
too, which cannot look whether the process is there. Clocks are never compared.

| the lock names | and | then |
|---|---|---|
| a process of this machine | it runs | refused |
| a process of this machine | it has ended | taken over |
| another machine | the file changes within `WATCH_SECONDS` | refused |
| another machine | the file does not change | taken over |
"""

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from primus_jax.errors import PrimusError

LOCK = "in-use.lock"
BEAT_SECONDS = 5.0
# A network file system shows a change late.
WATCH_SECONDS = 30.0
# In which two that take over one lock at the same time both see which of them was the last.
SETTLE_SECONDS = 0.5


@contextlib.contextmanager
def hold_folder(folder: Path, log: Callable[[str], None]) -> Iterator["FolderLock"]:
    """Hold `folder`, which is made where it is missing, until the block ends.

    Where the block leaves nothing in a folder that was made for it, the folder is removed again.

    Args:
        folder: to write to.
        log: prints one line, where the lock of a process that has ended is taken over.

    Raises:
        PrimusError: another process is using the folder, or nothing can be written there.
    """
    made = [f for f in (folder, *folder.parents) if not os.path.lexists(f)]
    lock = FolderLock(folder)
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.take(log)
        except OSError as error:
            raise PrimusError(
                f"cannot write to {folder}: {error.strerror or error}. Choose another folder."
            ) from error
        yield lock
    finally:
        lock.release()
        for path in made:
            with contextlib.suppress(OSError):
                path.rmdir()


class FolderLock:
    """The lock file of one folder and who holds the folder by it."""

    def __init__(self, folder: Path):
        self._folder, self._path = folder, folder / LOCK
        self._token = secrets.token_hex(8)
        self._released = threading.Event()
        self._file = -1

    def take(self, log: Callable[[str], None]) -> None:
        """Write the lock file, and change it every `BEAT_SECONDS` in a thread.

        Raises:
            PrimusError: another process is using the folder.
            OSError: the file cannot be written.
        """
        while not self._create(self._path):
            found = _read(self._path)
            if found == b"":
                continue  # released just now
            if self._in_use(found, log):
                raise PrimusError(self._refusal(_read(self._path) or found))
            log(f"{_who(found)} used {self._folder} and has ended; its lock is taken over")
            temporary = self._path.with_name(f".{LOCK}.{self._token}")
            self._create(temporary)
            os.replace(temporary, self._path)
            time.sleep(SETTLE_SECONDS)
            if not self._is_mine(now := _read(self._path)):
                raise PrimusError(self._refusal(now))
            break
        threading.Thread(target=self._beat, daemon=True).start()

    def check(self) -> None:
        """Raise PrimusError where another process took the folder over while this one stood."""
        found = _read(self._path)
        if found and not self._is_mine(found):
            raise PrimusError(
                f"{self._folder} was taken over by {_who(found)} while this process gave no sign "
                f"of life for {WATCH_SECONDS:.0f} s. Nothing more is written from here."
            )

    def release(self) -> None:
        """Remove the lock file if it is still this process's."""
        self._released.set()
        if self._file < 0:
            return
        with contextlib.suppress(OSError):
            if self._is_mine(_read(self._path)):
                self._path.unlink()
        os.close(self._file)
        self._file = -1

    def _create(self, path: Path) -> bool:
        """Write a new file; False where there is one."""
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
        try:
            self._write(file, 0)
        except OSError:
            os.close(file)
            path.unlink()
            raise
        self._file = file
        return True

    def _write(self, file: int, beat: int) -> None:
        about = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": _started(os.getpid()),
            "machine": _machine(),
            "token": self._token,
            "beat": f"{beat:012d}",  # of one length: each write replaces the one before
        }
        os.pwrite(file, json.dumps(about).encode(), 0)
        # What is only in this host's memory, others do not see.
        os.fsync(file)

    def _beat(self) -> None:
        beat = 0
        while not self._released.wait(BEAT_SECONDS):
            beat += 1
            # A full disk or a lost mount is for the checkpoints to complain about.
            with contextlib.suppress(OSError):
                self._write(self._file, beat)

    def _in_use(self, found: bytes, log: Callable[[str], None]) -> bool:
        about = _parse(found)
        if about.get("machine") == _machine():
            return _runs(about)
        log(
            f"{_who(found)} has left {self._path}; waiting {WATCH_SECONDS:.0f} s for a change of it"
        )
        deadline = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < deadline:
            time.sleep(min(0.5, WATCH_SECONDS / 4))
            if (now := _read(self._path)) != found:
                return now != b""
        return False

    def _is_mine(self, found: bytes) -> bool:
        return _parse(found).get("token") == self._token

    def _refusal(self, found: bytes) -> str:
        return (
            f"{self._folder} is in use by {_who(found)}. Wait until it has ended, or choose "
            f"another folder."
        )


def _read(path: Path) -> bytes:
    """Return the content of a lock; b"" where there is no file."""
    try:
        return path.read_bytes() or b"?"
    except FileNotFoundError:
        return b""


def _parse(content: bytes) -> dict[str, Any]:
    try:
        about = json.loads(content)
    except ValueError:
        return {}
    return about if isinstance(about, dict) else {}


def _who(content: bytes) -> str:
    about = _parse(content)
    return f"process {about.get('pid', '?')} on {about.get('host', 'an unknown host')}"


def _machine() -> str:
    """Return what is the same for processes that see each other by number, and for no others."""
    found = [socket.gethostname()]
    with contextlib.suppress(OSError):
        found.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        found.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(found)


def _started(pid: int) -> str:
    """Return when a process started, in the kernel's ticks; "" where it has ended or is unknown."""
    with contextlib.suppress(OSError, IndexError):
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if words[0] in "ZX" else words[19]
    return ""


def _runs(about: dict[str, Any]) -> bool:
    pid = about.get("pid")
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _started(pid) == about.get("started")
