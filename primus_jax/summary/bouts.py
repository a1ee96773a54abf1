"""Probabilities of windows over time become bouts: hysteresis, then a least length."""

import csv
import dataclasses
import heapq
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from primus_jax.errors import PrimusError

UNSURE = "unsure"
COLUMNS = ("start_seconds", "end_seconds", "seconds", "label", "confidence", "windows")


@dataclasses.dataclass(frozen=True)
class BoutRule:
    """When a label is taken as sure, and how short a bout may be.

    Attributes:
        enter: a bout of a label begins with a window that gives the label at least this.
        stay: the bout lasts while the label keeps at least this and no other label enters.
        min_seconds: a shorter bout joins the longer of the two that touch it. A joined bout whose
            label has less than `stay` on average is unsure.

    Raises:
        PrimusError: not 0 <= stay <= enter <= 1, or a length that is negative or not finite.
    """

    enter: float = 0.6
    stay: float = 0.4
    min_seconds: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= self.stay <= self.enter <= 1:
            raise PrimusError(
                f"--enter {self.enter:g} and --stay {self.stay:g}; expected probabilities, the "
                f"second not above the first."
            )
        if not (math.isfinite(self.min_seconds) and self.min_seconds >= 0):
            raise PrimusError(
                f"--min-seconds {self.min_seconds:g}; expected a number of seconds from 0."
            )


@dataclasses.dataclass(frozen=True)
class Bout:
    """A stretch of one label; `label` is None where no label was sure.

    `confidence` is the mean probability of the label over the windows, and without a label that
    of the most probable one. Seconds count from the first sample of the recording.
    """

    start_seconds: float
    end_seconds: float
    label: str | None
    confidence: float
    windows: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end_seconds - self.start_seconds

    @property
    def name(self) -> str:
        """The label, or "unsure"."""
        return UNSURE if self.label is None else self.label


def find_bouts(
    start_seconds: np.ndarray,
    window_seconds: float,
    hop_seconds: float,
    probability: np.ndarray,
    labels: Sequence[str],
    rule: BoutRule,
    tolerance: float,
) -> list[Bout]:
    """Bouts in order of time; no bout lies across a gap, and time without a window has none.

    Args:
        start_seconds: float `[n]`, starts of the windows, rising.
        window_seconds: length of a window.
        hop_seconds: between starts, at most the length of a window.
        probability: float `[n, classes]`, rows that sum to 1.
        labels: names of the classes.
        rule: when a label is sure, and the least length.
        tolerance: seconds by which starts may differ from the hop where there is no gap.

    Raises:
        PrimusError: a class named "unsure".
    """
    check_labels(labels)
    begin, end, first = spans(start_seconds, window_seconds, hop_seconds, tolerance)
    state = hysteresis(probability, first, rule)
    cuts = np.flatnonzero(first | (np.diff(state, prepend=state[0] - 1) != 0))
    joined = merge(begin[cuts], end[np.append(cuts[1:], len(state)) - 1], state[cuts],
                   first[cuts], rule.min_seconds)  # fmt: skip
    runs = doubted([(int(cuts[k]), label) for k, label in joined], probability, first, rule)
    stops = [*(a for a, _ in runs[1:]), len(state)]
    return [
        Bout(
            float(begin[a]),
            float(end[b - 1]),
            labels[label] if label >= 0 else None,
            float((probability[a:b, label] if label >= 0 else probability[a:b].max(1)).mean()),
            b - a,
        )
        for (a, label), b in zip(runs, stops, strict=True)
    ]


def check_labels(labels: Sequence[str]) -> None:
    """Raise PrimusError for a class named "unsure"."""
    if UNSURE in labels:
        raise PrimusError(
            f"a class is named {UNSURE!r}, which here names time without a sure label. Rename it."
        )


def doubted(
    runs: Sequence[tuple[int, int]], probability: np.ndarray, first: np.ndarray, rule: BoutRule
) -> list[tuple[int, int]]:
    """Runs (first window, label) with -1 for labels that their windows do not carry together.

    Joining can make a long bout of windows that disagree; below `stay` on average its label is not
    sure. Such runs that touch become one.

    Args:
        runs: in order of time.
        probability: float `[n, classes]`.
        first: bool `[n]`, whether a gap precedes a window.
        rule: `stay`.
    """
    found: list[tuple[int, int]] = []
    stops = [*(a for a, _ in runs[1:]), len(probability)]
    for (a, label), b in zip(runs, stops, strict=True):
        sure = label >= 0 and probability[a:b, label].mean() >= rule.stay - 1e-6
        if not sure and found and found[-1][1] < 0 and not first[a]:
            continue
        found.append((a, label if sure else -1))
    return found


def spans(
    start: np.ndarray, window_seconds: float, hop_seconds: float, tolerance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Time that each window stands for: begin and end, float64 `[n]`, and whether a gap precedes.

    Neighbours meet half-way between their middles. The first and the last window of a stretch
    without gaps reach to its ends, so the spans of a stretch add up to its length.
    """
    middle = start + window_seconds / 2
    first = np.concatenate([[True], np.diff(start) > hop_seconds + tolerance])
    last = np.append(first[1:], True)
    half = np.append((middle[1:] + middle[:-1]) / 2, 0)
    end = np.where(last, start + window_seconds, half)
    return np.where(first, start, np.roll(end, 1)), end, first


def hysteresis(probability: np.ndarray, first: np.ndarray, rule: BoutRule) -> np.ndarray:
    """The sure label of each window, int64 `[n]`; -1: none. Every stretch starts anew.

    Args:
        probability: float `[n, classes]`.
        first: bool `[n]`, where a stretch begins.
        rule: `enter` and `stay`.
    """
    best, top = probability.argmax(1), probability.max(1)
    enters = np.where(top >= rule.enter, best, -1).tolist()
    stays = (probability >= rule.stay).tolist()
    state, found = -1, []
    for begins, enter, stay in zip(first.tolist(), enters, stays, strict=True):
        if begins or (state >= 0 and not stay[state]):
            state = -1
        state = enter if enter >= 0 else state
        found.append(state)
    return np.array(found, np.int64)


def merge(
    begin: np.ndarray, end: np.ndarray, label: np.ndarray, first: np.ndarray, least: float
) -> list[tuple[int, int]]:
    """Runs of at least `least` seconds -> (number of the first joined run, label) of each.

    The shortest run joins the longer of its touching neighbours, of equal ones the earlier, until
    none is too short. Runs of equal labels that come to touch are one. A run between two gaps
    stays.

    Args:
        begin: seconds `[runs]`; end: likewise.
        end: see begin.
        label: int `[runs]`.
        first: bool `[runs]`, whether a gap precedes.
        least: seconds.
    """
    count = len(label)
    labels, ends, begins = label.tolist(), end.tolist(), begin.tolist()
    # neighbours that touch; -1: a gap, or the end
    before = [-1 if first[i] else i - 1 for i in range(count)]
    after = [-1 if i + 1 == count or first[i + 1] else i + 1 for i in range(count)]
    alive = [True] * count
    queue = [(ends[i] - begins[i], i) for i in range(count)]
    heapq.heapify(queue)

    def length(i: int) -> float:
        return ends[i] - begins[i] if i >= 0 else -1.0

    def absorb(left: int, right: int) -> None:
        """Join two touching runs under the number of the left one."""
        ends[left], after[left], alive[right] = ends[right], after[right], False
        if after[left] >= 0:
            before[after[left]] = left

    while queue:
        seconds, i = heapq.heappop(queue)
        if seconds >= least:
            break
        if not alive[i] or seconds != length(i):
            continue
        left, right = before[i], after[i]
        if left < 0 and right < 0:
            continue
        labels[i] = labels[left] if length(left) >= length(right) else labels[right]
        if right >= 0 and labels[right] == labels[i]:
            absorb(i, right)
        if left >= 0 and labels[left] == labels[i]:
            absorb(left, i)
            i = left
        heapq.heappush(queue, (length(i), i))
    return [(i, labels[i]) for i in range(count) if alive[i]]


def write_bouts(bouts: Sequence[Bout], path: Path) -> None:
    """Write a row per bout, `COLUMNS`."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for bout in bouts:
            times = (bout.start_seconds, bout.end_seconds, bout.seconds)
            numbers = [f"{value:.3f}" for value in times]
            writer.writerow([*numbers, bout.name, f"{bout.confidence:.4f}", bout.windows])
