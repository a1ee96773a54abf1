"""Timestamped sentences: a CSV file with the columns recording, seconds, text."""

import math
from pathlib import Path

from primus_jax.errors import PrimusError
from primus_jax.recordings.columns import read_columns


def read_narrations(path: Path) -> dict[str, list[tuple[float, str]]]:
    """Read narrations by recording, ordered by time; seconds count from the first sample.

    Raises:
        PrimusError: a missing column, a time that is not a number, or an empty sentence, with row.
    """
    table = read_columns(path, numeric=("seconds",), textual=("recording", "text"))
    result: dict[str, list[tuple[float, str]]] = {}
    rows = zip(table.text["recording"], table.numbers["seconds"], table.text["text"], strict=True)
    for row, (recording, seconds, text) in enumerate(rows):
        if not math.isfinite(seconds) or not text or not recording:
            raise PrimusError(
                f"{table.row(row)}: expected a recording, a number of seconds and a sentence, got "
                f"{recording!r}, {seconds}, {text!r}."
            )
        result.setdefault(recording, []).append((float(seconds), text))
    return {name: sorted(items) for name, items in result.items()}
