"""Starts `primus-jax pretrain` as a user's processes would: one device each, compiled quickly."""

import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from support.fast_compile import FLAGS

CONFIG = str(Path(__file__).parent / "tiny_config.py")
CACHE = Path(tempfile.mkdtemp(prefix="primus-jax-tests-"))
atexit.register(shutil.rmtree, CACHE, ignore_errors=True)
PATIENCE = 500  # seconds after which a test is broken, not slow


def environment() -> dict[str, str]:
    """Of a child: what the tests set, and what a scheduler around them set, is left out."""
    outer = ("JAX_", "XLA_", "SLURM_", "OMPI_", "PMIX_", "TPU_", "MEGASCALE_", "PMI_", "MV2_")
    outer += ("PRIMUS_JOB_TOKEN", "WORLD_SIZE", "RANK", "MASTER_", "LOCAL_", "TORCHELASTIC_")
    return {k: v for k, v in os.environ.items() if not k.startswith(outer)} | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": FLAGS,
        # Most of what a child does is compiling what the one before it has compiled.
        "JAX_COMPILATION_CACHE_DIR": str(CACHE),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def pretrain_command(workdir: Path, data: Path, *more: str) -> list[str]:
    """One process of tests/support/tiny_config.py."""
    return [
        *(sys.executable, "-m", "primus_jax", "pretrain"),
        *("--config", CONFIG, "--workdir", str(workdir), f"--config.data.train=('{data}',)"),
        *more,
    ]


# Command lines from the standard input, one after the other; the last line has their ends.
_EACH = """
import contextlib, io, json, sys
from primus_jax.cli import main
ends = []
for arguments in json.load(sys.stdin):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code
    ends.append((code, said.getvalue()))
print(json.dumps(ends))
"""


def ends(commands: Sequence[Sequence[str]], cwd: Path, **variables: str) -> list[tuple[int, str]]:
    """Status and error output of each command line of `primus-jax`.

    One process tries all of them: importing takes most of the time of such a process.

    Args:
        commands: without the program's name.
        cwd: where the process runs.
        variables: of its environment, besides those of `environment`.
    """
    done = subprocess.run(
        [sys.executable, "-c", _EACH], input=json.dumps(commands), capture_output=True, text=True,
        env=environment() | variables, cwd=cwd, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return [(code, said) for code, said in json.loads(done.stdout.splitlines()[-1])]


def free_port() -> int:
    """A port that nobody listens at now."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


class Child:
    """A process whose output is read as it comes."""

    def __init__(self, command: Sequence[str], full: bool = False):
        """With `full` as on a full disk: no file that it writes can grow beyond 100 KiB."""
        if full:
            command = ["bash", "-c", 'ulimit -f 100; exec "$@"', "bash", *command]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=environment(),
        )  # fmt: skip
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout:
            with self._news:
                self._lines.append(line)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    @property
    def said(self) -> str:
        """Everything that it printed."""
        return "".join(self._lines)

    def wait_for(self, text: str) -> bool:
        """Wait until it prints `text`; False where it ended without."""
        with self._news:
            assert self._news.wait_for(lambda: text in self.said or self._ended, PATIENCE), (
                f"no {text!r} in\n{self.said}"
            )
        return text in self.said

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its status; fails where it does not end in time."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s:\n{self.said}") from None
        self._reader.join(10)
        return code

    def end(self) -> None:
        """Kill it if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
        self._process.wait(30)
        self._reader.join(10)
        self._process.stdout.close()


@contextlib.contextmanager
def job(
    workdir: Path,
    data: Path,
    count: int,
    *more: str,
    own: Sequence[Sequence[str]] | None = None,
    full: bool = False,
    starts: Sequence[int] | None = None,
) -> Iterator[list[Child]]:
    """Processes that train together on this machine; none is left over.

    Args:
        workdir, data, more: of every process.
        count: how many.
        own: arguments of each process besides `more`.
        full: see `Child`.
        starts: the processes that are started; all without it.
    """
    port = free_port()
    children: list[Child] = []
    try:
        for i in range(count) if starts is None else starts:
            place = [
                f"--coordinator=127.0.0.1:{port}", f"--processes={count}", f"--process-id={i}",
            ]  # fmt: skip
            arguments = pretrain_command(workdir, data, *place, *more, *(own[i] if own else ()))
            children.append(Child(arguments, full))
        yield children
    finally:
        for child in children:
            child.end()


def finish(workdir: Path, data: Path, count: int, *more: str) -> str:
    """Run to the end; returns what process 0 said. With one process there is no coordinator."""
    if count == 1:
        alone = Child(pretrain_command(workdir, data, *more))
        try:
            assert alone.wait() == 0, alone.said
        finally:
            alone.end()
        return alone.said
    with job(workdir, data, count, *more) as children:
        codes = [child.wait() for child in children]
        assert codes == [0] * count, "\n".join(child.said for child in children)
        assert not any("step " in child.said for child in children[1:])
        return children[0].said


def seconds_until_end(children: Sequence[Child], limit: float) -> float:
    """How long all of them take to end; fails beyond `limit`."""
    begin = time.monotonic()
    for child in children:
        child.wait(max(0.1, limit - (time.monotonic() - begin)))
    return time.monotonic() - begin
