"""Print warnings of the library as plain lines."""

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

from primus_jax.recordings.arrays import SignalWarning


@contextlib.contextmanager
def printed_warnings() -> Iterator[None]:
    """Print each `SignalWarning` once, as a line on stderr; others come through as they are."""
    said: set[str] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("always", SignalWarning)
        usual = warnings.showwarning

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if not issubclass(category, SignalWarning):
                usual(message, category, filename, lineno, file, line)
            elif str(message) not in said:
                said.add(str(message))
                print(f"warning: {message}", file=sys.stderr)

        warnings.showwarning = show
        yield
