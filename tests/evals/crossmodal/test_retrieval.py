"""Retrieval: ranks against explicit sorting, ties, chance, masks, memory."""

import itertools
import math

import jax
import numpy as np
import pytest
from support.tiny_config import POOLED

from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.crossmodal import ranks
from primus_jax.evals.crossmodal.paired import PairedWindows, paired_windows
from primus_jax.evals.crossmodal.ranks import (
    block_size,
    chance_distribution,
    count_block,
    rank_counts,
    rank_distribution,
    rank_metrics,
)
from primus_jax.evals.crossmodal.retrieval import KS, plot_retrieval, retrieve
from primus_jax.numerics import unit_rows


def normal(rows: int, dim: int, seed: int = 0) -> np.ndarray:
    return unit_rows(np.random.default_rng(seed).normal(size=(rows, dim)))


def paired(imu: np.ndarray, text: np.ndarray, sentences=None, present=None) -> PairedWindows:
    n = len(imu)
    names = [f"sentence {i}" for i in range(n)] if sentences is None else sentences
    present = np.ones(n, bool) if present is None else present
    return PairedWindows(
        imu, np.zeros(n, np.int32), np.asarray(names), {"text": text}, {"text": present}
    )


def over_all_orders(score: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Distribution of the first right candidate's rank, by sorting in every order of candidates."""
    queries, n = score.shape
    mass = np.zeros(n)
    orders = list(itertools.permutations(range(n)))
    for q in range(queries):
        for order in orders:
            ranked = sorted(order, key=lambda i, q=q: -score[q, i])
            mass[next(r for r, i in enumerate(ranked) if correct[q, i])] += 1
    return mass / (queries * len(orders))


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_ties_are_the_mean_over_every_order(seed, equal):
    rng = np.random.default_rng(seed)
    query = rng.integers(-1, 2, (6, 3)).astype(np.float32)
    candidate = rng.integers(-1, 2, (6, 3)).astype(np.float32)
    key = np.array([0, 0, 0, 1, 1, 2]) if equal else np.arange(6)
    counts = rank_counts(query, candidate, key, key)
    expected = over_all_orders(query @ candidate.T, key[:, None] == key[None, :])
    assert counts.wrong.max() > 0
    np.testing.assert_allclose(rank_distribution(counts, 6), expected, atol=1e-12)


@pytest.mark.parametrize("pool", [101, 300])
def test_without_ties_equal_to_sorting_and_blocks_change_nothing(pool, monkeypatch):
    imu, text = normal(pool, 24, 1), normal(pool, 24, 2)
    text = unit_rows(text + 0.4 * imu)
    score = imu.astype(np.float64) @ text.astype(np.float64).T
    order = np.argsort(-score, axis=1)
    rank = np.array([1 + int(np.flatnonzero(order[i] == i)[0]) for i in range(pool)])
    whole = retrieve(paired(imu, text), ["text"])[0].row()
    for k in KS:
        assert whole[f"recall_at_{k}"] == pytest.approx((rank <= k).mean(), abs=1e-12)
    assert whole["mrr"] == pytest.approx((1 / rank).mean(), abs=1e-12)
    assert whole["median_rank"] == np.median(rank)
    monkeypatch.setattr(ranks, "BLOCK_SCORES", 40 * pool)
    assert block_size(pool, pool) == 32  # the last block is padded: neither pool is a multiple
    assert retrieve(paired(imu, text), ["text"])[0].row() == whole


def test_several_right_answers_count_by_the_first():
    key = np.arange(90) % 7
    imu, text = normal(90, 16, 3), normal(90, 16, 4)
    score = imu.astype(np.float64) @ text.astype(np.float64).T
    rank = [
        1 + min(int((score[q] > score[q, i]).sum()) for i in np.flatnonzero(key == key[q]))
        for q in range(90)
    ]
    windows = paired(imu, text, [f"class {k}" for k in key])
    row = retrieve(windows, ["text"], equal_texts=True)[0].row()
    assert row["recall_at_5"] == pytest.approx(np.mean(np.array(rank) <= 5), abs=1e-12)
    assert row["mrr"] == pytest.approx(np.mean(1 / np.array(rank)), abs=1e-12)
    assert row["median_rank"] == np.median(rank)


def test_a_constant_embedding_scores_the_published_chance():
    """288 candidates: R@1 .347 %, R@10 3.47 %, R@50 17.4 %, MRR .0217."""
    constant, other = np.repeat(normal(1, 512), 288, axis=0), normal(288, 512, 1)
    for windows in (paired(constant, other), paired(other, constant)):
        for result in retrieve(windows, ["text"]):
            row = result.row()
            for scores in (row, row["chance"]):
                assert scores["recall_at_1"] == pytest.approx(1 / 288, rel=1e-9)
                assert scores["recall_at_10"] == pytest.approx(0.0347, abs=5e-5)
                assert scores["recall_at_50"] == pytest.approx(0.174, abs=5e-4)
                assert scores["mrr"] == pytest.approx(0.0217, abs=5e-5)
                assert scores["median_rank"] == 144.5
            assert row["pool"] == 288


def test_equal_candidates_tie_exactly_whatever_the_product_rounds():
    """A matrix-vector product rounds the last of 33 equal rows otherwise than the rest."""
    query, key = normal(1, 513, 1), np.arange(33)
    same = np.repeat(normal(1, 513), 33, axis=0)
    for i in range(33):
        counts = rank_counts(query, same, key[i : i + 1], key)
        assert (counts.above, counts.wrong, counts.right) == (0, 32, 1)


def test_all_texts_equal():
    imu, same = normal(40, 8), np.repeat(normal(1, 8, 1), 40, axis=0)
    windows = paired(imu, same, ["a person moves"] * 40)
    for result in retrieve(windows, ["text"]):
        row = result.row()
        assert row["distinct_targets"] == 1
        assert row["recall_at_1"] == pytest.approx(1 / 40)
        assert row["median_rank"] == 20.5
    for result in retrieve(windows, ["text"], equal_texts=True):
        row = result.row()
        assert row["recall_at_1"] == row["mrr"] == row["median_rank"] == 1
        assert row["chance"]["recall_at_1"] == pytest.approx(1, abs=1e-12)


def test_chance_with_equal_texts_is_exact():
    correct = np.array([3, 3, 3, 2, 2, 1])
    key = np.array([0, 0, 0, 1, 1, 2])
    expected = over_all_orders(np.zeros((6, 6)), key[:, None] == key[None, :])
    np.testing.assert_allclose(chance_distribution(correct, 6), expected, atol=1e-12)
    many = rank_metrics(chance_distribution(np.full(1000, 100), 1000), (1, 10))
    assert many["recall_at_1"] == pytest.approx(0.1)
    assert many["recall_at_10"] == pytest.approx(1 - math.comb(900, 10) / math.comb(1000, 10))


def test_a_window_without_a_sentence_equals_no_other():
    windows = paired(normal(6, 4), normal(6, 4, 1), ["", "", "", "a", "a", "b"])
    chance = retrieve(windows, ["text"], equal_texts=True)[0].row()["chance"]
    assert chance["recall_at_1"] == pytest.approx((1 + 1 + 1 + 2 + 2 + 1) / 36)


def test_a_pool_of_one(tmp_path):
    results = retrieve(paired(normal(1, 4), normal(1, 4, 1)), ["text"])
    for result in results:
        row = result.row()
        assert row["recall_at_1"] == row["recall_at_50"] == row["mrr"] == row["median_rank"] == 1
    plot_retrieval(results, tmp_path / "recall.png")
    assert (tmp_path / "recall.png").stat().st_size > 5000


def test_windows_without_the_target_are_left_out_and_counted():
    imu, text = normal(50, 8), normal(50, 8, 1)
    present = np.arange(50) % 3 > 0
    masked = text.copy()
    masked[~present] = imu[~present]  # would be perfect answers
    found = retrieve(paired(imu, masked, present=present), ["text"])
    alone = retrieve(paired(imu[present], text[present]), ["text"])
    for one, two in zip(found, alone, strict=True):
        assert (one.pool, one.left_out) == (33, 17)
        np.testing.assert_array_equal(one.distribution, two.distribution)


def test_a_seeded_pool():
    windows = paired(normal(60, 8), normal(60, 8, 1))
    first, again, other = (retrieve(windows, ["text"], pool=20, seed=seed)[0] for seed in (0, 0, 1))
    assert first.pool == len(first.distribution) == 20
    np.testing.assert_array_equal(first.distribution, again.distribution)
    assert not np.array_equal(first.distribution, other.distribution)
    with pytest.raises(PrimusError, match="a pool of 61 windows; 60 have"):
        retrieve(windows, ["text"], pool=61)


def test_errors():
    with pytest.raises(PrimusError, match="8 values, the text 9"):
        retrieve(paired(normal(5, 8), normal(5, 9)), ["text"])
    with pytest.raises(PrimusError, match="no window has a video embedding"):
        retrieve(paired(normal(5, 8), normal(5, 8)), ["video"])
    broken = normal(5, 8)
    broken[3, 2] = np.nan
    with pytest.raises(PrimusError, match="embedding 3 of 5 is not finite"):
        retrieve(paired(broken, normal(5, 8)), ["text"])


def test_a_pool_of_100_000_fits_in_memory():
    """From the compiled program: n x n scores would be 40 GB."""
    n, dim = 100_000, 64
    block = block_size(n, n)
    shapes = [((block, dim), np.float32), ((block,), np.int32), ((n, dim), np.float32)]
    shapes += [((n,), np.int32), ((n,), np.int32)]
    compiled = count_block.lower(*(jax.ShapeDtypeStruct(*s) for s in shapes)).compile()
    used = compiled.memory_analysis()
    assert block >= 64
    assert used.argument_size_in_bytes >= 4 * n * dim
    total = used.argument_size_in_bytes + used.temp_size_in_bytes + used.output_size_in_bytes
    assert total < 300e6


def test_windows_come_with_their_own_sentence(simulated):
    folder = DatasetFolder(simulated)
    encoder = Encoder.random(POOLED, 0, 50.0, 2.6)
    windows = paired_windows(encoder, folder, ["train", "validation"], "mmcl")
    rows = [row for split in ("train", "validation") for row in folder.source(split)]
    assert windows.text.tolist() == [row["text"] for row in rows]
    for name in ("text", "video"):
        stored = np.stack([row[f"{name}_embedding"] for row in rows]).astype(np.float32)
        np.testing.assert_array_equal(windows.targets[name], stored)
    expected = encoder.encode_windows(np.stack([row["imu"] for row in rows]), "mmcl")
    np.testing.assert_allclose(windows.embedding, expected, atol=1e-5)
