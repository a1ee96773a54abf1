"""Retrieval from pools of stated sizes, each drawn several times: means, intervals, chance."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

from primus_jax.errors import PrimusError
from primus_jax.evals.crossmodal.paired import PairedWindows
from primus_jax.evals.crossmodal.retrieval import Retrieval, both_ways, rows_with
from primus_jax.reports.markdown import markdown_table

KS = (1, 10, 50)
DRAWS = 5
CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class PoolRule:
    """How candidates are drawn: `size` windows, at most `per_recording` of one recording (0: any).

    The pool of IMU2CLIP's published evaluation is 288 windows, at most two of a video. There it is
    one draw from the first quarter of the test list; here every draw is from the whole split.
    """

    size: int
    per_recording: int = 0


RULES = (PoolRule(288, 2), PoolRule(1000), PoolRule(10_000))


@dataclasses.dataclass(frozen=True)
class PooledRetrieval:
    """One direction and one rule, drawn with several seeds.

    `per_recording` is the largest number of windows that one recording gave to a draw; `draws` has
    a `Retrieval` for each of `seeds`.
    """

    rule: PoolRule
    per_recording: int
    seeds: tuple[int, ...]
    draws: tuple[Retrieval, ...]

    def mean(self) -> Retrieval:
        """The draws as one: recall and reciprocal rank of it are the means over the draws."""
        return dataclasses.replace(
            self.draws[0],
            distribution=np.mean([draw.distribution for draw in self.draws], 0),
            chance=np.mean([draw.chance for draw in self.draws], 0),
        )

    def row(self) -> dict[str, Any]:
        """The figures for results.jsonl: the mean over the draws, `_per_seed` and `_interval`.

        The interval is Student's, 95 %, over the draws of the pool. It covers the choice of the
        candidates from these recordings, not other recordings or another training.
        """
        row = self.mean().row(KS) | {"per_recording": self.per_recording, "seeds": [*self.seeds]}
        rows = [draw.row(KS) for draw in self.draws]
        row["distinct_targets"] = float(np.mean([one["distinct_targets"] for one in rows]))
        for name in [*(f"recall_at_{k}" for k in KS), "mrr"]:
            values = np.array([one[name] for one in rows])
            row[f"{name}_per_seed"] = values.tolist()
            row[f"{name}_interval"] = interval(values)
        return row


def interval(values: np.ndarray) -> list[float] | None:
    """Student's 95 % confidence interval of the mean of `[n]` values; None for a single one."""
    if len(values) < 2:
        return None
    quantile = stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2)
    half = float(quantile * values.std(ddof=1) / np.sqrt(len(values)))
    return [float(values.mean()) - half, float(values.mean()) + half]


def pooled_retrieval(
    windows: PairedWindows,
    targets: Sequence[str],
    *,
    equal_texts: bool = False,
    seed: int = 0,
    rules: Sequence[PoolRule] = RULES,
) -> tuple[list[PooledRetrieval], list[str]]:
    """Evaluate every direction in every pool that the windows can fill.

    Args:
        windows: of `paired_windows`.
        targets: "text", "video".
        equal_texts: see `retrieval.retrieve`.
        seed: of the first of `DRAWS` draws; the others follow it.
        rules: the pools.

    Returns:
        the results, and a sentence for every pool that is larger than the windows with its target.

    Raises:
        PrimusError: what `retrieval.retrieve` raises; no pool can be filled.
    """
    found: list[PooledRetrieval] = []
    missing: list[str] = []
    seeds = tuple(range(seed, seed + DRAWS))
    for target in targets:
        rows = rows_with(windows, target)
        for rule in rules:
            if rule.size > len(rows):
                missing.append(
                    f"No pool of {rule.size:,}: {len(rows):,} windows have a {target} embedding."
                )
                continue
            drawn = [draw_pool(windows, rows, rule, one) for one in seeds]
            most = max(per_recording for _, per_recording in drawn)
            ways = [both_ways(windows, chosen, target, equal_texts) for chosen, _ in drawn]
            found += [
                PooledRetrieval(rule, most, seeds, draws) for draws in zip(*ways, strict=True)
            ]
    if not found:
        raise PrimusError(f"{' '.join(missing)} Use --pool N for a pool of your own.")
    return found, missing


def draw_pool(
    windows: PairedWindows, rows: np.ndarray, rule: PoolRule, seed: int
) -> tuple[np.ndarray, int]:
    """Draw `rule.size` of `rows` -> (their numbers in order, the most from one recording).

    The limit per recording is exceeded only where the recordings are too few to fill the pool
    within it, and then by as little as possible.

    Args:
        windows: of `paired_windows`; without recordings, every window is one of its own.
        rows: int `[m]`, windows to draw from, at least as many as the pool.
        rule: size and limit.
        seed: of the draw.
    """
    order = np.random.default_rng(seed).permutation(rows)
    names = np.arange(len(windows.label)) if windows.recording is None else windows.recording
    _, place = np.unique(names[order], return_inverse=True)
    if rule.per_recording:
        number = _number_within(place)
        # Within the limit the order of the draw decides, beyond it the number of the window.
        beyond = np.maximum(number - rule.per_recording + 1, 0)
        first = np.argsort(beyond, kind="stable")
        order, place = order[first], place[first]
    chosen, place = order[: rule.size], place[: rule.size]
    return np.sort(chosen), int(np.bincount(place).max())


def _number_within(place: np.ndarray) -> np.ndarray:
    """0 for the first entry of each value of `place` `[n]`, 1 for the second, and so on."""
    sort = np.argsort(place, kind="stable")
    grouped = place[sort]
    begin = np.flatnonzero(np.concatenate([[True], grouped[1:] != grouped[:-1]]))
    count = np.diff(np.concatenate([begin, [len(place)]]))
    number = np.empty(len(place), np.int64)
    number[sort] = np.arange(len(place)) - np.repeat(begin, count)
    return number


def pooled_table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: each direction and pool with intervals, chance below it; recalls in per cent."""
    body = []
    for row in rows:
        cells = [_cell(row, f"recall_at_{k}", 100, 2) for k in KS] + [_cell(row, "mrr", 1, 4)]
        body.append([row["direction"], f"{row['pool']:,}", *cells])
        chance = [f"{100 * row['chance'][f'recall_at_{k}']:.2f}" for k in KS]
        body.append(["chance", f"{row['pool']:,}", *chance, f"{row['chance']['mrr']:.4f}"])
    return markdown_table(["direction", "pool", *(f"R@{k} %" for k in KS), "MRR"], body)


def _cell(row: dict[str, Any], name: str, scale: float, digits: int) -> str:
    """The mean and its interval, as "5.21 [4.10, 6.32]"."""
    low, high = (f"{scale * end:.{digits}f}" for end in row[f"{name}_interval"])
    return f"{scale * row[name]:.{digits}f} [{low}, {high}]"
