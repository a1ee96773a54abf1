"""Lines of JSON between process 0 and each of the others, over TCP, for as long as they train.

The processes meet before `jax.distributed` starts, because that aborts the process where somebody
is missing. The channel outlives every collective: a process that is gone is known by its number, at
once where its connection closes, and after `heartbeat_seconds` of silence where its host vanished.

Anybody can connect to the port of process 0 while the processes meet. All connections are served
side by side, each in one of these states:

| state | what comes | then |
|---|---|---|
| challenged | a `Hello` with the proof of the job's token | admitted |
| challenged | anything else, too long a line, or nothing for `HELLO_SECONDS` | closed, logged |
| admitted | all others have been admitted too | sent a `Welcome` |
| admitted | another process of the job contradicts one of them | both sent a `Refused`, as all |
| admitted | the connection closes | forgotten, logged; its process may come again |

The port is closed when all are there.
"""

import contextlib
import dataclasses
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable

from primus_jax.errors import PrimusError
from primus_jax.parallel.cluster import ProcessInfo, is_loopback, split_address
from primus_jax.parallel.messages import (
    LONGEST_HELLO,
    Challenge,
    Hello,
    Message,
    Refused,
    Welcome,
    decode,
    encode,
    prove,
    proves,
)

PAUSE = 0.2  # seconds between two attempts to reach process 0
LISTEN_SECONDS = 30.0  # in which a taken port may become free
HELLO_SECONDS = 5.0  # in which a new connection must prove that it belongs to the job
MOST_CHALLENGED = 128  # connections that have not; of more, the oldest is closed
LONGEST_ANSWER = 2**24  # bytes, of process 0: the names of all hosts
MOST_LOGGED = 10  # lines about connections that were closed; more of them only make noise


class Link:
    """One connection: sends lines from any thread, and reads lines in a thread of its own."""

    def __init__(self, connection: socket.socket):
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection, self._sending = connection, threading.Lock()
        self._lines = connection.makefile("rb")
        self.heard = time.monotonic()

    def listen(self, receive: Callable[[Message], None], gone: Callable[[], None]) -> None:
        """Call `receive` with every message, and `gone` when no more can come."""
        threading.Thread(target=self._read, args=(receive, gone), daemon=True).start()

    def send(self, message: Message) -> None:
        """Send one message; that the other side is gone is noticed by the reader."""
        with self._sending, contextlib.suppress(OSError):
            self._connection.sendall(encode(message))

    def read(self, seconds: float) -> Message | None:
        """Return the next message, before anybody listens; None where none came in time."""
        self._connection.settimeout(seconds)
        try:
            message = decode(self._lines.readline(LONGEST_ANSWER))
            self._connection.settimeout(None)
        except (OSError, ValueError):
            return None
        return message

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._lines.close()
            self._connection.close()

    def _read(self, receive: Callable[[Message], None], gone: Callable[[], None]) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in self._lines:
                self.heard = time.monotonic()
                receive(decode(line))
        gone()


Meeting = tuple[dict[int, Link], list[str], int]


def meet(info: ProcessInfo, seconds: float, log: Callable[[str], None] = print) -> Meeting:
    """Wait until all processes of the job are here.

    Returns the links (of process 0 to all others, of the others to process 0), the host of each
    process, and a free port of process 0's host.

    Args:
        info: of this process.
        seconds: to wait for the others.
        log: told by process 0 which connections were closed, and why.

    Raises:
        PrimusError: not all came within `seconds`, or two processes of the job give themselves the
            same number or disagree about how many they are; those that came, and are missing, are
            named.
    """
    if info.index == 0:
        return _Gathering(info, log).gather(seconds)
    return _knock(info, time.monotonic() + seconds)


@dataclasses.dataclass
class _Visitor:
    """A connection to process 0; `hello` is None while the visitor is challenged."""

    connection: socket.socket
    host: str
    nonce: str
    deadline: float
    received: bytes = b""
    hello: Hello | None = None


class _Gathering:
    """Process 0 while the others come; one thread serves all connections."""

    def __init__(self, info: ProcessInfo, log: Callable[[str], None]):
        self._info, self._log = info, log
        self._own_host = socket.gethostname()
        self._challenged: list[_Visitor] = []
        self._admitted: dict[int, _Visitor] = {}
        self._closed: dict[tuple[str, str], int] = {}
        self._selector = selectors.DefaultSelector()

    def gather(self, seconds: float) -> Meeting:
        """See `meet`."""
        deadline = time.monotonic() + seconds
        try:
            with self._selector, _listen(self._info) as server:
                server.setblocking(False)
                self._selector.register(server, selectors.EVENT_READ)
                while len(self._admitted) < self._info.count - 1:
                    if time.monotonic() > deadline:
                        raise PrimusError(self._missing(seconds))
                    self._serve(server, deadline)
        except PrimusError as error:
            self._refuse(str(error))
            raise
        finally:
            for visitor in self._challenged:
                visitor.connection.close()
        return self._welcome()

    def _serve(self, server: socket.socket, deadline: float) -> None:
        next_deadline = min([deadline, *(v.deadline for v in self._challenged)])
        for key, _ in self._selector.select(max(0.0, next_deadline - time.monotonic())):
            if key.fileobj is server:
                self._accept(server)
            elif key.data.connection.fileno() >= 0:  # not closed while the others were served
                self._hear(key.data)
        for visitor in [v for v in self._challenged if v.deadline < time.monotonic()]:
            self._close(visitor, f"it did not prove within {HELLO_SECONDS:.0f} s who it is")

    def _accept(self, server: socket.socket) -> None:
        try:
            connection, address = server.accept()
            connection.setblocking(False)
            nonce = secrets.token_hex(16)
            connection.sendall(encode(Challenge(nonce)))
        except OSError:
            return  # already gone again
        visitor = _Visitor(connection, address[0], nonce, time.monotonic() + HELLO_SECONDS)
        self._challenged.append(visitor)
        self._selector.register(connection, selectors.EVENT_READ, visitor)
        if len(self._challenged) > MOST_CHALLENGED:
            self._close(self._challenged[0], "too many connections at once")

    def _hear(self, visitor: _Visitor) -> None:
        try:
            received = visitor.connection.recv(LONGEST_HELLO)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if visitor.hello is not None:
            index = visitor.hello.index
            del self._admitted[index]
            self._drop(visitor)
            self._log(f"process {index} ({visitor.hello.host}) left before all were there")
            return
        visitor.received += received
        line, end, rest = visitor.received.partition(b"\n")
        if end:
            self._answer(visitor, line, rest)
        elif not received or len(visitor.received) >= LONGEST_HELLO:
            self._close(visitor, "it sent no hello")

    def _answer(self, visitor: _Visitor, line: bytes, rest: bytes) -> None:
        """Admit a visitor whose line is a hello of this job; close any other."""
        try:
            hello = decode(line)
        except ValueError:
            hello = None
        if not isinstance(hello, Hello) or rest:
            self._close(visitor, "it sent no hello")
        elif not proves(hello, self._info.token, visitor.nonce):
            self._close(visitor, "it does not know the token of this job")
        else:
            visitor.hello = hello
            self._check(hello)
            self._challenged.remove(visitor)
            self._admitted[hello.index] = visitor

    def _check(self, hello: Hello) -> None:
        """Raise PrimusError where a process of this job contradicts another one."""
        hosts = self._hosts()
        if hello.count != self._info.count:
            raise PrimusError(
                f"process {hello.index} ({hello.host}) was started as one of {hello.count} "
                f"processes; process 0 ({self._own_host}) as one of {self._info.count}. Start all "
                f"with the same number."
            )
        if not 0 <= hello.index < hello.count:
            raise PrimusError(
                f"a process on {hello.host} calls itself {hello.index} of {hello.count}; expected "
                f"0 to {hello.count - 1}."
            )
        if hello.index in hosts:
            raise PrimusError(
                f"two processes call themselves {hello.index} of {hello.count}: on "
                f"{hosts[hello.index]} and on {hello.host}. Give each its own number."
            )

    def _close(self, visitor: _Visitor, reason: str) -> None:
        self._challenged.remove(visitor)
        self._drop(visitor)
        before = self._closed.get((visitor.host, reason), 0)
        self._closed[visitor.host, reason] = before + 1
        if before == 0 and len(self._closed) <= MOST_LOGGED:
            self._log(
                f"closed a connection from {visitor.host} to the port of this job: {reason}. "
                f"Others like it are closed too, without another line."
            )

    def _drop(self, visitor: _Visitor) -> None:
        self._selector.unregister(visitor.connection)
        visitor.connection.close()

    def _hosts(self) -> dict[int, str]:
        admitted = {i: v.hello.host for i, v in self._admitted.items() if v.hello is not None}
        return {0: self._own_host} | admitted

    def _missing(self, seconds: float) -> str:
        hosts, info = self._hosts(), self._info
        absent = [
            f"{i} ({info.hosts[i]})" if info.hosts else str(i)
            for i in range(info.count)
            if i not in hosts
        ]
        wrong = sum(self._closed.values())
        return (
            f"{len(hosts)} of {info.count} processes joined {info.coordinator} within "
            f"{seconds:.0f} s; missing: {', '.join(absent)}. Look at their logs, or allow more "
            f"--join-seconds."
            + (f" {wrong} connection(s) were closed, see above." if wrong else "")
        )

    def _refuse(self, message: str) -> None:
        for visitor in (*self._admitted.values(), *self._challenged):
            if visitor.hello is None:
                continue
            link = Link(visitor.connection)
            link.send(prove(Refused(message), self._info.token, visitor.hello.nonce))
            link.close()

    def _welcome(self) -> Meeting:
        hosts = self._hosts()
        names = [hosts[i] for i in range(self._info.count)]
        port = _free_port(self._info)
        links = {}
        for index, visitor in self._admitted.items():
            assert visitor.hello is not None  # `_answer` admits by it
            links[index] = Link(visitor.connection)
            welcome = prove(Welcome(names, port), self._info.token, visitor.hello.nonce)
            links[index].send(welcome)
        return links, names, port


def _knock(info: ProcessInfo, deadline: float) -> Meeting:
    """Come to process 0, again and again until it welcomes or refuses this process."""
    address = split_address(info.coordinator)
    reason = "no answer"
    begin = time.monotonic()
    while (left := deadline - time.monotonic()) > 0:
        try:
            link = Link(socket.create_connection(address, timeout=left))
        except OSError as error:
            reason = str(error)
            time.sleep(min(PAUSE, left))
            continue
        nonce = secrets.token_hex(16)
        answer = _introduce(link, info, nonce, deadline)
        if isinstance(answer, Welcome):
            return {0: link}, answer.hosts, answer.port
        link.close()
        if isinstance(answer, Refused):
            raise PrimusError(answer.message)
        reason = answer
        time.sleep(PAUSE)
    raise PrimusError(
        f"process {info.index} of {info.count} could not join: process 0 did not answer at "
        f"{info.coordinator} within {time.monotonic() - begin:.0f} s ({reason}). Is it running, "
        f"and is this its address (from {info.source})?"
    )


def _introduce(
    link: Link, info: ProcessInfo, nonce: str, deadline: float
) -> Welcome | Refused | str:
    """Return the answer of process 0 to this process, or why there is none."""
    challenge = link.read(HELLO_SECONDS)
    if not isinstance(challenge, Challenge):
        return "whoever listens there is not process 0 of a job"
    hello = Hello(info.count, info.index, socket.gethostname(), nonce)
    link.send(prove(hello, info.token, challenge.nonce))
    # Process 0 names who is missing at its own deadline, which may be a little later.
    answer = link.read(max(0.1, deadline - time.monotonic()) + HELLO_SECONDS)
    if not isinstance(answer, Welcome | Refused):
        return "it closed the connection; do all processes have the same token of the job?"
    if not proves(answer, info.token, nonce):
        return "whoever listens there does not know the token of this job"
    return answer


def _listen(info: ProcessInfo) -> socket.socket:
    """A socket at the coordinator's port: a process that is still ending may hold it a while."""
    host, port = split_address(info.coordinator)
    deadline = time.monotonic() + LISTEN_SECONDS
    while True:
        try:
            return _server(host, port)
        except OSError as error:
            if time.monotonic() > deadline:
                raise PrimusError(
                    f"process 0 cannot listen at port {port} of {socket.gethostname()}: {error}. "
                    f"Choose another in --coordinator."
                ) from error
            time.sleep(PAUSE)


def _server(host: str, port: int) -> socket.socket:
    if is_loopback(host):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    # A host's own name may be a loopback address to itself, so all its addresses are taken.
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _free_port(info: ProcessInfo) -> int:
    with _server(split_address(info.coordinator)[0], 0) as server:
        return server.getsockname()[1]
