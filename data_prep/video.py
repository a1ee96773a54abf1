"""Pictures of a video file at exact times, cropped as CLIP's image processor does.

Needs PyAV and Pillow: `pip install 'primus-jax[video]'`.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.recordings.recording import Recording, Video
from primus_jax.recordings.windows import WindowSpec

if TYPE_CHECKING:
    from av import VideoFrame

SIZE = 224
# Between wanted pictures further apart than this (s), seeking is cheaper than decoding on.
FAR = 10.0
# Containers round presentation times (Matroska to 1 ms): a time this close (s) before a picture is
# the picture's.
CLOSE = 1e-3
NO_VIDEO = "frames of windows without a video (the windows are kept)"
NOT_SHOWN = "frames of windows that the video does not show (the windows are kept)"
# Windows whose frames are read together: the video is opened once for them.
TOGETHER = 16


def frame_times(seconds: float, frames: int) -> np.ndarray:
    """Centres of `frames` equal parts of a window, float64 `[frames]`, in seconds from its start.

    Raises:
        PrimusError: a length that is not positive, or no frames.
    """
    if not (np.isfinite(seconds) and seconds > 0 and frames > 0):
        raise PrimusError(
            f"{frames} frames of a window of {seconds} s; expected positive numbers of both."
        )
    return (np.arange(frames) + 0.5) * seconds / frames


def read_frames(video: Video, times: np.ndarray, size: int = SIZE) -> np.ndarray:
    """The pictures shown at `times`, uint8 `[n, size, size, 3]` (RGB), in the order of `times`.

    The picture shown at a time is the last one whose presentation time is not later (by more than
    1 ms, to which containers round); the last picture of a file is shown for its duration. The
    decoder seeks to the key picture before a time and decodes forward, so a window costs no more
    than its own length and one key interval. Where the file asks for it, pictures are turned
    upright. See `crop` for the resizing.

    Args:
        video: the file and its clock.
        times: seconds after the recording's first sample, `[n]`, in any order.
        size: of the square pictures, in pixels.

    Raises:
        PrimusError: PyAV is not installed, no such file, no video in it, a damaged file, or a time
            outside it (with the time in the file).
    """
    seconds = np.asarray(times, np.float64) + video.start_seconds
    if seconds.ndim != 1 or not np.isfinite(seconds).all():
        raise PrimusError(f"{video.path}: times {times!r}; expected a list of finite seconds.")
    out = np.empty((len(seconds), size, size, 3), np.uint8)
    order = np.argsort(seconds, kind="stable")
    if not len(order):
        return out
    if seconds[order[0]] < -CLOSE:
        raise PrimusError(
            f"{video.path}: time {seconds[order[0]]:.3f} s is before the first picture of the file."
        )
    with _Decoder(Path(video.path)) as decoder:
        last = None
        for index in order:
            picture = decoder.shown_at(float(seconds[index]))
            if picture is not last:
                last, pixels = picture, crop(_upright(picture), size)
            out[index] = pixels
    return out


def crop(image: np.ndarray, size: int = SIZE) -> np.ndarray:
    """Shortest side to `size`, then the square in the middle, as `transformers`' CLIP processor.

    The longer side becomes `int(size * long / short)`; the resampling is Pillow's antialiased
    bicubic; an odd margin leaves the extra line below and right (torchvision's CenterCrop rounds).

    Args:
        image: uint8 `[height, width, 3]`.
        size: side of the result in pixels.

    Returns:
        uint8 `[size, size, 3]`.
    """
    from PIL import Image

    height, width = image.shape[:2]
    short = min(height, width)
    new = (int(size * width / short), int(size * height / short))
    pixels = np.asarray(Image.fromarray(image).resize(new, Image.Resampling.BICUBIC))
    top, left = (new[1] - size) // 2, (new[0] - size) // 2
    return pixels[top : top + size, left : left + size]


def _upright(picture: "VideoFrame") -> np.ndarray:
    """The pixels uint8 `[height, width, 3]` (RGB), turned as the file asks."""
    pixels = picture.to_ndarray(format="rgb24")
    return np.rot90(pixels, round(picture.rotation / 90)) if picture.rotation else pixels


class _Decoder:
    """One pass over the pictures of a file, for times that do not go back."""

    def __init__(self, path: Path) -> None:
        try:
            import av
        except ImportError:
            raise PrimusError(
                "reading video needs PyAV: pip install 'primus-jax[video]'."
            ) from None
        self._av, self._path = av, path
        if not path.is_file():
            raise PrimusError(f"{path}: no such video file.")
        self._open()
        self._start = self._stream.start_time
        self._stated = (self._stream.duration or 0) * self._tick
        self._period = 1 / float(self._stream.average_rate or 30)
        self._seconds = 0.0
        self._pictures: Iterator[VideoFrame] = iter(())
        self._shown: VideoFrame | None = None
        self._next: VideoFrame | None = None

    def _open(self) -> None:
        try:
            self._file = self._av.open(str(self._path))
        except self._av.FFmpegError as error:
            raise PrimusError(
                f"{self._path}: cannot be opened as a video ({error}). The file is cut off, "
                f"damaged or not a video: copy the file again."
            ) from error
        streams = self._file.streams.video
        if not streams or streams[0].codec_context is None or not streams[0].time_base:
            self._file.close()
            found = "its format cannot be decoded" if streams else "there is no video in this file"
            raise PrimusError(f"{self._path}: {found}.")
        self._tick = float(streams[0].time_base)
        self._stream = streams[0]
        # Recordings are read in parallel by processes; threads would only compete with them.
        self._stream.codec_context.thread_count = 1

    def __enter__(self) -> "_Decoder":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def shown_at(self, seconds: float) -> "VideoFrame":
        """The picture at `seconds` after the first one; `seconds` may not go back."""
        self._seconds, wanted = seconds, seconds + CLOSE
        if self._shown is None or wanted - self._time(self._shown) > FAR:
            self._seek()
        while self._next is not None and self._time(self._next) <= wanted:
            self._advance()
        shown = self._shown
        assert shown is not None  # `_seek` finds a picture, or raises
        end = self._time(shown) + ((shown.duration or 0) * self._tick or self._period)
        if self._next is None and seconds + 1e-6 >= end:
            raise PrimusError(self._beyond(seconds, end))
        return shown

    def _seek(self) -> None:
        # Containers index decoding times, which lie before presentation times, or guess: the key
        # picture that is found may be shown after `wanted`; then look further back.
        wanted, back = self._seconds + CLOSE, 0.0
        while wanted - back > 0:
            self._pictures = self._from_key(wanted - back)
            self._shown, self._next = None, next(self._pictures, None)
            if self._next is not None and self._time(self._next) <= wanted:
                return self._advance()
            back = 2 * back + 1.0
        self._file.close()
        self._open()
        self._pictures = self._decode()
        self._shown, self._next = None, next(self._pictures, None)
        if self._next is None:
            raise self._damaged("no picture can be decoded")
        return self._advance()

    def _from_key(self, place: float) -> "Iterator[VideoFrame]":
        ticks = round(place / self._tick) + (self._start or 0)
        try:
            self._file.seek(ticks, stream=self._stream, backward=True)
        except self._av.FFmpegError as error:
            raise self._damaged(error) from error
        # What precedes the first key picture may refer to pictures that were not decoded.
        return itertools.dropwhile(lambda picture: not picture.key_frame, self._decode())

    def _advance(self) -> None:
        self._shown, self._next = self._next or self._shown, next(self._pictures, None)

    def _decode(self) -> "Iterator[VideoFrame]":
        try:
            for packet in self._file.demux(self._stream):
                if packet.is_corrupt:
                    raise self._damaged("a packet is cut off")
                for picture in packet.decode():
                    if picture.is_corrupt:
                        raise self._damaged("a picture is corrupt")
                    if picture.pts is not None:
                        yield picture
        except self._av.FFmpegError as error:
            raise self._damaged(error) from error

    def _time(self, picture: "VideoFrame") -> float:
        assert picture.pts is not None  # `_decode` leaves out pictures without a time
        if self._start is None:
            self._start = picture.pts
        return (picture.pts - self._start) * self._tick

    def _beyond(self, seconds: float, end: float) -> str:
        if seconds < self._stated - CLOSE:
            return (
                f"{self._path}: damaged: the file states {self._stated:.3f} s, but has no picture "
                f"after {end:.3f} s (wanted: {seconds:.3f} s). Copy the file again."
            )
        return (
            f"{self._path}: time {seconds:.3f} s is outside the file, whose last picture ends at "
            f"{end:.3f} s."
        )

    def _damaged(self, why: object) -> PrimusError:
        return PrimusError(
            f"{self._path}: damaged near {self._seconds:.3f} s ({why}). Copy the file again."
        )


def window_frames(
    recording: Recording, starts: np.ndarray, spec: WindowSpec, drops: Counter[str]
) -> Iterator[np.ndarray | None]:
    """Yield the frames of every window, uint8 `[spec.frames, size, size, 3]`, or None without.

    Frames are evenly spaced inside their window. A window has none, and is counted in `drops`,
    where the video does not show the window, is missing or cannot be read.

    Args:
        recording: with its video.
        starts: int `[n]`, first samples of the windows at `spec.rate_hz`, as `cut` returns them.
        spec: of the windows.
        drops: counts windows without frames by reason.
    """
    video = recording.video
    if video is None:
        drops[NO_VIDEO] += len(starts)
        yield from [None] * len(starts)
        return
    inside = frame_times(spec.samples / spec.rate_hz, spec.frames)
    times = starts[:, None] / spec.rate_hz + inside

    def read(rows: np.ndarray) -> np.ndarray:
        shown = read_frames(video, rows.ravel(), spec.frame_size)
        return shown.reshape(*rows.shape, *shown.shape[1:])

    for first in range(0, len(times), TOGETHER):
        rows = times[first : first + TOGETHER]
        try:
            yield from read(rows)
        except PrimusError:
            for row in rows:
                try:
                    frames = read(row[None])[0]
                except PrimusError:
                    drops[NOT_SHOWN] += 1
                    frames = None
                yield frames
