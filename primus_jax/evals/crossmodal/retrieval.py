"""Retrieval between windows and their sentences or videos, beside what chance would score."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from primus_jax.errors import PrimusError
from primus_jax.evals.crossmodal.paired import PairedWindows
from primus_jax.evals.crossmodal.ranks import (
    chance_distribution,
    rank_counts,
    rank_distribution,
    rank_metrics,
)
from primus_jax.numerics import unit_rows
from primus_jax.reports.figure import COLORS, FAINT, MARKERS, figure_file
from primus_jax.reports.markdown import markdown_table

KS = (1, 5, 10, 50)
# A line of results.jsonl: the figures of `Retrieval.row`, and what `Inputs.row` adds to them.
RetrievalRow = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Retrieval:
    """One direction of one pool: as many queries as candidates, cosine, every query counted.

    `distribution` and `chance` are float64 `[pool]`, the probability of ranks 1, 2, ... over the
    queries and a random order of ties; `left_out` windows have nothing to be compared with;
    `distinct` counts the different sentences (or videos) of the pool.
    """

    direction: str
    pool: int
    left_out: int
    distinct: int
    equal_texts: bool
    distribution: np.ndarray
    chance: np.ndarray

    def row(self, ks: Sequence[int] = KS) -> RetrievalRow:
        """The figures for results.jsonl, all between 0 and 1 but the ranks."""
        return {
            "direction": self.direction,
            "pool": self.pool,
            "left_out": self.left_out,
            "distinct_targets": self.distinct,
            "equal_texts": self.equal_texts,
            **rank_metrics(self.distribution, ks),
            "chance": rank_metrics(self.chance, ks),
        }


def retrieve(
    windows: PairedWindows,
    targets: Sequence[str],
    *,
    equal_texts: bool = False,
    pool: int | None = None,
    seed: int = 0,
) -> list[Retrieval]:
    """IMU to target and back, for each of `targets` ("text", "video").

    The query's own window is the right answer; a tie counts as its expectation over a random order
    of the tied candidates, so an embedding that tells nothing apart scores chance.

    Args:
        windows: of `paired_windows`; those without the target are left out and counted.
        targets: "text", "video".
        equal_texts: windows of the same sentence are right answers too, in every direction; chance
            is then higher and is computed for the very pool.
        pool: take so many windows, a seeded choice; None takes all.
        seed: of the choice.

    Raises:
        PrimusError: no window has the target, fewer than `pool` have, widths differ, or an
            embedding is not finite.
    """
    results = []
    for target in targets:
        rows = rows_with(windows, target)
        if pool is not None:
            if not 1 <= pool <= len(rows):
                raise PrimusError(
                    f"a pool of {pool} windows; {len(rows)} have a {target} embedding."
                )
            rows = np.sort(np.random.default_rng(seed).permutation(rows)[:pool])
        results += both_ways(windows, rows, target, equal_texts)
    return results


def rows_with(windows: PairedWindows, target: str) -> np.ndarray:
    """Numbers of the windows with that target, int `[m]`; PrimusError where there is none."""
    rows = np.flatnonzero(windows.present.get(target, ()))
    if not len(rows):
        raise PrimusError(
            f"no window has a {target} embedding; there is nothing to retrieve. Prepare the "
            f"dataset with --embeddings, or choose other --targets."
        )
    return rows


def both_ways(
    windows: PairedWindows, rows: np.ndarray, target: str, equal_texts: bool
) -> list[Retrieval]:
    """IMU to target and back among the windows `rows`, int `[pool]`; see `retrieve`."""
    left_out = len(windows.label) - int(windows.present[target].sum())
    imu, other = unit_rows(windows.embedding[rows]), unit_rows(windows.targets[target][rows])
    if imu.shape[1] != other.shape[1]:
        raise PrimusError(
            f"windows have embeddings of {imu.shape[1]} values, the {target} {other.shape[1]}: "
            f"they cannot be compared."
        )
    key = _keys(windows.text[rows], equal_texts)
    chance = chance_distribution(np.bincount(key)[key], len(rows))
    distinct = len({row.tobytes() for row in other})
    results = []
    for direction, query, candidate in (
        (f"imu->{target}", imu, other),
        (f"{target}->imu", other, imu),
    ):
        distribution = rank_distribution(rank_counts(query, candidate, key, key), len(rows))
        results.append(
            Retrieval(direction, len(rows), left_out, distinct, equal_texts, distribution, chance)
        )
    return results


def retrieval_table(rows: Sequence[RetrievalRow]) -> str:
    """Markdown: each direction with its pool, and chance below it; recalls in per cent."""
    ks = [int(name.rsplit("_", 1)[1]) for name in rows[0] if name.startswith("recall_at_")]
    body = []
    for row in rows:
        for name, values in ((row["direction"], row), ("chance", row["chance"])):
            recalls = (f"{100 * values[f'recall_at_{k}']:.2f}" for k in ks)
            mrr, median = f"{values['mrr']:.4f}", f"{values['median_rank']:.1f}"
            body.append([name, f"{row['pool']:,}", *recalls, mrr, median])
    header = ["direction", "pool", *(f"R@{k} %" for k in ks), "MRR", "median"]
    return markdown_table(header, body)


def plot_retrieval(results: Sequence[Retrieval], path: Path, title: str = "Retrieval") -> None:
    """Recall over the number of candidates returned, every direction and pool against its chance.

    Args:
        results: of `retrieve`.
        path: the PNG.
        title: above the figure.
    """
    pools = list(dict.fromkeys((result.pool, _target(result)) for result in results))
    with figure_file(path, (1.0 + 3.8 * len(pools), 3.6)) as figure:
        for axes, (pool, target) in zip(
            figure.subplots(1, len(pools), squeeze=False, sharey=True)[0], pools, strict=True
        ):
            chosen = [r for r in results if (r.pool, _target(r)) == (pool, target)]
            k = np.arange(1, chosen[0].pool + 1)
            for i, result in enumerate(chosen):
                recall = 100 * np.cumsum(result.distribution)
                axes.plot(
                    k, recall, color=COLORS[i], marker=MARKERS[i], label=result.direction,
                    markevery=[x - 1 for x in KS if x <= result.pool],
                )  # fmt: skip
            chance = 100 * np.cumsum(chosen[0].chance)
            axes.plot(k, chance, color=FAINT, linestyle=":", label="chance")
            axes.set_xscale("log")
            axes.set_ylim(0, 103)
            axes.set_title(f"{target}: pool of {chosen[0].pool:,}")
            axes.set_xlabel("candidates returned")
            axes.legend(fontsize=9)
        figure.axes[0].set_ylabel("right answer among them (%)")
        figure.suptitle(title, fontsize=12, fontweight="bold")


def _target(result: Retrieval) -> str:
    return next(word for word in result.direction.split("->") if word != "imu")


def _keys(text: np.ndarray, equal_texts: bool) -> np.ndarray:
    """A number per window, shared by windows of one sentence if these count as equal."""
    if not equal_texts:
        return np.arange(len(text))
    found: dict[str | tuple[str, int], int] = {}
    # a window without a sentence equals no other
    names = (words or ("", i) for i, words in enumerate(text.tolist()))
    return np.array([found.setdefault(name, len(found)) for name in names])
