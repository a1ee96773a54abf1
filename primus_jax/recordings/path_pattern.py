"""Patterns of paths: files of one recording found by a glob each, and names read from a path."""

import glob
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from primus_jax.errors import PrimusError
from primus_jax.recordings.sources import SensorFiles

_TOKEN = re.compile(r"\*\*/|\*|\?|\{(\w+)\}")


def named_in(template: str, paths: Sequence[Path], name: str) -> list[str]:
    """Return what stands in the place of `{name}` in each path.

    Args:
        template: such as `{subject}/*/{recording}.csv`, compared with the end of a path. `*` and a
            name in braces stand for characters other than "/", `**/` for any folders.
        paths: to be named.
        name: which of the names in braces is returned.

    Raises:
        PrimusError: a template without that name, or a path that does not fit it.
    """
    if f"{{{name}}}" not in template:
        raise PrimusError(f"the pattern {template!r} has no {{{name}}}.")
    pattern = re.compile("(?:^|.*/)" + _regular(template) + "$")
    found = []
    for path in paths:
        match = pattern.match(path.as_posix())
        if match is None:
            raise PrimusError(
                f"{path}: does not fit the pattern {template!r}, from which the {name} is read. It "
                f"is compared with the end of the path; * and {{{name}}} hold no slash."
            )
        found.append(match[name])
    return found


def sensor_files(patterns: Mapping[str, str], compared: int | None = None) -> list[SensorFiles]:
    """Return the recordings whose files fit the patterns, in the order of their names.

    Files belong together where the wildcards of their patterns stand for the same words.

    Args:
        patterns: globs of "acc" and of "gyro", "gravity" or both, with as many wildcards each.
        compared: so many wildcards, the first ones, have to stand for the same words; None: all.

    Raises:
        PrimusError: patterns that do not fit together, no file, or a file without its partner.
    """
    counts = {sensor: len(_TOKEN.findall(pattern)) for sensor, pattern in patterns.items()}
    if len(set(counts.values())) > 1:
        raise PrimusError(
            f"the patterns {list(patterns.values())} have {list(counts.values())} wildcards; "
            f"expected as many in each, which stand for the same words."
        )
    found = {sensor: _found(pattern, sensor, compared) for sensor, pattern in patterns.items()}
    for sensor, files in found.items():
        for other, partners in found.items():
            lone = sorted(files.keys() - partners.keys())
            if lone:
                raise PrimusError(
                    f"{files[lone[0]]}: no file of {other} beside it; expected "
                    f"{_filled(patterns[other], lone[0])}, by --{other}-file {patterns[other]} "
                    f"({len(lone)} of {len(files)} files of {sensor} lack it)."
                )
    return [
        SensorFiles(
            acc=path,
            gyro=found.get("gyro", {}).get(key),
            gravity=found.get("gravity", {}).get(key),
            name="/".join(filter(None, key)) or path.absolute().parent.name or path.stem,
        )
        for key, path in sorted(found["acc"].items())
    ]


def _found(pattern: str, sensor: str, compared: int | None) -> dict[tuple[str, ...], Path]:
    """Files by what their wildcards stand for."""
    regular = re.compile(_regular(pattern) + "$")
    plain = pattern.replace("[", "[[]")
    result: dict[tuple[str, ...], Path] = {}
    for name in sorted(glob.glob(plain, recursive=True)):
        match = regular.match(Path(name).as_posix()) or regular.match(name)
        if match and Path(name).is_file():
            key = tuple((group or "").rstrip("/") for group in match.groups())[:compared]
            if key in result:
                raise PrimusError(f"{name} and {result[key]} are both the {sensor} of {key}.")
            result[key] = Path(name)
    if not result:
        raise PrimusError(
            f"--{sensor}-file {pattern}: no such file. Write the pattern in quotes, such as "
            f"'recordings/*/Gyroscope.csv'."
        )
    return result


def _regular(pattern: str) -> str:
    """The regular expression of a pattern; every wildcard is a group."""
    parts, end = [], 0
    for token in _TOKEN.finditer(pattern):
        parts.append(re.escape(pattern[end : token.start()]))
        if token[1]:
            parts.append(f"(?P<{token[1]}>[^/]+?)")
        else:
            parts.append({"**/": "(.*/)?", "*": "([^/]*)", "?": "([^/])"}[token[0]])
        end = token.end()
    return "".join(parts) + re.escape(pattern[end:])


def _filled(pattern: str, words: Sequence[str]) -> str:
    """The pattern with words in the place of its wildcards."""
    rest = iter(words)
    return _TOKEN.sub(lambda token: next(rest, token[0]) + "/" * (token[0] == "**/"), pattern)
