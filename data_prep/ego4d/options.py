"""The corpus of Ego4D, made from the options of the command line."""

import argparse
from pathlib import Path

from data_prep.dataset.splits import NAMES
from data_prep.ego4d.layout import find_layout
from data_prep.ego4d.metadata import read_metadata
from data_prep.ego4d.narrations import check_file
from data_prep.ego4d.placing import Placing
from data_prep.ego4d.reader import Ego4D
from data_prep.ego4d.tasks import MOVEMENT, read_labels
from data_prep.quality import read_bad_windows
from primus_jax.errors import PrimusError
from primus_jax.files import read_json


def from_options(args: argparse.Namespace) -> Ego4D:
    """The corpus; see `data_prep.ego4d.reader`."""
    layout = find_layout(args.raw)
    metadata = read_metadata(layout.metadata)
    labels = tuple(path.absolute() for path in args.labels)
    official = args.splits == ["official"]
    if (args.task == MOVEMENT) != bool(labels):
        raise PrimusError(
            f"--task {args.task} with {len(labels)} --labels; expected --task movement together "
            f"with --labels dataset_motion_narr_2.5.csv."
        )
    if labels:
        read_labels(labels)
    elif layout.narrations is None:
        raise PrimusError(
            f"{args.raw}: no annotations/narration.json there. Download the dataset annotations."
        )
    else:
        check_file(layout.narrations, metadata.uids)
    if args.split_files and not official:
        raise PrimusError("--split-files needs --splits official.")
    split = {}
    if official and args.split_files:
        split = read_split_files(args.split_files)
    elif official:
        split = {
            uid: info.splits[args.benchmark]
            for uid, info in metadata.videos.items()
            if args.benchmark in info.splits
        }
        if not split:
            raise PrimusError(
                f"{layout.metadata}: no video has a split of {args.benchmark}. Choose another "
                f"--benchmark, or give --split-files."
            )
    return Ego4D(
        layout,
        Placing(round(args.window * args.target_rate) / args.target_rate, args.window_rule),
        task=args.task,
        labels=labels,
        passes=tuple(sorted(set(args.passes))),
        subjects=tuple(sorted(set(args.subjects))),
        quality=args.quality == "rule",
        listed=read_bad_windows(args.bad_windows) if args.bad_windows else {},
        split=split,
    )


def read_split_files(paths: list[Path]) -> dict[str, str]:
    """Video uid -> split, from three JSON lists of uids: training, validation, test.

    Raises:
        PrimusError: not such a list, or a video in two of them.
    """
    found: dict[str, str] = {}
    for path, split in zip(paths, NAMES, strict=True):
        uids = read_json(path)
        if not isinstance(uids, list) or not all(isinstance(uid, str) for uid in uids):
            raise PrimusError(f"{path}: expected a JSON list of video uids.")
        twice = next((uid for uid in uids if found.get(uid, split) != split), None)
        if twice:
            raise PrimusError(f"{path}: the video {twice} is in {found[twice]} as well.")
        found |= dict.fromkeys(uids, split)
    return found
