"""The measurement for accelerators, small, on a CPU: its numbers are right, its times are not."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "accelerator_scaling.py"


def load():
    spec = importlib.util.spec_from_file_location("accelerator_scaling", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_small_sizes_agree_with_float64(tmp_path, capsys):
    load().main(["--small", "--out", str(tmp_path / "cpu" / "small")])
    results = json.loads((tmp_path / "cpu" / "small.json").read_text())
    assert [(r["batch"], r["form"]) for r in results["loss"]] == [
        (64, "gathered"), (64, "ring"), (128, "gathered"), (128, "ring")
    ]  # fmt: skip
    for row in results["loss"]:
        assert row["constant_error"] < 1e-6
    for row in results["loss"][:2]:
        assert row["value_error"] < 1e-6
        assert row["gradient_error"] < 2e-6
    assert {row["layout"] for row in results["queue"]} == {"whole", "split"}
    for row in results["queue"]:
        assert row["same_as_float64"] == 1
        assert row["cosine_short_by"] == 0
    for row in results["step"]:
        assert row["loss_error"] < 1e-5
        assert row["finite"]
    table = (tmp_path / "cpu" / "small.md").read_text()
    assert "### queue" in table
    assert table in capsys.readouterr().out


def test_the_reference_is_its_own_finite_difference():
    reference = load().reference
    rng = np.random.default_rng(0)
    a, b, step = rng.normal(size=(3, 6, 4))
    _, (to_a, to_b, to_t) = reference(a, b, 0.3)
    h = 1e-6
    for slope, up, down in (
        ((to_a * step).sum(), (a + h * step, b, 0.3), (a - h * step, b, 0.3)),
        ((to_b * step).sum(), (a, b + h * step, 0.3), (a, b - h * step, 0.3)),
        (to_t, (a, b, 0.3 + h), (a, b, 0.3 - h)),
    ):
        difference = (reference(*up)[0] - reference(*down)[0]) / (2 * h)
        np.testing.assert_allclose(slope, difference, rtol=1e-6)


def test_identical_rows_have_the_closed_form():
    ones = np.ones((7, 3))
    assert np.isclose(load().reference(ones, ones, 0.1)[0], 2 * np.log(7))
