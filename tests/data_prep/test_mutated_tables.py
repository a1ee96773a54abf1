"""Thousands of damaged tables through what `prepare`, `adapt` and `predict` read them with.

The result is the right one, a counted drop, or an error that names the file and the row.
"""

import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from support.mutated_tables import DAMAGES, RATE, ROWS, Damage, good, written

from data_prep.user.tables import Tables
from primus_jax import SignalWarning
from primus_jax.classify.adapt import labelled_windows
from primus_jax.classify.predict import predict
from primus_jax.errors import PrimusError
from primus_jax.recordings.table_format import TableFormat
from primus_jax.recordings.windows import WindowSpec, cut

SECONDS, HOP = 1.0, 0.5
LAYOUT = TableFormat()
# What is left beside an edge of a gap is interpolated, and may differ a little.
CLOSE = 2e-2


class Statistics:
    """Stands in for an encoder: mean and spread of every channel."""

    rate_hz, window_seconds = RATE, SECONDS

    def encode_windows(self, imu, head=None, batch_size=256):
        return np.concatenate([imu.mean(1), imu.std(1)], 1)


class Same:
    """Stands in for a classifier: its probabilities are the embedding."""

    labels = tuple("abcdefghijkl")

    def __init__(self):
        self.description = {"gyro": True, "window_seconds": SECONDS, "head": "emb"}

    def probabilities(self, embedding):
        return embedding


class Found(NamedTuple):
    """Windows by the time of their start: what the encoder sees, and the label."""

    values: dict[float, tuple[np.ndarray, str]]
    drops: Counter


def prepared(path: Path, hop: float = HOP) -> Found:
    tables = Tables([path], LAYOUT)
    values, drops = {}, Counter()
    for recording in tables:
        imu, starts, _ = cut(recording, WindowSpec(RATE, SECONDS, hop), drops)
        features = Statistics().encode_windows(imu) if len(imu) else imu
        for start, row in zip(starts, features, strict=True):
            values[round(recording.start_seconds + start / RATE, 2)] = (row, recording.label)
    return Found(values, drops + tables.drops)


def adapted(path: Path, hop: float = HOP) -> Found:
    tables, drops = Tables([path], LAYOUT), Counter()
    data = labelled_windows(
        tables, Statistics(), drops, window_seconds=SECONDS, hop_seconds=hop, head="emb"
    )
    rows = zip(data.embedding, data.label, strict=True)
    return Found({i: (row, data.names[k]) for i, (row, k) in enumerate(rows)}, drops + tables.drops)


def predicted(path: Path, hop: float = HOP) -> Found:
    found = predict(Same(), Statistics(), path, LAYOUT, hop)
    rows = zip(found.start_seconds, found.probability, strict=True)
    drops = Counter({"missing": found.report.missing, "gaps": found.report.gaps})
    return Found({round(float(t), 2): (row, "") for t, row in rows}, drops)


def touched(start: float, rows: np.ndarray) -> bool:
    """Whether the window may differ: it holds a changed row, or lies within the spline's reach."""
    first = round(start * RATE)
    return bool(rows[max(first - 8, 0) : first + round(SECONDS * RATE) + 8].any())


def check(read, reference, path: Path, damage: Damage, what: str) -> str:
    usual, at_any_time = reference
    path.write_bytes(damage.content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SignalWarning)
            found = read(path)
    except PrimusError as error:
        message = str(error)
        assert str(path) in message or "labelled windows" in message, (what, message)
        if damage.line:
            assert f"line {damage.line}:" in message, (what, damage.line, message)
        else:
            assert damage.refused or damage.rows.any(), (what, message)
        return "refused"
    assert not damage.refused, f"{what}: was read, {len(found.values)} windows"
    assert found.values or +found.drops, f"{what}: nothing, without a reason"
    if read is adapted and damage.rows.any():
        # windows there have no time, so that only those of whole tables can be compared
        return "read"
    for start, (row, label) in found.values.items():
        if not touched(start, damage.rows):
            assert start in at_any_time, (what, start)
            np.testing.assert_allclose(row, at_any_time[start][0], atol=CLOSE, err_msg=what)
            assert label == at_any_time[start][1], what
    if not damage.rows.any():
        assert found.values.keys() == usual.keys(), what
    return "read"


def soak(tmp_path, count: int, seed: int) -> Counter:
    """`count` damaged tables, each through one of the three readers in turn."""
    rng = np.random.default_rng(seed)
    path = tmp_path / "table.csv"
    readers = (prepared, adapted, predicted)
    path.write_bytes(written(good()))
    references = []
    for read in readers:
        usual = read(path).values
        # after a gap the hop begins anew, at any sample
        anywhere = usual if read is adapted else read(path, 1 / RATE).values
        assert len(usual) > 5
        references.append((usual, anywhere))
    outcome: Counter[str] = Counter()
    for k in range(count):
        damage = DAMAGES[k % len(DAMAGES)]
        which = (k // len(DAMAGES)) % 3
        case = damage(good_copy(), rng)
        what = f"{damage.__name__}, table {k}, seed {seed}, {readers[which].__name__}"
        outcome[check(readers[which], references[which], path, case, what)] += 1
    return outcome


GOOD = good()


def good_copy():
    return [list(row) for row in GOOD]


def test_damaged_tables_are_right_or_refused(tmp_path):
    outcome = soak(tmp_path, 15 * len(DAMAGES), seed=1)
    assert min(outcome["refused"], outcome["read"]) > 50


@pytest.mark.slow
def test_ten_thousand_damaged_tables(tmp_path):
    outcome = soak(tmp_path, 10_000, seed=2)
    assert outcome.total() == 10_000


def test_the_good_table_has_what_the_damages_need():
    assert len(GOOD) == ROWS + 1
