"""Several processes that train together: joining, agreeing, and ending as one.

They meet in a channel of our own (`channel.py`) before `jax.distributed` starts. A process that
fails or is lost ends all others through it, within milliseconds where its connection closes and
within `heartbeat_seconds` where its host vanished, whatever collective they are waiting in. They
end by `os._exit`: an ordinary exit waits for minutes for peers that are gone.

What a process does with what comes (`messages.py` has the kinds):

| state | what comes | then |
|---|---|---|
| running | `Give`, of all for one round (at process 0) | sends `All`, returns the values |
| running | `All` (elsewhere) | returns the values |
| running | `Beat` | nothing; a peer that is silent for `heartbeat_seconds` is lost |
| running | `Bye` | the peer may end without being lost |
| running | `Failed` (at process 0) | prints why, sends `End` |
| running | `End` (elsewhere) | answers `Bye`, ends with its status |
| running | a connection closes without `Bye` | prints who was lost, sends `End`, ends with 1 |
| ending | anything | whatever began first has its way |
"""

import contextlib
import functools
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import jax

from primus_jax.errors import PrimusError
from primus_jax.parallel.backend import missing_backend
from primus_jax.parallel.channel import Link, meet
from primus_jax.parallel.cluster import TOKEN, ProcessInfo, is_loopback, split_address
from primus_jax.parallel.messages import All, Beat, Bye, End, Failed, Give, Message

FINISHED, UNEXPECTED, MISTAKE = 0, 1, 2
# An error of a collective may be all that this process sees of a lost peer: the channel, which
# knows which one it was, is given so long to name it.
GRACE_SECONDS = 5.0
LEAVE_SECONDS = 5.0  # in which the others leave after a failure, before process 0 does


class CommonError(PrimusError):
    """Raised by every process at the same place, so that one of them prints it for all."""


class Processes:
    """All processes of a job, seen from one of them.

    Attributes:
        index: of this one.
        count: of all.
        hosts: host name of each.
        where: what a message about a lost process adds, such as the step; the loop sets it.
    """

    def __init__(
        self,
        index: int = 0,
        hosts: list[str] | None = None,
        links: dict[int, Link] | None = None,
        heartbeat_seconds: float = 30.0,
    ):
        self.index, self.hosts = index, hosts or [""]
        self.count = len(self.hosts)
        self.where: Callable[[], str] = lambda: ""
        self._links = links or {}
        self._silence = heartbeat_seconds
        self._round = 0
        self._given: dict[int, dict[int, Any]] = {}
        self._results: dict[int, list[Any]] = {}
        self._changed = threading.Condition()
        self._left: set[int] = set()
        self._ending = threading.Lock()
        for peer, link in self._links.items():
            link.listen(functools.partial(self._receive, peer), functools.partial(self._gone, peer))
        if self._links:
            threading.Thread(target=self._beat, daemon=True).start()

    @property
    def first(self) -> bool:
        """Whether this process prints and writes for all."""
        return self.index == 0

    def name(self, index: int) -> str:
        """`process 3 of 4 (node9)`."""
        return f"process {index} of {self.count} ({self.hosts[index]})"

    def _names(self, indices: list[int]) -> str:
        more = f" and {len(indices) - 1} more" if indices[1:] else ""
        return self.name(indices[0]) + more

    def exchange(self, value: Any) -> list[Any]:
        """Return what every process gave, in their order; all must call it, and all wait.

        Args:
            value: JSON-ready.
        """
        if self.count == 1:
            return [value]
        self._round += 1
        given = Give(self._round, value)
        if self.first:
            self._collect(0, given)
        else:
            self._links[0].send(given)
        with self._changed:
            self._changed.wait_for(lambda: self._round in self._results)
            return self._results.pop(self._round)

    @contextlib.contextmanager
    def raise_together(self) -> Iterator[None]:
        """A block that all enter: a PrimusError in it on some of them is raised by all of them.

        Raises:
            CommonError: the first of their errors, with the process where not all have it.
        """
        error: PrimusError | None = None
        try:
            yield
        except PrimusError as raised:
            error = raised
        if self.count == 1 and error is not None:
            raise error
        reasons = self.exchange(None if error is None else str(error))
        failed = [index for index, reason in enumerate(reasons) if reason is not None]
        if not failed:
            return
        if len(set(reasons)) == 1:
            raise CommonError(reasons[0]) from error
        more = f" (and {len(failed) - 1} more)" if failed[1:] else ""
        raise CommonError(f"{self.name(failed[0])}{more}: {reasons[failed[0]]}") from error

    def check_consistent(self, facts: dict[str, Any]) -> None:
        """Refuse to start where processes do not have the same facts; all must call it.

        Raises:
            CommonError: every name whose values differ, and which process has which.
        """
        facts_of = self.exchange(facts)
        different = []
        for name in sorted(set().union(*facts_of)):
            holders: dict[str, list[int]] = {}
            for index, theirs in enumerate(facts_of):
                holders.setdefault(repr(theirs.get(name)), []).append(index)
            if len(holders) > 1:
                values = (f"{value} on {self._names(who)}" for value, who in holders.items())
                different.append(f"{name}: {', '.join(values)}")
        if different:
            raise CommonError(
                f"the processes were not started alike. {'; '.join(different)}. Start all with the "
                f"same config, data and packages."
            )

    def end(self, status: int) -> NoReturn:
        """End this process; process 0 last, because the others' connections end with it."""
        # They may have a checkpoint to wait for.
        self._leave(status, Bye(), self._silence)

    def fail(self, status: int, message: str) -> NoReturn:
        """End every process with this status; process 0 prints why."""
        if self.first:
            _print(message)
            self._leave(status, End(status))
        self._links[0].send(Failed(status, message))
        # Process 0 answers by ending this process too; without an answer it is gone.
        time.sleep(self._silence)
        _print(message)
        _exit(status)

    def _receive(self, peer: int, message: Message) -> None:
        match message:
            case Give():
                self._collect(peer, message)
            case All(number, values):
                with self._changed:
                    self._results[number] = values
                    self._changed.notify_all()
            case Bye():
                with self._changed:
                    self._left.add(peer)
                    self._changed.notify_all()
            case End(status):
                self._leave(status, Bye())
            case Failed(status, reason):
                self.fail(status, f"{self.name(peer)}: {reason}")

    def _collect(self, peer: int, given: Give) -> None:
        """Keep the value of a process for a round; with the last one, send the values to all."""
        with self._changed:
            collected = self._given.setdefault(given.round, {})
            collected[peer] = given.value
            if len(collected) < self.count:
                return
            values = [collected[index] for index in range(self.count)]
            del self._given[given.round]
            self._results[given.round] = values
            self._changed.notify_all()
        for link in self._links.values():
            link.send(All(given.round, values))

    def _gone(self, peer: int) -> None:
        if peer not in self._left:
            self._lost(peer, "")

    def _lost(self, peer: int, how: str) -> None:
        # Somebody who ends the job already knows better why it ends.
        if not self._ending.locked():
            line = (
                f"{self.name(peer)} was lost{how}{self.where()}. Run the same command again; it "
                f"goes on from there."
            )
            _print(line)
        with self._changed:
            self._left.add(peer)
        self._leave(UNEXPECTED, End(UNEXPECTED))

    def _beat(self) -> None:
        while True:
            time.sleep(self._silence / 4)
            for peer, link in self._links.items():
                link.send(Beat())
                if peer not in self._left and time.monotonic() - link.heard > self._silence:
                    self._lost(peer, f" (nothing heard for {self._silence:.0f} s)")

    def _leave(self, status: int, message: Message, patience: float = LEAVE_SECONDS) -> NoReturn:
        # Whoever comes second waits here until the first has ended the process.
        self._ending.acquire()
        for link in self._links.values():
            link.send(message)
        if self.first:
            with self._changed:
                self._changed.wait_for(lambda: self._left >= self._links.keys(), patience)
        _exit(status)


def join(info: ProcessInfo, *, join_seconds: float, heartbeat_seconds: float) -> Processes:
    """Meet the other processes, then start `jax.distributed` with them.

    Must be called before anything uses a device.

    Raises:
        PrimusError: not all came; those that are missing are named.
    """
    host = split_address(info.coordinator)[0]
    if info.index == 0 and not info.token and not is_loopback(host):
        _print(
            f"warning: this job has no token, so that whoever reaches {info.coordinator} can join "
            f"it. Set {TOKEN} to the same random letters for every process, or give --token-file."
        )
    links, hosts, port = meet(info, join_seconds, _print)
    processes = Processes(info.index, hosts, links, heartbeat_seconds)
    # Its handler would swallow SIGTERM; `stop.py` has ours.
    jax.config.update("jax_enable_preemption_service", False)
    host = f"[{host}]" if ":" in host else host
    jax.distributed.initialize(
        f"{host}:{port}",
        info.count,
        info.index,
        None if info.local_device is None else [info.local_device],
        cluster_detection_method="deactivate",
        coordinator_bind_address=f"{host}:{port}" if is_loopback(host.strip("[]")) else None,
        initialization_timeout=int(join_seconds),
        # Our channel notices first: this one can only abort.
        heartbeat_timeout_seconds=int(2 * heartbeat_seconds),
        shutdown_timeout_seconds=int(heartbeat_seconds),
    )
    return processes


def run_together(processes: Processes, body: Callable[[Processes], int], name: str) -> NoReturn:
    """Call `body` and end the process with the status that it returns.

    A PrimusError gives 2, anything else that is raised 1, on every process.

    Args:
        processes: all of them.
        body: the whole work of this one.
        name: of the command, for messages.
    """
    try:
        with missing_backend():
            status = body(processes)
    except CommonError as error:
        if processes.first:
            _print(f"{name}: {error}")
        processes.end(MISTAKE)
    except PrimusError as error:
        processes.fail(MISTAKE, f"{name}: {error}")
    except BaseException:
        reason = traceback.format_exc()
        time.sleep(GRACE_SECONDS)
        processes.fail(UNEXPECTED, reason)
    processes.end(status)


def _print(line: str) -> None:
    # Not through sys.stderr: another thread may hold its lock in a collective that never ends.
    with contextlib.suppress(OSError):
        os.write(2, f"{line.rstrip()}\n".encode())


def _exit(status: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        flush = threading.Thread(target=stream.flush, daemon=True)
        flush.start()
        flush.join(1.0)
    os._exit(status)
