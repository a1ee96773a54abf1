"""Labelled windows: IMU2CLIP's movements, and PRIMUS's scenarios."""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from data_prep.narration_text import clean
from primus_jax.errors import PrimusError
from primus_jax.recordings.columns import read_columns

NARRATIONS, MOVEMENT, SCENARIO = "narrations", "movement", "scenario"
TASKS = (NARRATIONS, MOVEMENT, SCENARIO)

# Tags of ego4d.json that PRIMUS classifies (scripts/construct_ego_labels.py and custom_split_ego.py
# of its repository, commit 6a983a5), and the class names of this project.
SCENARIOS = {
    "Carpenter": "doing carpentry",
    "Cleaning / laundry": "cleaning or doing laundry",
    "Cooking": "cooking",
    "Crafting/knitting/sewing/drawing/painting": "doing handicrafts",
    "Eating": "eating",
    "Farmer": "farming",
    "Household management - caring for kids": "caring for children",
    "Practicing a musical instrument": "playing a musical instrument",
    "Walking on street": "walking on a street",
    "jobs related to construction/renovation company": "doing construction work",
}


@dataclasses.dataclass(frozen=True)
class LabelledWindow:
    """A window of a video, in its seconds, with its sentence and class."""

    start: float
    end: float
    text: str
    label: str

    @property
    def centre(self) -> float:
        """Its middle."""
        return (self.start + self.end) / 2


def scenario_of(tags: Sequence[str]) -> str | None:
    """The class of a video with exactly one tag, one of `SCENARIOS`; None for any other video.

    The last tag goes on behind a line break with a list of trades, which this function ignores.
    """
    if len(tags) != 1:
        return None
    return SCENARIOS.get(" ".join(re.split(r"[\n(]", tags[0])[0].split()))


def read_labels(paths: Sequence[Path]) -> Mapping[str, Sequence[LabelledWindow | None]]:
    """Read IMU2CLIP's `dataset_motion_narr_2.5*.csv` by video, in the order of the files.

    Read the columns window_start, window_end, video_uid, text and label. Keep the nine labels of
    the full file, or the four of its splits, as they are. A row without a window or label is None.

    Raises:
        PrimusError: a missing column, or a row without a video.
    """
    stamps = tuple((path, path.stat().st_mtime_ns if path.exists() else 0) for path in paths)
    return _read_labels(stamps)


@functools.lru_cache(maxsize=2)
def _read_labels(stamps: tuple[tuple[Path, int], ...]) -> dict[str, list[LabelledWindow | None]]:
    found: dict[str, list[LabelledWindow | None]] = {}
    for path, _ in stamps:
        table = read_columns(path, ("window_start", "window_end"), ("video_uid", "text", "label"))
        starts, ends = table.numbers["window_start"], table.numbers["window_end"]
        texts = (table.text[name] for name in ("video_uid", "text", "label"))
        rows = zip(starts.tolist(), ends.tolist(), *texts, strict=True)
        for number, (start, end, uid, text, label) in enumerate(rows):
            if not uid.strip():
                raise PrimusError(f"{table.row(number)}: expected a video_uid, got {uid!r}.")
            windows = found.setdefault(uid.strip(), [])
            if not (np.isfinite([start, end]).all() and start < end and label.strip()):
                windows.append(None)
                continue
            # the published texts were lower-cased with the wearer's letter still in front
            sentence = re.sub(r"^(?:c )+", "", clean(text))
            windows.append(LabelledWindow(start, end, sentence, label.strip()))
    return found
