"""A text of an OpenAI-compatible endpoint: one request, bounded in time, retries and size.

Needs the standard library only. The key comes from the environment, goes to the stated host alone,
and is in no message: redirections are refused, and nothing that a server sends is quoted.
"""

import dataclasses
import http.client
import json
import math
import os
import queue
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from primus_jax.errors import PrimusError

KEY = "PRIMUS_LLM_KEY"
PATH = "/chat/completions"
TRIES = 3
# Seconds before the second and the third try.
WAITS = (1.0, 4.0)
RETRIED = (408, 429, 500, 502, 503, 504)
MOST_BYTES = 1 << 20
LOCAL = ("localhost", "127.0.0.1", "::1")


class EndpointError(PrimusError):
    """No text came from the endpoint; the message states why, without the key."""


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """Where and how a summary is asked for.

    Attributes:
        url: the address before "/chat/completions", as in http://localhost:8000/v1.
        model: the name that the server knows it by.
        timeout_seconds: for each try, from the connection to the last byte of the answer.
        tokens: that a prompt may hold, as `estimated_tokens` counts them.

    Raises:
        PrimusError: an address that is not http or https or holds a password or a query; an empty
            name; a time or number that is not positive.
    """

    url: str
    model: str
    timeout_seconds: float = 60.0
    tokens: int = 4000

    def __post_init__(self) -> None:
        try:
            parts = urllib.parse.urlsplit(self.url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise PrimusError("--llm is not a web address; expected http(s)://HOST/v1.") from None
        if parts.scheme not in ("http", "https") or not host or not self.url.isascii():
            raise PrimusError("--llm is not a web address; expected http(s)://HOST/v1.")
        if parts.username is not None or parts.query or parts.fragment:
            raise PrimusError(
                f"--llm holds a password, a query or a fragment; expected http(s)://HOST/v1, and "
                f"the key in the environment variable {KEY}."
            )
        if any(not 32 < ord(letter) < 127 for letter in self.url):
            raise PrimusError("--llm holds blanks; expected http(s)://HOST/v1.")
        if not self.model.strip():
            raise PrimusError("--model is empty; expected the name of a model of the endpoint.")
        if not (math.isfinite(self.timeout_seconds) and self.timeout_seconds > 0):
            raise PrimusError(f"--llm-timeout {self.timeout_seconds:g}; expected positive seconds.")
        if self.tokens < 1:
            raise PrimusError(f"--llm-tokens {self.tokens}; expected a positive number.")

    @property
    def host(self) -> str:
        """Scheme and host, for messages."""
        parts = urllib.parse.urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def address(self) -> str:
        """Where requests go."""
        url = self.url.rstrip("/")
        return url if url.endswith(PATH) else url + PATH


def read_key(endpoint: Endpoint, environment: Mapping[str, str] = os.environ) -> str:
    """Return the key of the environment variable `PRIMUS_LLM_KEY`, or "".

    Raises:
        PrimusError: a key that a header cannot hold, or that would go over the network unencrypted.
    """
    key = environment.get(KEY, "").strip()
    if any(not 32 < ord(letter) < 127 for letter in key):
        raise PrimusError(f"{KEY} holds blanks or other characters that a header cannot. Set it.")
    parts = urllib.parse.urlsplit(endpoint.url)
    if key and parts.scheme == "http" and parts.hostname not in LOCAL:
        raise PrimusError(
            f"{endpoint.host} is not encrypted, and {KEY} is set. Use https, or unset {KEY}."
        )
    return key


def ask(
    endpoint: Endpoint,
    messages: list[dict[str, str]],
    key: str = "",
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Send one chat and return the text of the answer, without control characters.

    Args:
        endpoint: where.
        messages: dictionaries with "role" and "content".
        key: of `read_key`.
        sleep: waits between tries.

    Raises:
        EndpointError: after `TRIES` tries without an answer, at once for another fault.
    """
    body = json.dumps({"model": endpoint.model, "messages": messages}).encode()
    fault = ""
    for attempt in range(TRIES):
        if attempt:
            sleep(WAITS[attempt - 1])
        try:
            return _text(_within(endpoint.timeout_seconds, endpoint, body, key), endpoint)
        except urllib.error.HTTPError as error:
            error.close()
            phrase = http.client.responses.get(error.code, "unknown status")
            fault = f"answered {error.code} ({phrase})"
            if error.code not in RETRIED:
                raise EndpointError(f"{endpoint.host} {fault}.") from None
        except TimeoutError:
            fault = f"gave no whole answer within {endpoint.timeout_seconds:g} s"
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                fault = f"gave no whole answer within {endpoint.timeout_seconds:g} s"
            else:
                fault = f"cannot be reached ({type(reason).__name__})"
    raise EndpointError(f"{endpoint.host} {fault}; {TRIES} tries.")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Answers 3xx become errors: a redirected request would take the key to another host."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _within(seconds: float, endpoint: Endpoint, body: bytes, key: str) -> bytes:
    """`_post`, given up after `seconds` in all: a socket's limit starts anew with every byte."""
    result: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            result.put(_post(endpoint, body, key))
        except Exception as error:
            result.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        found = result.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(found, Exception):
        raise found
    return found


def _post(endpoint: Endpoint, body: bytes, key: str) -> bytes:
    """The answer's body; raises what urllib raises."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(endpoint.address, body, headers, method="POST")
    opener = urllib.request.build_opener(_NoRedirect)
    with opener.open(request, timeout=endpoint.timeout_seconds) as response:
        answer = response.read(MOST_BYTES + 1)
    if len(answer) > MOST_BYTES:
        raise EndpointError(
            f"{endpoint.host} sent more than {MOST_BYTES:,} bytes, which is not a summary."
        )
    return answer


def _text(body: bytes, endpoint: Endpoint) -> str:
    """The text in the JSON of an answer."""
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        content = None
    if not isinstance(content, str) or not content.strip():
        raise EndpointError(
            f"{endpoint.host} sent no text in JSON as OpenAI's chat completions have it "
            f"(choices[0].message.content). Is --llm the address of such an endpoint?"
        )
    kept = (letter for letter in content if letter.isprintable() or letter in "\n\t")
    return "".join(kept).strip() + "\n"


def estimated_tokens(text: str) -> int:
    """An upper estimate without the model's tokenizer: two tokens for three bytes.

    Times and numbers cost about that; words cost less.
    """
    return math.ceil(len(text.encode()) * 2 / 3)
