"""What the columns of a table are, by their names: a guess for a person, never for a reader."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

AXES = "xyz"
_GYRO = re.compile(r"gyr|rotation|angular|omega|rad/s|deg/s|dps|°/s|d/s|^w\*$", re.IGNORECASE)
_GRAVITY = re.compile(r"grav", re.IGNORECASE)
_LINEAR = re.compile(r"linear|user|free|body|lin_", re.IGNORECASE)
_ACC = re.compile(r"acc|gF\*|m/s|\(g\)|\[g\]|^a_?\*$", re.IGNORECASE)
_OTHER = re.compile(r"mag|quat|euler|orient|\bB\*|tesla|µt|\but\b|pos|vel|attitude", re.IGNORECASE)
_TIME = re.compile(r"time|stamp|epoch|epoc|elapsed|^t$|^date|^ts$|clock|zeit", re.IGNORECASE)
_WORDS = {
    "label": ("label", "activity", "class", "annotation", "behavior", "behaviour", "target"),
    "subject": ("subject", "participant", "person", "user", "subject_id", "user_id"),
    "recording": ("recording", "session", "trial", "recording_id", "session_id", "file"),
    "text": ("text", "sentence", "description"),
}


@dataclasses.dataclass(frozen=True)
class Roles:
    """Columns by what their names suggest.

    Attributes:
        acc: three columns, or () where no three names differ by an axis alone.
        gravity: likewise.
        gyro: likewise.
        linear: whether the accelerometer's name states that gravity is not in it.
        times: columns that may hold times, the likeliest first.
        words: columns of recording, label, text and subject.
        why: of acc, gravity and gyro, in words.
    """

    acc: tuple[str, ...]
    gravity: tuple[str, ...]
    gyro: tuple[str, ...]
    linear: bool
    times: tuple[str, ...]
    words: Mapping[str, str]
    why: Mapping[str, str]


def guess_roles(names: Sequence[str]) -> Roles:
    """Guess the roles of columns."""
    found: dict[str, tuple[str, ...]] = {}
    why: dict[str, str] = {}
    linear = False
    plain: list[tuple[str, ...]] = []
    for stem, columns in _triples(names).items():
        kind = _kind(stem)
        if kind == "plain":
            plain.append(columns)
        if kind == "linear" and "acc" not in found:
            found["acc"], linear = columns, True
            why["acc"] = "the names state that gravity is not in it"
        if kind in ("acc", "gyro", "gravity") and (kind not in found or (kind == "acc" and linear)):
            found[kind] = columns
            why[kind] = "by the names"
            linear = linear and kind != "acc"
    for kind in ("acc", "gyro"):
        if kind not in found and plain and not (kind == "gyro" and "acc" not in found):
            found[kind] = plain.pop(0)
            why[kind] = "three columns that differ by an axis, whose names state no sensor"
    words = {
        role: name
        for role, usual in _WORDS.items()
        for name in names
        if name.lower() in usual and (role == name.lower() or role not in names)
    }
    times = [name for name in names if _TIME.search(name)]
    times.sort(key=lambda name: name.lower() != "time")
    return Roles(
        found.get("acc", ()), found.get("gravity", ()), found.get("gyro", ()), linear,
        tuple(times), words, why,
    )  # fmt: skip


def _triples(names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Three columns whose names differ by x, y, z alone, by the name with "*" for the axis."""
    stems: dict[str, dict[str, str]] = {}
    for name in names:
        for place, letter in enumerate(name):
            if letter.lower() in AXES:
                stem = f"{name[:place]}*{name[place + 1 :]}"
                stems.setdefault(stem, {}).setdefault(letter.lower(), name)
    whole = {stem: axes for stem, axes in stems.items() if len(axes) == len(AXES)}
    return {stem: tuple(axes[axis] for axis in AXES) for stem, axes in whole.items()}


def _kind(stem: str) -> str:
    """The sensor that three columns of one stem are of."""
    if _OTHER.search(stem) and not re.search("acc|gyr", stem, re.IGNORECASE):
        return "other"
    for kind, pattern in (("gravity", _GRAVITY), ("gyro", _GYRO), ("linear", _LINEAR)):
        if pattern.search(stem) and (kind != "linear" or _ACC.search(stem)):
            return kind
    return "acc" if _ACC.search(stem) else "plain"
