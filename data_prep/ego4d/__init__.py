"""Ego4D: 3,670 hours of egocentric video, some 800 of them with inertial data and narrations."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.ego4d.metadata import SPLIT_KEYS
from data_prep.ego4d.placing import CENTRED, PAPER
from data_prep.ego4d.tasks import NARRATIONS, TASKS
from data_prep.narration_text import OTHERS, WEARER

if TYPE_CHECKING:
    from data_prep.dataset.units import Corpus

TITLE = "Ego4D"
DOWNLOAD = (
    "sign the licence at ego4ddataset.com, then: pip install ego4d && ego4d --output_directory DIR "
    "--version v2 --datasets imu annotations video_540ss --metadata "
    "(without video_540ss where no frames are wanted). Licence: Ego4D licence agreement"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of this corpus alone."""
    parser.add_argument(
        "--raw",
        type=Path,
        required=True,
        metavar="DIR",
        help="output folder of the official downloader: ego4d.json, imu/*.csv, "
        "annotations/narration.json, and video_540ss, full_scale or clips (maybe inside v1 or v2)",
    )
    parser.add_argument(
        "--task",
        choices=TASKS,
        default=NARRATIONS,
        help="narrations: a window for each (default); movement: IMU2CLIP's labelled windows; "
        "scenario: narrations' windows labelled with PRIMUS's ten scenarios",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="for --task movement: IMU2CLIP's dataset_motion_narr_2.5.csv, or its split files",
    )
    parser.add_argument(
        "--passes", type=int, nargs="+", choices=(1, 2), default=[1, 2], help="narrators (1 2)"
    )
    parser.add_argument(
        "--subjects",
        nargs="+",
        choices=(WEARER, OTHERS),
        default=[WEARER],
        help="whom narrations are about: the camera wearer, #C (default), or others, #O",
    )
    parser.add_argument(
        "--window-rule",
        choices=(CENTRED, PAPER),
        default=CENTRED,
        help="centred on the narration, moved inside the recording at its ends (default), or as "
        "IMU2CLIP's and PRIMUS's code does: whole seconds, [0, 5] for early and the last 5 s for "
        "late narrations",
    )
    parser.add_argument(
        "--quality",
        choices=("rule", "none"),
        default="rule",
        help="leave out stuck, saturated and implausible stretches (default), or only gaps",
    )
    parser.add_argument(
        "--bad-windows",
        type=Path,
        metavar="FILE",
        help="a published list: lines uid_start_end, or JSON [[uid, start, end], ...]",
    )
    parser.add_argument(
        "--split-files",
        type=Path,
        nargs=3,
        metavar=("TRAIN", "VALIDATION", "TEST"),
        help="with --splits official: JSON lists of video uids, such as IMU2CLIP's training_0.json",
    )
    parser.add_argument(
        "--benchmark",
        choices=tuple(SPLIT_KEYS),
        default="em",
        help="with --splits official and no --split-files: whose split of ego4d.json (default em)",
    )


def corpus(args: argparse.Namespace) -> "Corpus":
    """The corpus that the options describe, `--window`, `--target-rate` and `--splits` included.

    Raises:
        PrimusError: a folder or file that is missing or of another form, or options that do not go
            together.
    """
    from data_prep.ego4d.options import from_options

    return from_options(args)
