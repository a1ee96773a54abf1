"""What processes of a job send each other: one JSON object a line, each of a kind below.

| kind | from | means |
|---|---|---|
| `Challenge` | process 0 | prove that you belong to this job |
| `Hello` | a process | who I am, with the proof |
| `Welcome` | process 0 | all are here, with the proof that process 0 belongs to the job too |
| `Refused` | process 0 | the job does not start, with the same proof |
| `Give` | a process | my value for a round of `Processes.exchange` |
| `All` | process 0 | the values of all for a round |
| `Beat` | both | I am alive |
| `Bye` | both | I am ending, and you may too |
| `Failed` | a process | I failed; end all with this status |
| `End` | process 0 | end with this status |
"""

import dataclasses
import hashlib
import hmac
import json
from typing import Any, TypeVar

# Bytes of a line before a process has proved that it belongs to the job.
LONGEST_HELLO = 4096


@dataclasses.dataclass(frozen=True)
class Challenge:
    """`nonce` is random, so that a proof that somebody recorded proves nothing."""

    nonce: str


@dataclasses.dataclass(frozen=True)
class Hello:
    """Process `index` of `count` on `host`; `nonce` is its own challenge to process 0."""

    count: int
    index: int
    host: str
    nonce: str
    proof: str = ""


@dataclasses.dataclass(frozen=True)
class Welcome:
    """The host of each process, and a free port of process 0's host."""

    hosts: list
    port: int
    proof: str = ""


@dataclasses.dataclass(frozen=True)
class Refused:
    """Why the job does not start."""

    message: str
    proof: str = ""


@dataclasses.dataclass(frozen=True)
class Give:
    """The value of one process for a round; JSON-ready."""

    round: int
    value: Any


@dataclasses.dataclass(frozen=True)
class All:
    """The values of all processes for a round, in their order."""

    round: int
    values: list


@dataclasses.dataclass(frozen=True)
class Beat:
    """Alive."""


@dataclasses.dataclass(frozen=True)
class Bye:
    """Ending."""


@dataclasses.dataclass(frozen=True)
class Failed:
    """Why this process failed, and the status for all."""

    status: int
    message: str


@dataclasses.dataclass(frozen=True)
class End:
    """The status for all."""

    status: int


Message = Challenge | Hello | Welcome | Refused | Give | All | Beat | Bye | Failed | End
Proof = TypeVar("Proof", Hello, Welcome, Refused)
_KINDS = {kind.__name__.lower(): kind for kind in Message.__args__}


def encode(message: Message) -> bytes:
    """Return the line of a message."""
    content = {field.name: getattr(message, field.name) for field in dataclasses.fields(message)}
    return json.dumps({"kind": type(message).__name__.lower()} | content).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Return the message of a line.

    Raises:
        ValueError: the line is not a message: not JSON, no such kind, other fields or types.
    """
    try:
        content = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError("not an object")
    name = content.pop("kind", None)
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError("no message of a known kind")
    types = {field.name: field.type for field in dataclasses.fields(kind)}
    if content.keys() != types.keys():
        raise ValueError(f"{name} has other fields")
    for field, expected in types.items():
        # A bool is an int to isinstance, but not a number of a process.
        if expected is not Any and type(content[field]) is not expected:
            raise ValueError(f"{field} of {name} has another type")
    return kind(**content)


def prove(message: Proof, token: str, nonce: str) -> Proof:
    """Return the message with the proof that its sender knows the token of the job.

    Args:
        message: to send.
        token: of the job; it is not sent itself.
        nonce: the challenge of whom the message goes to.
    """
    return dataclasses.replace(message, proof=_proof(message, token, nonce))


def proves(message: Hello | Welcome | Refused, token: str, nonce: str) -> bool:
    """Return whether the sender of a message knows the token of the job."""
    # As bytes, since compare_digest takes no text beyond ASCII.
    return hmac.compare_digest(message.proof.encode(), _proof(message, token, nonce).encode())


def _proof(message: Hello | Welcome | Refused, token: str, nonce: str) -> str:
    content = encode(dataclasses.replace(message, proof=nonce))
    return hmac.new(token.encode(), content, hashlib.sha256).hexdigest()
