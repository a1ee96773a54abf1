"""Ego4D as the command reads it, and where the miniature's windows come from."""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from data_prep import ego4d
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.windows import WindowSpec, cut
from support.miniature_ego4d import sway, uid

SPEC = WindowSpec()


def corpus(raw: Path, *options: object, splits: str = "0.8 0.1 0.1", window: float = 5.0):
    """The corpus as the command line makes it."""
    parser = argparse.ArgumentParser()
    ego4d.add_arguments(parser)
    args = parser.parse_args(["--raw", str(raw), *map(str, options)])
    args.splits, args.window, args.target_rate = splits.split(), window, 50.0
    return ego4d.corpus(args)


def one(raw: Path, number: int, *options: object, **more) -> tuple[list[Recording], Counter]:
    """Recordings and drops of a video."""
    return corpus(raw, *options, **more).recordings(uid(number))


def told(recordings: list[Recording]) -> list[tuple[float, str]]:
    """(start of the window in the video, sentence), as the windows are cut."""
    found, drops = [], Counter()
    for recording in recordings:
        imu, starts, texts = cut(recording, SPEC, drops)
        begins = recording.start_seconds + starts / SPEC.rate_hz
        for window, begin, text in zip(imu, begins, texts, strict=True):
            t = begin + np.arange(SPEC.samples) / SPEC.rate_hz
            assert np.abs(window[:, 0] - sway(t)).max() < 0.06, text
            found.append((round(float(begin), 2), text))
    assert not +drops, "the reader has left out and counted every bad window"
    return sorted(found)
