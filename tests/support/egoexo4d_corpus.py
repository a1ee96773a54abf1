"""Ego-Exo4D as the command reads it, and the check of the miniature's samples."""

import argparse

import numpy as np

from data_prep import egoexo4d
from support.miniature_egoexo4d import motion


def corpus_of(raw, *options):
    """The corpus as the command makes it."""
    parser = argparse.ArgumentParser()
    egoexo4d.add_arguments(parser)
    args = parser.parse_args(["--raw", str(raw), *options])
    args.window, args.out = 5.0, raw.parent / "out"
    return egoexo4d.corpus(args)


def check_motion(recordings, tolerance=0.05):
    """The samples are the motion at their time of the take: 0.05 is 4 ms of its fastest turn."""
    for recording in recordings:
        t = recording.start_seconds + np.arange(len(recording.signal)) / recording.rate_hz
        np.testing.assert_allclose(recording.signal, motion(t), atol=tolerance)
