"""Processes that meet before they train: who came, who did not, and who does not belong."""

import contextlib
import socket
import threading

import pytest
from support.process_runs import free_port

from primus_jax.errors import PrimusError
from primus_jax.parallel.channel import meet
from primus_jax.parallel.cluster import ProcessInfo

HOSTS = ("node0", "node1", "node2", "node3")


def all_meet(places, seconds=10.0):
    """What `meet` gave or raised to each of these, which call it at the same time."""
    results = [None] * len(places)

    def call(number, place):
        try:
            results[number] = meet(place, seconds)
        except PrimusError as error:
            results[number] = error

    threads = [threading.Thread(target=call, args=pair) for pair in enumerate(places)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for links, _, _ in (r for r in results if not isinstance(r, PrimusError)):
        for link in links.values():
            link.close()
    return results


def places(port, indices, count=4, hosts=()):
    return [ProcessInfo(f"127.0.0.1:{port}", count, i, "a test", hosts) for i in indices]


def test_all_meet_in_any_order_and_learn_the_same():
    port = free_port()
    results = all_meet(places(port, (3, 1, 0, 2)))
    assert [sorted(links) for links, _, _ in results] == [[0], [0], [1, 2, 3], [0]]
    assert {tuple(hosts) for _, hosts, _ in results} == {(socket.gethostname(),) * 4}
    (other,) = {port for _, _, port in results}
    assert other != port


def test_those_who_came_name_those_who_did_not():
    results = all_meet(places(free_port(), (0, 2), hosts=HOSTS), seconds=1.0)
    for error in results:
        assert "2 of 4 processes joined 127.0.0.1:" in str(error)
        assert "within 1 s; missing: 1 (node1), 3 (node3)." in str(error)


def test_without_process_0_the_others_name_its_address():
    port = free_port()
    (error,) = all_meet(places(port, (1,)), seconds=0.5)
    assert f"process 0 did not answer at 127.0.0.1:{port}" in str(error)
    assert "a test" in str(error)


@pytest.mark.parametrize(
    ("strangers", "words"),
    [
        ([(1, 4), (1, 4)], "two processes call themselves 1 of 4"),
        ([(1, 3)], "says that there are 3 processes; process 0"),
    ],
)
def test_processes_that_do_not_fit_are_refused_by_name(strangers, words):
    port = free_port()
    members = places(port, (0,)) + [places(port, (i,), count)[0] for i, count in strangers]
    for error in all_meet(members):
        assert words in str(error)


def test_whoever_speaks_another_language_is_not_let_in():
    port = free_port()
    stop = threading.Event()

    def scan():
        while not stop.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as s:
                s.sendall(b"GET / HTTP/1.1\r\n\r\n")

    scanner = threading.Thread(target=scan)
    scanner.start()
    try:
        results = all_meet(places(port, (0, 1), count=2))
    finally:
        stop.set()
        scanner.join(10)
    assert not any(isinstance(result, PrimusError) for result in results), results


def test_a_port_that_somebody_else_has_is_named(monkeypatch):
    monkeypatch.setattr("primus_jax.parallel.channel.LISTEN_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (error,) = all_meet(places(port, (0,)))
    assert f"cannot listen at port {port}" in str(error)
