"""The endpoint against a local server that answers, and that misbehaves in every way."""

import json

import pytest
from support.chat_server import ChatServer, answer

from primus_jax.errors import PrimusError
from primus_jax.summary.endpoint import (
    KEY,
    MOST_BYTES,
    TRIES,
    WAITS,
    Endpoint,
    EndpointError,
    ask,
    estimated_tokens,
    read_key,
)

CHAT = [{"role": "user", "content": "0:00:00 to 0:10:00: walk"}]
SECRET = "sk-secret-of-the-test"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def asked(*replies, key=SECRET, timeout=5.0):
    """(text or error, server, waits) of one chat with these replies."""
    waits = []
    with ChatServer(*replies).running() as server:
        endpoint = Endpoint(server.url, "tiny", timeout)
        try:
            found = ask(endpoint, CHAT, key, sleep=waits.append)
        except EndpointError as error:
            found = error
    assert SECRET not in str(found)
    return found, server, waits


def test_the_request_and_the_answer():
    found, server, waits = asked((200, answer("  A walk\x1b[31m of ten minutes.\n\nThen tea.  ")))
    assert found == "A walk[31m of ten minutes.\n\nThen tea.\n"
    [(path, headers, body)] = server.requests
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {SECRET}"
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body) == {"model": "tiny", "messages": CHAT}
    assert waits == []


def test_without_a_key_there_is_no_header():
    _, server, _ = asked((200, answer("x")), key="")
    assert "Authorization" not in server.requests[0][1]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_is_asked_again_and_not_for_ever(status):
    found, server, waits = asked((status, b"no"), (status, b"no"), (200, answer("yes")))
    assert (found, len(server.requests), waits) == ("yes\n", 3, list(WAITS))
    found, server, waits = asked((status, SECRET.encode()))
    assert len(server.requests) == TRIES
    assert f"answered {status}" in str(found)
    assert "3 tries" in str(found)


@pytest.mark.parametrize("status", [400, 401, 404])
def test_what_will_not_change_is_not_tried_again(status):
    found, server, _ = asked((status, json.dumps({"error": SECRET}).encode()))
    assert len(server.requests) == 1
    assert f"answered {status}" in str(found)


@pytest.mark.parametrize("reply", ["stall", "drip"])
def test_a_slow_server_is_given_up(reply):
    found, server, waits = asked((200, reply), timeout=0.3)
    assert "gave no whole answer within 0.3 s" in str(found)
    assert (len(server.requests), len(waits)) == (TRIES, TRIES - 1)


def test_a_server_that_hangs_up_or_is_not_there():
    found, server, _ = asked((200, "close"))
    assert "cannot be reached (RemoteDisconnected)" in str(found)
    assert len(server.requests) == TRIES
    with pytest.raises(EndpointError, match="cannot be reached"):
        ask(Endpoint(server.url, "tiny"), CHAT, sleep=lambda _: None)
    with pytest.raises(EndpointError, match="cannot be reached"):
        ask(Endpoint("http://a..b/v1", "tiny"), CHAT, sleep=lambda _: None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>busy</html>",
        b'{"choices": [',
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": null}}]}',
        b'{"choices": [{"message": {"content": "  "}}]}',
        b'{"choices": [{"message": {"content": ["a"]}}]}',
        b'{"choices": {"0": 1}}',
    ],
)
def test_malformed_answers(body):
    found, server, _ = asked((200, body))
    assert "sent no text in JSON" in str(found)
    assert len(server.requests) == 1


def test_an_endless_answer_is_cut():
    found, _, _ = asked((200, answer("a" * (MOST_BYTES + 10))))
    assert "more than 1,048,576 bytes" in str(found)


def test_the_key_goes_to_no_other_host():
    with ChatServer((200, answer("stolen"))).running() as other:
        headers = {"Location": f"{other.url}/chat/completions"}
        for status in (301, 302, 307, 308):
            found, _, _ = asked((status, b"", headers))
            assert f"answered {status}" in str(found)
        assert other.requests == []


def test_keys():
    local, remote = Endpoint("http://localhost:1/v1", "m"), Endpoint("http://host.example/v1", "m")
    assert read_key(local, {}) == read_key(remote, {}) == ""
    assert read_key(local, {KEY: f" {SECRET}\n"}) == SECRET
    assert read_key(Endpoint("https://host.example/v1", "m"), {KEY: SECRET}) == SECRET
    for endpoint, key, message in (
        (remote, SECRET, "is not encrypted"),
        (local, f"{SECRET}\nX-More: 1", "characters that a header cannot"),
        (local, f"{SECRET}é", "characters that a header cannot"),
    ):
        with pytest.raises(PrimusError, match=message) as raised:
            read_key(endpoint, {KEY: key})
        assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"url": "localhost:8000"}, "not a web address"),
        ({"url": "ftp://host/v1"}, "not a web address"),
        ({"url": "file:///etc/passwd"}, "not a web address"),
        ({"url": "http://[::1/v1"}, "not a web address"),
        ({"url": "http://host:port/v1"}, "not a web address"),
        ({"url": f"https://me:{SECRET}@host/v1"}, "holds a password"),
        ({"url": f"https://host/v1?key={SECRET}"}, "a query"),
        ({"url": "http://host/a b"}, "holds blanks"),
        ({"model": " "}, "--model is empty"),
        ({"timeout_seconds": 0}, "--llm-timeout 0"),
        ({"timeout_seconds": float("nan")}, "--llm-timeout nan"),
        ({"tokens": 0}, "--llm-tokens 0"),
    ],
)
def test_endpoints_that_mean_nothing(values, message):
    with pytest.raises(PrimusError, match=message) as raised:
        Endpoint(**{"url": "http://localhost/v1", "model": "m", **values})
    assert SECRET not in str(raised.value)


def test_addresses():
    for url in ("http://h/v1", "http://h/v1/", "http://h/v1/chat/completions"):
        endpoint = Endpoint(url, "m")
        assert endpoint.address == "http://h/v1/chat/completions"
        assert endpoint.host == "http://h"


def test_tokens_are_counted_by_bytes():
    assert estimated_tokens("") == 0
    assert estimated_tokens("abc") == 2
    assert estimated_tokens("é" * 3) == 4
