"""Lines of JSON between process 0 and each of the others, over TCP, for as long as they train.

It meets before `jax.distributed` starts, because that aborts the process where somebody is missing,
and it outlives every collective: a process that is gone is known by its number, at once where its
connection closes, and after `heartbeat_seconds` of silence where its host vanished.
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from primus_jax.errors import PrimusError
from primus_jax.parallel.cluster import ProcessInfo, is_loopback, split_address

PAUSE = 0.2  # seconds between two attempts to reach process 0
LISTEN_SECONDS = 30.0  # in which a taken port may become free
HELLO_SECONDS = 5.0  # in which a new connection must say who it is
LONGEST_HELLO = 4096  # bytes; whoever sends more is not one of ours
Message = dict[str, Any]


class Link:
    """One connection: sends lines from any thread, and reads them in a thread of its own."""

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
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def read(self, seconds: float) -> Message | None:
        """The first message, before anybody listens; None where none came that makes sense."""
        self._connection.settimeout(seconds)
        try:
            line = self._lines.readline(LONGEST_HELLO)
            message = json.loads(line)
        except (OSError, ValueError):
            return None
        self._connection.settimeout(None)
        return message if isinstance(message, dict) else None

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(OSError):
            self._lines.close()
            self._connection.close()

    def _read(self, receive: Callable[[Message], None], gone: Callable[[], None]) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in self._lines:
                self.heard = time.monotonic()
                receive(json.loads(line))
        gone()


def meet(place: ProcessInfo, seconds: float) -> tuple[dict[int, Link], list[str], int]:
    """Wait until all processes of the job are here.

    Returns the links (of process 0 to all others, of those to process 0), the host of each
    process, and a free port of process 0's host.

    Raises:
        PrimusError: not all came within `seconds`, or two give themselves the same number or
            disagree about how many they are; those that came, and are missing, are named.
    """
    deadline = time.monotonic() + seconds
    return _gather(place, seconds, deadline) if place.index == 0 else _knock(place, deadline)


def _gather(place: ProcessInfo, seconds: float, deadline: float):
    hosts: dict[int, str] = {0: socket.gethostname()}
    links: dict[int, Link] = {}
    arrived: list[Link] = []
    try:
        with _listen(place) as server:
            while len(hosts) < place.count:
                server.settimeout(max(0.01, deadline - time.monotonic()))
                try:
                    link = Link(server.accept()[0])
                except TimeoutError:
                    raise PrimusError(_missing(place, hosts, seconds)) from None
                hello = link.read(HELLO_SECONDS)
                if hello is None or not {"count", "index", "host"} <= hello.keys():
                    link.close()
                    continue
                arrived.append(link)
                _admit(place, hosts, hello)
                links[hello["index"]], hosts[hello["index"]] = link, hello["host"]
    except PrimusError as error:
        for link in arrived:
            link.send({"kind": "refused", "message": str(error)})
            link.close()
        raise
    names = [hosts[i] for i in range(place.count)]
    port = _free_port(place)
    for link in links.values():
        link.send({"kind": "welcome", "hosts": names, "port": port})
    return links, names, port


def _admit(place: ProcessInfo, hosts: dict[int, str], hello: Message) -> None:
    index, host = hello["index"], hello["host"]
    if hello["count"] != place.count:
        raise PrimusError(
            f"process {index} ({host}) says that there are {hello['count']} processes; process 0 "
            f"({hosts[0]}) says {place.count}. Start all with the same number."
        )
    if index in hosts:
        raise PrimusError(
            f"two processes call themselves {index} of {place.count}: on {hosts[index]} and on "
            f"{host}. Give each its own number."
        )


def _knock(place: ProcessInfo, deadline: float):
    address = split_address(place.coordinator)
    hello = {"count": place.count, "index": place.index, "host": socket.gethostname()}
    reason = "no answer"
    begin = time.monotonic()
    while (left := deadline - time.monotonic()) > 0:
        try:
            link = Link(socket.create_connection(address, timeout=left))
        except OSError as error:
            reason = str(error)
            time.sleep(min(PAUSE, left))
            continue
        link.send(hello)
        # Process 0 names who is missing at its own deadline, which may be a little later.
        answer = link.read(max(0.1, deadline - time.monotonic()) + HELLO_SECONDS)
        if answer is not None and answer.get("kind") == "welcome":
            return {0: link}, answer["hosts"], answer["port"]
        link.close()
        if answer is not None and answer.get("kind") == "refused":
            raise PrimusError(answer["message"])
        reason = "it closed the connection"
        time.sleep(PAUSE)
    raise PrimusError(
        f"process {place.index} of {place.count} could not join: process 0 did not answer at "
        f"{place.coordinator} within {time.monotonic() - begin:.0f} s ({reason}). Is it running, "
        f"and is this its address (from {place.source})?"
    )


def _missing(place: ProcessInfo, hosts: dict[int, str], seconds: float) -> str:
    absent = [
        f"{i} ({place.hosts[i]})" if place.hosts else str(i)
        for i in range(place.count)
        if i not in hosts
    ]
    return (
        f"{len(hosts)} of {place.count} processes joined {place.coordinator} within {seconds:.0f} "
        f"s; missing: {', '.join(absent)}. Look at their logs, or allow more --join-seconds."
    )


def _listen(place: ProcessInfo) -> socket.socket:
    """A socket at the coordinator's port: a process that is still ending may hold it a while."""
    host, port = split_address(place.coordinator)
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


def _free_port(place: ProcessInfo) -> int:
    with _server(split_address(place.coordinator)[0], 0) as server:
        return server.getsockname()[1]
