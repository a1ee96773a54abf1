"""What was read of a recording -> one HTML page that needs no network."""

import base64
import html
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from primus_jax.classify.predict import Prediction
from primus_jax.errors import PrimusError
from primus_jax.explore.levels import Envelope, as_int16
from primus_jax.explore.reading import Reading
from primus_jax.files import replace_file
from primus_jax.recordings.search import Match
from primus_jax.reports.figure import COLORS
from primus_jax.summary.bouts import Bout

_HERE = Path(__file__).parent
# More points than these of a map are drawn no faster than a person waits.
MAP_POINTS = 20_000


def write_page(
    path: Path,
    title: str,
    reading: Reading,
    prediction: Prediction | None = None,
    bouts: Sequence[Bout] = (),
    matches: Mapping[str, Sequence[Match]] | None = None,
) -> None:
    """Write the page.

    Args:
        path: of the file.
        title: of the page.
        reading: signal and windows.
        prediction: labels of the windows, or None.
        bouts: of the labels.
        matches: of sentences, best first.

    Raises:
        PrimusError: Plotly, which draws in the browser, is not installed.
    """
    data = page_data(title, reading, prediction, bouts, matches or {})
    # A "<" of a name could end the script that holds the data.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    page = (_HERE / "page.html").read_text(encoding="utf-8")
    parts = {
        "TITLE": html.escape(title),
        "PLOTLY": _plotly().read_text(encoding="utf-8"),
        "DATA": text,
        "PROGRAM": (_HERE / "page.js").read_text(encoding="utf-8"),
    }
    pieces = page.split("@@")
    filled = [parts[piece] if k % 2 else piece for k, piece in enumerate(pieces)]
    with replace_file(path) as temporary:
        temporary.write_text("".join(filled), encoding="utf-8")


def page_data(
    title: str,
    reading: Reading,
    prediction: Prediction | None,
    bouts: Sequence[Bout],
    matches: Mapping[str, Sequence[Match]],
) -> dict[str, Any]:
    """What the page's program reads, as JSON; arrays are base64 of little-endian numbers."""
    signal = reading.signal
    sensors = {}
    for name, unit, channels in (("acc", "m/s²", slice(0, 3)), ("gyro", "rad/s", slice(3, 6))):
        both = np.stack([signal.low[:, channels], signal.high[:, channels]])
        values, scale = as_int16(both)
        sensors[name] = {"unit": unit, "scale": scale, "values": _text(values)}
    step = -(-len(reading.start_seconds) // MAP_POINTS)
    chosen = slice(None, None, step)
    place, scale = as_int16(reading.place[chosen])
    labels, label, sure = [], None, None
    if prediction is not None:
        # The classifier's windows may be others than the encoder's.
        near = _nearest(
            prediction.start_seconds + prediction.window_seconds / 2,
            reading.start_seconds[chosen] + reading.window_seconds / 2,
        )
        labels = list(prediction.labels)
        label = _text(prediction.label[near].astype(np.uint8))
        sure = _text(np.round(100 * prediction.probability.max(1)[near]).astype(np.uint8))
    return {
        "title": title,
        "about": _about(reading),
        "stretch": signal.seconds,
        "stretches": len(signal.low),
        **sensors,
        "gaps": _gaps(signal),
        "windows": {
            "start": _text(reading.start_seconds[chosen].astype(np.float32)),
            "seconds": reading.window_seconds,
            "place": _text(place),
            "scale": scale,
            "label": label,
            "sure": sure,
        },
        "labels": labels,
        "colors": list(COLORS),
        "bouts": [
            [round(b.start_seconds, 3), round(b.end_seconds, 3), b.label, round(b.confidence, 3)]
            for b in bouts
        ],
        "matches": {
            sentence: [
                [round(m.start_seconds, 3), round(m.end_seconds, 3), round(m.score, 4)]
                for m in found
            ]
            for sentence, found in matches.items()
        },
    }


def _nearest(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The place in `known`, rising, of the value nearest to each of `wanted`."""
    after = np.searchsorted(known, wanted).clip(0, len(known) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(wanted - known[before] <= np.abs(known[after] - wanted), before, after)


def _gaps(signal: Envelope) -> list[list[float]]:
    """Start and end of every time without samples, in seconds."""
    missing = np.isnan(signal.low[:, 0])
    edges = np.flatnonzero(np.diff(missing, prepend=False, append=False))
    seconds = np.round(edges * signal.seconds, 3).reshape(-1, 2)
    return seconds.tolist()


def _about(reading: Reading) -> str:
    report = reading.report
    parts = [
        f"{report.seconds:,.1f} s, read at {report.rate_hz:g} Hz",
        f"{report.windows:,} windows of {reading.window_seconds:g} s",
        f"each point of the signal holds the least and the largest value of "
        f"{reading.signal.seconds:.3g} s",
    ]
    return "; ".join([*parts, report.problems()] if report.problems() else parts) + "."


def _text(values: np.ndarray) -> str:
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return base64.b64encode(np.ascontiguousarray(little).tobytes()).decode()


def _plotly() -> Path:
    """The program that draws, as the package `plotly` brings it."""
    found = importlib.util.find_spec("plotly")
    for folder in found.submodule_search_locations or () if found else ():
        path = Path(folder) / "package_data" / "plotly.min.js"
        if path.is_file():
            return path
    raise PrimusError("the page is drawn by Plotly: pip install 'primus-jax[explore]'.")
