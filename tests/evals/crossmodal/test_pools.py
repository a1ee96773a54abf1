"""Pools of stated sizes, drawn several times: the draws, intervals, chance, and the command."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from primus_jax.cli import main
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.crossmodal import retrieval_report
from primus_jax.evals.crossmodal.paired import PairedWindows
from primus_jax.evals.crossmodal.pools import (
    DRAWS,
    KS,
    PoolRule,
    draw_pool,
    interval,
    pooled_retrieval,
)
from primus_jax.evals.crossmodal.retrieval import both_ways, rows_with
from primus_jax.models.released import ReleasedConfig
from primus_jax.numerics import unit_rows

GOLDEN = Path(__file__).resolve().parents[4] / "shared" / "spec" / "golden" / "ambient.npz"


def windows_of(count: int, recordings: int, sentences: int | None = None) -> PairedWindows:
    """Windows whose text is near the signal, of some recordings in turn."""
    rng = np.random.default_rng(0)
    imu, text = (unit_rows(rng.normal(size=(count, 16))).astype(np.float32) for _ in range(2))
    number = np.arange(count)
    named = number if sentences is None else number % sentences
    return PairedWindows(
        imu,
        np.zeros(count, np.int32),
        np.array([f"sentence {n}" for n in named]),
        {"text": (text + 0.3 * imu)[named % count]},
        {"text": number % 10 > 0},
        np.array([f"recording {n}" for n in number % recordings]),
    )


def test_at_most_two_windows_of_a_recording():
    windows = windows_of(2000, 200)
    rows, rule = rows_with(windows, "text"), PoolRule(288, 2)
    chosen, most = draw_pool(windows, rows, rule, 0)
    assert (len(set(chosen)), most) == (288, 2)
    assert windows.present["text"][chosen].all()
    _, counts = np.unique(windows.recording[chosen], return_counts=True)
    assert counts.max() == 2
    again, other = (draw_pool(windows, rows, rule, seed)[0] for seed in (0, 1))
    np.testing.assert_array_equal(chosen, again)
    assert len(set(chosen) & set(other)) < 200


def test_too_few_recordings_give_more_windows_each_and_evenly():
    windows = windows_of(2000, 70)
    chosen, most = draw_pool(windows, rows_with(windows, "text"), PoolRule(288, 2), 3)
    _, counts = np.unique(windows.recording[chosen], return_counts=True)
    # 63 recordings have windows with a text: four windows of each are 252, five 315
    assert (len(chosen), most, counts.max(), counts.min()) == (288, 5, 5, 4)


def test_rows_are_the_mean_of_the_draws_with_an_interval_and_chance_in_closed_form():
    windows = windows_of(1500, 700)
    found, missing = pooled_retrieval(windows, ["text"], seed=4)
    assert [(result.rule.size, len(result.draws)) for result in found] == [
        (288, DRAWS), (288, DRAWS), (1000, DRAWS), (1000, DRAWS),
    ]  # fmt: skip
    assert missing == ["No pool of 10,000: 1,350 windows have a text embedding."]
    for result in found:
        row, n = result.row(), result.rule.size
        assert row["seeds"] == [4, 5, 6, 7, 8]
        for name in ("recall_at_1", "recall_at_10", "recall_at_50", "mrr"):
            values = np.array(row[f"{name}_per_seed"])
            assert row[name] == pytest.approx(values.mean(), abs=1e-12)
            low, high = stats.t.interval(0.95, DRAWS - 1, values.mean(), stats.sem(values))
            assert row[f"{name}_interval"] == pytest.approx([low, high], abs=1e-12)
            assert row[name] > row["chance"][name]
        for k in KS:
            assert row["chance"][f"recall_at_{k}"] == pytest.approx(k / n, rel=1e-9)
        assert row["chance"]["mrr"] == pytest.approx(sum(1 / r for r in range(1, n + 1)) / n)
        assert "recall_at_5" not in row
    first = draw_pool(windows, rows_with(windows, "text"), PoolRule(288, 2), 4)[0]
    alone = both_ways(windows, first, "text", False)[0].row(KS)
    assert found[0].row()["recall_at_10_per_seed"][0] == alone["recall_at_10"]


def test_chance_with_equal_sentences_in_closed_form():
    """Every sentence has m copies: the first right one is among k with 1 - C(n-m, k) / C(n, k)."""
    windows = windows_of(400, 400, sentences=40)
    windows.present["text"][:] = True
    [result, back], _ = pooled_retrieval(windows, ["text"], equal_texts=True, rules=[PoolRule(400)])
    for row in (result.row(), back.row()):
        for k in KS:
            expected = 1 - math.comb(390, k) / math.comb(400, k)
            assert row["chance"][f"recall_at_{k}"] == pytest.approx(expected, rel=1e-9)
        assert row["recall_at_1_interval"] == pytest.approx([row["recall_at_1"]] * 2)


def test_one_draw_has_no_interval():
    assert interval(np.array([0.5])) is None


def test_no_pool_that_fits_is_said():
    with pytest.raises(PrimusError, match=r"No pool of 288: 90 windows .* Use --pool N"):
        pooled_retrieval(windows_of(100, 10), ["text"])


def test_golden_retrieval():
    """Recall at 1, 10 and 50 and MRR of the definition, on given embeddings."""
    if not GOLDEN.is_file():
        pytest.skip("no folder of golden numbers (../shared/spec/golden) beside this checkout")
    with np.load(GOLDEN, allow_pickle=False) as file:
        golden = {n.split("/", 1)[1]: file[n] for n in file.files if n.startswith("retrieval/")}
    case = next(iter(golden)).split("/")[0]
    imu, text = golden[f"{case}/in/imu"], golden[f"{case}/in/text"]
    n = len(imu)
    windows = PairedWindows(
        imu, np.zeros(n, np.int32), np.arange(n).astype(str), {"text": text},
        {"text": np.ones(n, bool)},
    )  # fmt: skip
    for result, way in zip(
        both_ways(windows, np.arange(n), "text", False),
        ("imu_to_text", "text_to_imu"),
        strict=True,
    ):
        row = result.row(KS)
        found = [*(row[f"recall_at_{k}"] for k in KS), row["mrr"]]
        np.testing.assert_allclose(found, golden[f"{case}/out/{way}"], rtol=1e-9)


def test_command(simulated, tmp_path, capsys, monkeypatch):
    encoder = tmp_path / "encoder"
    Encoder.random(ReleasedConfig(readout="pool", channels=8), 0, 50.0, 2.6).save(encoder)
    words = ["retrieve", "--encoder", str(encoder), "--data", str(simulated), "--split", "all"]
    words += ["--protocol", "imu2clip"]
    assert main(words) == 2
    assert "Use --pool N for a pool of your own." in capsys.readouterr().err
    small = (PoolRule(48, 2), PoolRule(60), PoolRule(10_000))
    monkeypatch.setattr(retrieval_report, "RULES", small)
    out = tmp_path / "results"
    assert main([*words, "--out", str(out), "--equal-texts"]) == 0
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    ways = ["imu->text", "text->imu", "imu->video", "video->imu"]
    assert [(row["direction"], row["pool"]) for row in rows] == [
        (way, pool) for ways in (ways[:2], ways[2:]) for pool in (48, 60) for way in ways
    ]
    printed = capsys.readouterr().out
    assert "No pool of 10,000: " in printed
    assert "95 % interval over the draws" in printed
    for row in rows:
        assert f"{100 * row['chance']['recall_at_10']:.2f}" in printed
        low, high = row["mrr_interval"]
        assert f"{row['mrr']:.4f} [{low:.4f}, {high:.4f}]" in printed
    assert (out / "recall.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(SystemExit):
        main([*words, "--pool", "20"])
    assert "not allowed with argument" in capsys.readouterr().err
