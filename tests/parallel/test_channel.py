"""Processes that meet before they train: who came, who did not, and who does not belong."""

import contextlib
import json
import socket
import threading

import pytest
from support.process_runs import free_port

from primus_jax.errors import PrimusError
from primus_jax.parallel import channel
from primus_jax.parallel.channel import meet
from primus_jax.parallel.cluster import ProcessInfo
from primus_jax.parallel.messages import Challenge, Hello, Welcome, decode, encode, prove

HOSTS = ("node0", "node1", "node2", "node3")


def all_meet(infos, seconds=10.0, log=print):
    """What `meet` gave or raised to each of these, which call it at the same time."""
    results = [None] * len(infos)

    def call(number, info):
        try:
            results[number] = meet(info, seconds, log)
        except PrimusError as error:
            results[number] = error

    threads = [threading.Thread(target=call, args=pair) for pair in enumerate(infos)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for links, _, _ in (r for r in results if not isinstance(r, PrimusError)):
        for link in links.values():
            link.close()
    return results


def infos(port, indices, count=4, hosts=(), token=""):
    where = f"127.0.0.1:{port}"
    return [ProcessInfo(where, count, i, "a test", hosts, token=token) for i in indices]


def test_all_meet_in_any_order_and_learn_the_same():
    port = free_port()
    results = all_meet(infos(port, (3, 1, 0, 2)))
    assert [sorted(links) for links, _, _ in results] == [[0], [0], [1, 2, 3], [0]]
    assert {tuple(hosts) for _, hosts, _ in results} == {(socket.gethostname(),) * 4}
    (other,) = {port for _, _, port in results}
    assert other != port


def test_those_who_came_name_those_who_did_not():
    results = all_meet(infos(free_port(), (0, 2), hosts=HOSTS), seconds=1.0)
    for error in results:
        assert "2 of 4 processes joined 127.0.0.1:" in str(error)
        assert "within 1 s; missing: 1 (node1), 3 (node3)." in str(error)


def test_without_process_0_the_others_name_its_address():
    port = free_port()
    (error,) = all_meet(infos(port, (1,)), seconds=0.5)
    assert f"process 0 did not answer at 127.0.0.1:{port}" in str(error)
    assert "a test" in str(error)


@pytest.mark.parametrize(
    ("strangers", "words"),
    [
        ([(1, 4), (1, 4)], "two processes call themselves 1 of 4"),
        ([(1, 3)], "started as one of 3 processes; process 0"),
    ],
)
def test_processes_that_do_not_fit_are_refused_by_name(strangers, words):
    port = free_port()
    members = infos(port, (0,)) + [infos(port, (i,), count)[0] for i, count in strangers]
    for error in all_meet(members):
        assert words in str(error)


HELLO = {"kind": "hello", "count": 2, "index": 1, "host": "x", "nonce": "", "proof": ""}
STRANGERS = {
    "http": b"GET / HTTP/1.1\r\nHost: node0\r\n\r\n",
    "garbage": bytes(range(256)) + b"\n",
    "no json": b"{\n",
    "a list": b"[1, 2]\n",
    "a number": b"1\n",
    "deep": b"[" * 4000 + b"\n",
    "empty": b"\n",
    "huge": b"x" * 100_000,
    "no fields": b'{"kind": "hello"}\n',
    "kind of a list": json.dumps(HELLO | {"kind": ["hello"]}).encode() + b"\n",
    "another kind": b'{"kind": "end", "status": 0}\n',
    "index 99": json.dumps(HELLO | {"index": 99}).encode() + b"\n",
    "index of text": json.dumps(HELLO | {"index": "1"}).encode() + b"\n",
    "index of a list": json.dumps(HELLO | {"index": [1]}).encode() + b"\n",
    "index true": json.dumps(HELLO | {"index": True}).encode() + b"\n",
    "another count": json.dumps(HELLO | {"count": 3}).encode() + b"\n",
    "proof beyond ascii": json.dumps(HELLO | {"proof": "\u00e4"}).encode() + b"\n",
    "the hello of before": b'{"count": 2, "index": 1, "host": "x"}\n',
    "two hellos": 2 * (json.dumps(HELLO).encode() + b"\n"),
    "a number too long": b"9" * 4090 + b"\n",
}


@pytest.mark.parametrize("sent", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_is_closed_and_logged_and_the_job_starts(sent):
    port, logged, closed = free_port(), [], []

    def visit():
        with connected(port) as stranger, contextlib.suppress(ConnectionError):
            stranger.sendall(sent)
            while stranger.recv(4096):
                pass
        closed.append(True)

    stranger = threading.Thread(target=visit)
    first = threading.Thread(
        target=lambda: logged.append(all_meet(infos(port, (0,), count=2, token="s"), log=say))
    )
    lines = []

    def say(line):
        lines.append(line)

    first.start()
    stranger.start()
    stranger.join(10)
    assert closed  # at once: before the job has started, and without waiting for HELLO_SECONDS
    (other,) = all_meet(infos(port, (1,), count=2, token="s"))
    first.join(30)
    assert not isinstance(other, PrimusError), other
    assert not isinstance(logged[0][0], PrimusError), logged
    (line,) = lines
    assert "closed a connection from 127.0.0.1" in line


@contextlib.contextmanager
def connected(port):
    """A stranger's connection, as soon as process 0 listens."""
    for _ in range(200):
        with contextlib.suppress(OSError):
            connection = socket.create_connection(("127.0.0.1", port))
            break
        threading.Event().wait(0.05)
    connection.settimeout(20)
    with connection:
        yield connection


def test_silent_connections_hold_nobody_up(monkeypatch):
    monkeypatch.setattr(channel, "HELLO_SECONDS", 3600.0)
    port, results = free_port(), []
    first = threading.Thread(
        target=lambda: results.extend(all_meet(infos(port, (0,), count=3, token="s")))
    )
    first.start()
    with contextlib.ExitStack() as stack:
        # More than there is room for: the oldest are closed, not the job's.
        silent = [stack.enter_context(connected(port)) for _ in range(channel.MOST_CHALLENGED + 9)]
        others = all_meet(infos(port, (1, 2), count=3, token="s"))
        first.join(30)
        assert len(silent) > channel.MOST_CHALLENGED
    assert not any(isinstance(result, PrimusError) for result in (*results, *others)), others


def test_a_silent_connection_is_closed_after_a_while(monkeypatch):
    monkeypatch.setattr(channel, "HELLO_SECONDS", 0.3)
    port, lines = free_port(), []
    first = threading.Thread(
        target=lambda: all_meet(infos(port, (0,), count=2), seconds=3.0, log=lines.append)
    )
    first.start()
    with connected(port) as stranger:
        while stranger.recv(4096):
            pass
    first.join(30)
    assert "did not prove within" in lines[0]


def test_without_the_token_nobody_joins_or_ends_a_job():
    port, lines = free_port(), []
    secret, guess = "hunter2-secret", "hunter2-guess"
    members = infos(port, (0, 1), count=2, token=secret)
    # With another count, such a process of the job itself would end the job.
    strangers = infos(port, (1,), count=2, token=guess) + infos(port, (1,), count=3, token="")
    late = threading.Timer(1.5, lambda: results.append(all_meet(members[1:])))
    results = []
    outside = []
    knocking = threading.Thread(target=lambda: outside.extend(all_meet(strangers, seconds=1.0)))
    knocking.start()
    late.start()
    (first,) = all_meet(members[:1], log=lines.append)
    late.join(30)
    knocking.join(30)
    assert not isinstance(first, PrimusError), first
    assert not isinstance(results[0][0], PrimusError), results
    for error in outside:
        assert "do all processes have the same token" in str(error)
    assert any("does not know the token" in line for line in lines)
    everything = " ".join([*lines, *map(str, outside), repr(members)])
    assert secret not in everything
    assert guess not in everything


def test_whoever_has_taken_the_port_learns_nothing_and_is_not_believed():
    token, received = "a-secret", []
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def pretend():
            with server.accept()[0] as connection, contextlib.suppress(OSError):
                connection.sendall(encode(Challenge("0" * 32)))
                received.append(connection.recv(4096))
                connection.sendall(encode(Welcome(["x", "y"], 1)))

        false = threading.Thread(target=pretend)
        false.start()
        (error,) = all_meet(infos(port, (1,), count=2, token=token), seconds=1.0)
        false.join(10)
    assert isinstance(error, PrimusError)
    assert token.encode() not in received[0]


def test_a_process_that_died_while_waiting_may_come_again():
    port, lines, results = free_port(), [], []
    members = infos(port, (0, 1, 2), count=3, token="s")
    first = threading.Thread(target=lambda: results.extend(all_meet(members[:1], log=lines.append)))
    first.start()
    with connected(port) as killed:
        challenge = decode(killed.recv(4096))
        hello = prove(Hello(3, 1, "node1", "n"), "s", challenge.nonce)
        killed.sendall(encode(hello))
        threading.Event().wait(0.3)
    others = all_meet(members[1:])
    first.join(30)
    assert not any(isinstance(result, PrimusError) for result in (*results, *others)), others
    assert lines == ["process 1 (node1) left before all were there"]


def test_a_port_that_somebody_else_has_is_named(monkeypatch):
    monkeypatch.setattr("primus_jax.parallel.channel.LISTEN_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (error,) = all_meet(infos(port, (0,)))
    assert f"cannot listen at port {port}" in str(error)
