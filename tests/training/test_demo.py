"""The demo keeps its promise for a seed that nobody looked at, and leaves other folders alone."""

import json

import pytest

from primus_jax.cli import main


@pytest.mark.slow
def test_pretrained_beats_random_initialisation_clearly_for_another_seed(tmp_path, capfd):
    assert main(["demo", "--out", str(tmp_path / "demo"), "--seed", "7"]) == 0
    said = capfd.readouterr().out
    assert "stopped by SIGTERM" in said
    assert "resuming at step" in said
    report = tmp_path / "demo" / "report"
    rows = [json.loads(line) for line in (report / "results.jsonl").read_text().splitlines()]
    accuracy = {(row["method"], row["shots"]): row["accuracy"] for row in rows}
    for shots in (1, 5, 10):
        margin = accuracy["PRIMUS", shots] - accuracy["random initialisation", shots]
        assert margin > 0.1, (shots, accuracy)
    page = (report / "report.html").read_text()
    assert "simulated" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert {path.name for path in report.glob("*.png")} >= {
        "losses.png",
        "curves.png",
        "map_pretrained.png",
        "retrieved.png",
    }


def test_a_folder_that_no_demo_made_is_left_alone(tmp_path, capfd):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "thesis.txt").write_text("precious")
    for more in ([], ["--overwrite"]):
        assert main(["demo", "--out", str(tmp_path / "demo"), *more]) == 2
    assert "thesis.txt" in capfd.readouterr().err
    assert (tmp_path / "demo" / "thesis.txt").read_text() == "precious"
