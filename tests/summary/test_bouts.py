"""Bouts: hysteresis, gaps, the least length, and that time is neither lost nor counted twice."""

import csv
import itertools

import numpy as np
import pytest

from primus_jax.errors import PrimusError
from primus_jax.summary.bouts import (
    COLUMNS,
    BoutRule,
    find_bouts,
    hysteresis,
    merge,
    spans,
    write_bouts,
)

LABELS = ("sit", "walk", "stairs")
NO_LEAST = BoutRule(min_seconds=0)


def probabilities(*rows: tuple[int, float]) -> np.ndarray:
    """A row for each (class, its probability); the others share the rest."""
    found = np.empty((len(rows), len(LABELS)))
    for row, (k, p) in zip(found, rows, strict=True):
        row[:] = (1 - p) / (len(LABELS) - 1)
        row[k] = p
    return found


def bouts_of(probability, start=None, rule=NO_LEAST, window=5.0, hop=1.0):
    start = np.arange(len(probability)) * hop if start is None else np.asarray(start, float)
    return find_bouts(start, window, hop, probability, LABELS, rule, 0.03)


def test_a_label_enters_high_stays_lower_and_then_nothing_is_sure():
    rows = [(0, 0.55), (0, 0.65), (0, 0.45), (0, 0.35), (0, 0.55), (1, 0.6), (1, 0.59)]
    first = np.zeros(7, bool)
    first[0] = True
    found = hysteresis(probabilities(*rows), first, BoutRule())
    assert found.tolist() == [-1, 0, 0, -1, -1, 1, 1]


def test_another_label_enters_at_once_and_a_gap_starts_anew():
    probability = np.array([[0.7, 0.3, 0.0], [0.4, 0.6, 0.0], [0.45, 0.55, 0], [0.5, 0.5, 0]])
    assert hysteresis(probability, np.array([1, 0, 0, 0], bool), BoutRule()).tolist() == [
        0,
        1,
        1,
        1,
    ]
    assert hysteresis(probability, np.array([1, 0, 1, 0], bool), BoutRule()).tolist() == [
        0, 1, -1, -1,
    ]  # fmt: skip


def test_windows_share_time_and_reach_to_the_ends_of_their_stretch():
    start = np.array([0.0, 1.0, 2.0, 40.0, 41.02])
    begin, end, first = spans(start, 5.0, 1.0, 0.03)
    assert first.tolist() == [True, False, False, True, False]
    np.testing.assert_allclose(begin, [0, 3, 4, 40, 43.01])
    np.testing.assert_allclose(end, [3, 4, 7, 43.01, 46.02])


def test_bouts_cover_every_stretch_and_no_gap():
    rng = np.random.default_rng(0)
    start = np.concatenate([np.arange(300), 320 + np.arange(50), [500.0]])
    probability = rng.dirichlet([0.4] * 3, len(start))
    for least in (0.0, 3.0, 20.0):
        found = bouts_of(probability, start, BoutRule(min_seconds=least))
        assert sum(bout.seconds for bout in found) == pytest.approx(304 + 54 + 5)
        assert sum(bout.windows for bout in found) == len(start)
        starts = [bout.start_seconds for bout in found]
        assert starts == sorted(starts)
        for left, right in itertools.pairwise(found):
            gap = right.start_seconds - left.end_seconds
            assert gap == pytest.approx(0) or gap > 15
            assert gap > 15 or left.label != right.label
        short = [bout for bout in found if bout.seconds < least]
        # only what lies between two gaps may be too short
        assert all(bout.start_seconds == 500 for bout in short)


def test_a_short_bout_joins_the_longer_neighbour_and_equal_neighbours_become_one():
    rows = [(1, 0.9)] * 30 + [(0, 0.9)] * 3 + [(1, 0.9)] * 40
    [bout] = bouts_of(probabilities(*rows), rule=BoutRule(min_seconds=5))
    assert (bout.label, bout.windows, bout.start_seconds, bout.end_seconds) == ("walk", 73, 0, 77)
    # windows that said something else lower the confidence
    assert bout.confidence == pytest.approx((70 * 0.9 + 3 * 0.05) / 73)
    rows = [(1, 0.9)] * 20 + [(0, 0.9)] * 3 + [(2, 0.9)] * 40
    assert [(b.label, b.windows) for b in bouts_of(probabilities(*rows), rule=BoutRule())] == [
        ("walk", 20),
        ("stairs", 43),
    ]


def test_unsure_time_is_a_bout_without_a_label():
    rows = [(1, 0.9)] * 20 + [(0, 0.4)] * 20
    walk, unsure = bouts_of(probabilities(*rows), rule=BoutRule(stay=0.35))
    assert (walk.label, unsure.label, unsure.name) == ("walk", None, "unsure")
    assert unsure.confidence == pytest.approx(0.4)


def test_windows_that_disagree_do_not_add_up_to_a_claim():
    probability = np.random.default_rng(0).dirichlet([0.3] * 3, 5000)
    for start in (np.arange(5000.0), np.arange(5000) + 100.0 * (np.arange(5000) >= 2000)):
        found = bouts_of(probability, start, BoutRule(stay=0.5))
        unsure = [bout for bout in found if bout.label is None]
        assert sum(bout.windows for bout in unsure) > 4500
        assert sum(bout.windows for bout in found) == 5000
        assert all(bout.confidence >= 0.5 for bout in found if bout.label)
        for left, right in itertools.pairwise(found):
            gap = right.start_seconds - left.end_seconds > 1
            assert gap or left.label != right.label


def brute_force(begin, end, label, first, least):
    """The rule in its words, on a list."""
    runs = [[i, b, e, k, bool(f)] for i, (b, e, k, f) in
            enumerate(zip(begin, end, label, first, strict=True))]  # fmt: skip
    while True:
        length = [run[2] - run[1] for run in runs]
        touching = [
            ([i - 1] if not runs[i][4] else [])
            + ([i + 1] if i + 1 < len(runs) and not runs[i + 1][4] else [])
            for i in range(len(runs))
        ]
        short = [i for i in range(len(runs)) if length[i] < least and touching[i]]
        if not short:
            return [(run[0], run[3]) for run in runs]
        i = min(short, key=lambda i: (length[i], runs[i][0]))
        runs[i][3] = runs[max(touching[i], key=lambda j: (length[j], -j))][3]
        joined = [runs[0]]
        for run in runs[1:]:
            if run[3] == joined[-1][3] and not run[4]:
                joined[-1][2] = run[2]
            else:
                joined.append(run)
        runs = joined


@pytest.mark.parametrize("seed", range(20))
def test_merging_is_the_rule_in_its_words(seed):
    rng = np.random.default_rng(seed)
    count = 40
    lengths = rng.integers(1, 9, count).astype(float)
    end = lengths.cumsum()
    label = rng.integers(-1, 3, count)
    first = rng.random(count) < 0.1
    first[0] = True
    # touching runs differ
    for i in range(1, count):
        if label[i] == label[i - 1] and not first[i]:
            label[i] = (label[i] + 2) % 4 - 1
    found = merge(end - lengths, end, label, first, 6.0)
    assert found == brute_force(end - lengths, end, label, first, 6.0)


def test_a_day_of_alternating_seconds():
    """86,400 windows that never agree: one bout after as many merges."""
    rows = np.tile(probabilities((0, 0.9), (1, 0.9)), (43_200, 1))
    assert len(bouts_of(rows)) == 86_400
    assert len(bouts_of(rows, rule=BoutRule(min_seconds=10))) < 8_641


def test_the_file(tmp_path):
    write_bouts(bouts_of(probabilities((1, 0.9), (0, 0.4))), tmp_path / "bouts.csv")
    with (tmp_path / "bouts.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["label"] for row in rows] == ["walk", "unsure"]
    assert [float(row["seconds"]) for row in rows] == [3, 3]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"enter": 0.3}, "--enter 0.3 and --stay 0.4"),
        ({"enter": 1.5}, "--enter 1.5"),
        ({"stay": -0.1}, "--stay -0.1"),
        ({"enter": float("nan")}, "--enter nan"),
        ({"min_seconds": -1}, "--min-seconds -1"),
        ({"min_seconds": float("inf")}, "--min-seconds inf"),
    ],
)
def test_rules_that_mean_nothing(values, message):
    with pytest.raises(PrimusError, match=message):
        BoutRule(**values)


def test_a_class_cannot_be_called_unsure():
    with pytest.raises(PrimusError, match="a class is named 'unsure'"):
        find_bouts(np.zeros(1), 5, 1, np.array([[0.9, 0.1]]), ("unsure", "walk"), NO_LEAST, 0.03)
