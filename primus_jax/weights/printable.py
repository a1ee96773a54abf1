"""Names from files of strangers, as they may be printed."""

import reprlib

MOST_CHARACTERS = 80
MOST_SAID = 300


def shown(text: str, most: int = MOST_CHARACTERS) -> str:
    """`text` without control characters, which are escaped, and cut after `most` characters."""
    plain = (c if c.isprintable() else repr(c)[1:-1] for c in text[:most])
    return "".join(plain) + ("..." if len(text) > most else "")


def shown_value(value: object) -> str:
    """Any value that JSON can hold, as its `repr`, cut to a line."""
    return reprlib.repr(value)
