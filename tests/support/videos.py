"""Small video files whose pictures say which one they are.

The square in the middle of a picture is a 4 x 4 board: the first field is red, the other 15 are the
bits of the picture's number, most significant first, yellow for 1 and blue for 0.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

RED, YELLOW, BLUE, GREY = (220, 30, 30), (230, 230, 60), (30, 30, 160), (110, 110, 110)
TICKS = 15360


def board(number: int, size: tuple[int, int]) -> np.ndarray:
    """The picture of a number, uint8 `[height, width, 3]`; `size` is (width, height)."""
    width, height = size
    side = min(size)
    field = np.arange(side) * 4 // side
    bits = np.array([0, *(1 + (number >> b & 1) for b in reversed(range(15)))]).reshape(4, 4)
    square = np.array([RED, BLUE, YELLOW], np.uint8)[bits[field][:, field]]
    picture = np.full((height, width, 3), GREY, np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    picture[top : top + side, left : left + side] = square
    return picture


def frame_number(pixels: np.ndarray) -> int:
    """Which picture a square crop shows; -1 if it is not a board standing upright."""
    side = len(pixels)
    middle = ((np.arange(4) + 0.5) * side / 4).astype(int)
    fields = pixels[middle][:, middle].reshape(16, 3).astype(int)
    colors = np.array([RED, BLUE, YELLOW])
    kind = np.abs(fields[:, None] - colors).sum(-1).argmin(-1)
    if kind[0] != 0 or (kind[1:] == 0).any():
        return -1
    return int("".join(map(str, kind[1:] - 1)), 2)


def write_video(
    path: Path,
    seconds: float,
    fps: float = 30.0,
    size: tuple[int, int] = (64, 48),
    start: float = 0.0,
    *,
    times: Sequence[float] | None = None,
    key_every: int = 12,
    b_frames: int = 2,
    rotation: int = 0,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
) -> Path:
    """Write boards 0, 1, 2, ... and return the path.

    Args:
        path: .mp4, .mkv or .ts.
        seconds: length; `fps * seconds` pictures.
        fps: pictures a second.
        size: (width, height) of the upright picture; both even.
        start: presentation time of the first picture.
        times: presentation times (s) after `start` instead of `fps` and `seconds`.
        key_every: pictures from one key picture to the next.
        b_frames: pictures stored out of order between two others.
        rotation: counter-clockwise degrees (90, 180, 270) that a player has to turn the picture.
        codec: of PyAV.
        options: of the container, as {"movflags": "faststart"}.
    """
    import av

    moments = np.arange(round(seconds * fps)) / fps if times is None else np.asarray(times)
    quarter = rotation // 90
    stored = size[::-1] if quarter % 2 else size
    with av.open(str(path), "w", options=options or {}) as file:
        stream = file.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = *stored, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        stream.codec_context.gop_size = key_every
        stream.codec_context.max_b_frames = b_frames
        stream.codec_context.bit_rate = 4_000_000
        if rotation:
            stream.set_display_rotation(rotation)
        for number, moment in enumerate(moments):
            picture = np.ascontiguousarray(np.rot90(board(number, size), -quarter))
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base = Fraction(1, TICKS)
            frame.pts = round((start + moment) * TICKS)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path
