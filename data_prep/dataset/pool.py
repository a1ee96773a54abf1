"""Units on the cores of one machine: a few processes, each given one unit after another."""

import dataclasses
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from data_prep.dataset.units import UnitJob

# A unit is given to a second process if its first one died.
ATTEMPTS = 2


@dataclasses.dataclass
class _Worker:
    """A process, the unit that it prepares, and how often that unit was given to a process."""

    process: SpawnProcess
    unit: str
    attempt: int


@dataclasses.dataclass(frozen=True)
class LocalPool:
    """Worker processes of this machine; all cores if `workers` is 0.

    Processes are spawned, not forked: libraries with threads do not survive a fork. Each process
    has a pipe of its own, so that its death is noticed at once and its unit is known.
    """

    workers: int = 0

    @property
    def beam(self) -> None:
        """No Beam runner writes the shards."""

    def run(self, job: UnitJob, units: Sequence[str], log: Callable[[str], None]) -> None:
        """Call `job(unit)` for every unit, several at a time."""
        waiting = deque((unit, 1) for unit in units)
        limit = self.workers or os.cpu_count() or 1
        running: dict[Connection, _Worker] = {}
        done, failed, logged = 0, 0, time.monotonic()
        try:
            while waiting or running:
                while waiting and len(running) < limit:
                    connection, process = _start(job)
                    running[connection] = _Worker(process, *waiting.popleft())
                    _send(connection, running[connection].unit)
                ready = wait(list(running))
                for connection in [each for each in running if each in ready]:
                    worker = running[connection]
                    try:
                        good = connection.recv()
                    except (EOFError, OSError):
                        del running[connection]
                        good = _died(job, worker, waiting)
                        connection.close()
                    else:
                        if waiting:
                            worker.unit, worker.attempt = waiting.popleft()
                            _send(connection, worker.unit)
                        else:
                            del running[connection]
                            connection.close()
                            worker.process.join()
                    if good is not None:
                        done, failed = done + 1, failed + (not good)
                if time.monotonic() - logged > 2 or done == len(units):
                    logged = time.monotonic()
                    log(f"  {done:,} of {len(units):,} units, {failed:,} failed")
        finally:
            for connection, worker in running.items():
                worker.process.kill()
                worker.process.join()
                connection.close()


def _start(job: UnitJob) -> tuple[Connection, SpawnProcess]:
    """Start a process that waits for units; returns our end of its pipe, and the process."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, job), daemon=True)
    process.start()
    theirs.close()
    return mine, process


def _send(connection: Connection, unit: str) -> None:
    """Give a unit to a process, which may have died."""
    try:
        connection.send(unit)
    except OSError:
        # The process died meanwhile, which the next read from its pipe shows.
        return


def _died(job: UnitJob, worker: _Worker, waiting: deque[tuple[str, int]]) -> bool | None:
    """Give the unit of a dead process to another, or note its failure (False)."""
    worker.process.join()
    if job.done(worker.unit):
        return True
    if worker.attempt < ATTEMPTS:
        waiting.append((worker.unit, worker.attempt + 1))
        return None
    code = worker.process.exitcode
    why = f"signal {-code}" if code and code < 0 else f"exit code {code}"
    job.fail(worker.unit, f"its worker process died {ATTEMPTS} times ({why}); out of memory?")
    return False


def _work(connection: Connection, job: UnitJob) -> None:
    """Prepare units from the pipe until the pipe closes."""
    # Ctrl-C reaches the whole group; the parent ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        while True:
            connection.send(job(connection.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
