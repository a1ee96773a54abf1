"""Which pictures of a video are taken, and their pixels."""

import wave

import numpy as np
import pytest
from PIL import Image
from support.videos import BLUE, RED, YELLOW, board, frame_number, write_video

from data_prep.video import crop, frame_times, read_frames
from primus_jax.errors import PrimusError
from primus_jax.recordings.recording import Video

# An uneven clock: 41 pictures, 10 to 200 ms apart.
UNEVEN = np.cumsum(np.r_[0, np.random.default_rng(0).uniform(0.01, 0.2, 40)])


def numbers(video: Video, times) -> list[int]:
    return [frame_number(pixels) for pixels in read_frames(video, np.asarray(times), 32)]


def shown(moments: np.ndarray, times: np.ndarray) -> list[int]:
    return (np.searchsorted(moments, times, side="right") - 1).tolist()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("plain.mp4", {}),
        ("no_b_frames.mp4", {"b_frames": 0}),
        ("many_b_frames.mp4", {"b_frames": 6, "key_every": 50}),
        ("one_key.mp4", {"key_every": 1000}),
        ("late_start.mp4", {"start": 1.5}),
        ("uneven.mp4", {"times": UNEVEN}),
        ("uneven_late.mp4", {"times": UNEVEN, "start": 0.7, "b_frames": 4}),
        ("ntsc.mp4", {"fps": 30000 / 1001}),
        ("slow.mp4", {"fps": 0.5}),
        ("stream.ts", {"start": 3.0}),
        ("uneven.ts", {"times": UNEVEN}),
        ("matroska.mkv", {}),
        ("mpeg4.mp4", {"codec": "mpeg4", "key_every": 20}),
    ],
)
def test_the_picture_shown_at_a_time(tmp_path, name, options):
    fps = options.get("fps", 30.0)
    path = write_video(tmp_path / name, 4.0, **options)
    moments = options.get("times", np.arange(round(4 * fps)) / fps)
    rng = np.random.default_rng(1)
    for first in (0.0, 0.5, 0.9):
        times = rng.uniform(first * moments[-1], moments[-1], 6)
        # A container rounds presentation times to its ticks (1 ms in Matroska).
        times = times[np.abs(times[:, None] - moments).min(1) > 1.1e-3]
        assert numbers(Video(path), times) == shown(moments, times)


def test_every_boundary_belongs_to_the_later_picture(tmp_path):
    path = write_video(tmp_path / "v.mp4", 2.0, fps=25)
    assert numbers(Video(path), np.arange(50) / 25) == list(range(50))
    assert numbers(Video(path), np.arange(50) / 25 + 0.038) == list(range(50))


def test_times_count_from_the_first_sample_of_the_recording(tmp_path):
    path = write_video(tmp_path / "v.mp4", 4.0, start=2.0)
    assert numbers(Video(path, 1.5), [0.0, 1.0]) == [45, 75]
    assert numbers(Video(path, -1.0), [1.0, 2.0]) == [0, 30]


def test_times_come_back_in_their_order_and_may_repeat(tmp_path):
    path = write_video(tmp_path / "v.mp4", 2.0, fps=10)
    assert numbers(Video(str(path)), [1.55, 0.05, 1.55, 0.0]) == [15, 0, 15, 0]
    assert read_frames(Video(path), np.empty(0), 16).shape == (0, 16, 16, 3)


def test_far_times_are_sought_not_decoded_through(tmp_path):
    path = write_video(tmp_path / "long.mp4", 120.0, fps=5, key_every=10)
    content = bytearray(path.read_bytes())
    middle = content.index(b"mdat") + (content.index(b"moov") - content.index(b"mdat")) // 2
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(content)
    with pytest.raises(PrimusError, match="damaged near"):
        numbers(Video(path), np.arange(0, 120, 5.0))
    assert numbers(Video(path), [1.1, 118.1]) == [5, 590]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_pictures_are_turned_upright(tmp_path, rotation):
    path = write_video(tmp_path / "v.mp4", 0.5, size=(96, 64), rotation=rotation)
    assert numbers(Video(path), [0.0, 0.21, 0.41]) == [0, 6, 12]


def test_pixels_are_those_that_were_written(tmp_path):
    path = write_video(tmp_path / "v.mp4", 1.0, size=(96, 64))
    pixels = read_frames(Video(path), np.array([0.71]), 64)[0]
    assert pixels.dtype == np.uint8
    assert pixels.shape == (64, 64, 3)
    written = board(21, (96, 64))[:, 16:80]
    # H.264 stores colours at half the resolution: compare the insides of the 16-pixel fields.
    inside = np.add.outer(np.arange(4) * 16, np.arange(4, 12)).ravel()
    difference = pixels[inside][:, inside].astype(int) - written[inside][:, inside]
    assert np.abs(difference).max() <= 16
    assert np.abs(difference).mean() < 3
    for color in (RED, BLUE, YELLOW):
        assert (written == color).all(-1).any()


def test_crop_is_clips(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (63, 117, 3)).astype(np.uint8)
    got = crop(image, 32)
    # Shortest side 63 -> 32, longest int(32 * 117 / 63) = 59; (59 - 32) // 2 = 13 columns go.
    resized = np.asarray(Image.fromarray(image).resize((59, 32), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(got, resized[:, 13:45])
    # Pillow rounds after each direction, the horizontal one first.
    tall = crop(image.transpose(1, 0, 2), 32)
    assert np.abs(tall.astype(int) - got.transpose(1, 0, 2)).max() <= 2


@pytest.mark.parametrize("shape", [(50, 41), (41, 50), (20, 20), (64, 131), (32, 32)])
def test_crop_agrees_with_transformers(shape):
    from transformers import CLIPImageProcessorPil

    image = np.random.default_rng(1).integers(0, 256, (*shape, 3)).astype(np.uint8)
    processor = CLIPImageProcessorPil(
        size={"shortest_edge": 32},
        crop_size={"height": 32, "width": 32},
        do_rescale=False,
        do_normalize=False,
    )
    theirs = processor(Image.fromarray(image))["pixel_values"][0].transpose(1, 2, 0)
    np.testing.assert_array_equal(crop(image, 32), theirs)


def test_crop_is_antialiased_bicubic():
    """Against the definition: Keys' kernel with a = -1/2, stretched by the scale."""
    image = np.random.default_rng(2).integers(0, 256, (48, 48, 3)).astype(np.uint8)
    scale = 48 / 20
    x = np.abs((np.arange(48) + 0.5) / scale - (np.arange(20)[:, None] + 0.5))
    kernel = np.where(
        x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -(x**3) / 2 + 2.5 * x**2 - 4 * x + 2, 0)
    )
    kernel /= kernel.sum(1, keepdims=True)
    wide = np.clip(np.einsum("oi,hic->hoc", kernel, image).round(), 0, 255)
    want = np.clip(np.einsum("oi,iwc->owc", kernel, wide).round(), 0, 255)
    assert np.abs(crop(image, 20) - want).max() <= 1


def test_frame_times_are_centres():
    np.testing.assert_allclose(frame_times(5.0, 4), [0.625, 1.875, 3.125, 4.375])
    np.testing.assert_allclose(frame_times(5.0, 1), [2.5])
    with pytest.raises(PrimusError, match="0 frames of a window"):
        frame_times(5.0, 0)


def test_errors_name_the_file_and_the_time(tmp_path):
    path = write_video(tmp_path / "v.mp4", 2.0, options={"movflags": "faststart"})
    with pytest.raises(PrimusError, match=r"missing\.mp4: no such video file"):
        numbers(Video(tmp_path / "missing.mp4"), [0.0])
    with pytest.raises(PrimusError, match=r"v\.mp4: time 2\.000 s is outside .* 2\.000 s"):
        numbers(Video(path), [0.5, 2.0])
    with pytest.raises(PrimusError, match=r"v\.mp4: time 7\.500 s is outside"):
        numbers(Video(path, 5.0), [2.5])
    with pytest.raises(PrimusError, match=r"v\.mp4: time -0\.250 s is before the first picture"):
        numbers(Video(path), [0.5, -0.25])
    with pytest.raises(PrimusError, match=r"expected a list of finite seconds"):
        numbers(Video(path), [np.nan])


def test_damaged_files_are_refused(tmp_path):
    whole = write_video(tmp_path / "v.mp4", 6.0, options={"movflags": "faststart"}).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) * 2 // 3])
    assert numbers(Video(cut), [1.0, 2.0]) == [30, 60]
    with pytest.raises(PrimusError, match=r"cut\.mp4: damaged near 5\.500 s .*Copy the file again"):
        numbers(Video(cut), [1.0, 5.5])

    end = write_video(tmp_path / "end.mp4", 6.0)
    end.write_bytes(end.read_bytes()[:-400])
    for name, content in (("end.mp4", None), ("empty.mp4", b""), ("text.mp4", b"no video" * 99)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(PrimusError, match=rf"{name}: cannot be opened as a video"):
            numbers(Video(tmp_path / name), [1.0])

    zeros = bytearray(whole)
    zeros[len(whole) // 2 : len(whole) // 2 + 2000] = bytes(2000)
    (tmp_path / "zeros.mp4").write_bytes(zeros)
    with pytest.raises(PrimusError, match=r"zeros\.mp4: damaged near"):
        numbers(Video(tmp_path / "zeros.mp4"), np.arange(0, 6, 0.1))


def test_a_file_without_video_is_refused(tmp_path):
    sound = tmp_path / "sound.wav"
    with wave.open(str(sound), "w") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16000))
    with pytest.raises(PrimusError, match=r"sound\.wav: there is no video in this file"):
        numbers(Video(sound), [0.1])
