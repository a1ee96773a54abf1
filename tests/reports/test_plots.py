"""Figures and the report: whole files, readable content, nothing from elsewhere."""

import re
from html.parser import HTMLParser

import matplotlib.image
import numpy as np
import pytest

from primus_jax.reports import curves, plots
from primus_jax.reports.html import Section, Table, write_report


def shot_rows(datasets=("one", "two"), methods=("PRIMUS", "random initialisation")):
    return [
        {
            "dataset": dataset, "method": method, "shots": k, "simulated": True,
            "accuracy": 0.2 + 0.1 * i + 0.005 * k, "accuracy_se": 0.02 if k > 1 else None,
            "macro_f1": 0.2, "macro_f1_se": 0.01, "classes": 5, "seeds": [0, 1],
        }
        for dataset in datasets for i, method in enumerate(methods) for k in (1, 5, 20)
    ]  # fmt: skip


def ink(path) -> float:
    """Share of pixels that are not white."""
    image = matplotlib.image.imread(path)[..., :3]
    assert min(image.shape[:2]) > 300
    return float((image < 0.97).any(-1).mean())


def test_losses(tmp_path):
    rows = [{"step": s, "loss": 5 / s, "loss_text": 4 / s, "loss_new": 1 / s} for s in range(1, 50)]
    plots.plot_losses([*rows, {"step": 40, "validation_loss": 0.3}], tmp_path / "losses.png")
    assert ink(tmp_path / "losses.png") > 0.01


def test_smoothing_keeps_a_line_a_line():
    line = np.linspace(3.0, 1.0, 200)
    np.testing.assert_allclose(plots._smooth(line), line, rtol=1e-12)
    noise = np.random.default_rng(0).normal(size=400)
    assert plots._smooth(noise).std() < 0.4 * noise.std()


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_shots(tmp_path, metric):
    curves.plot_shots(shot_rows(), tmp_path / "curves.png", metric)
    assert ink(tmp_path / "curves.png") > 0.01


def test_methods_are_told_apart_and_the_lead_stands_out():
    names = [f"method {k}" for k in range(12)]
    styles = curves.method_styles(names, "method 3", ["method 10", "method 11"])
    looks = {tuple(sorted((k, str(v)) for k, v in style.items())) for style in styles.values()}
    assert len(looks) == len(names)
    assert max(styles, key=lambda name: styles[name]["linewidth"]) == "method 3"
    assert all(styles[name]["linestyle"] == "--" for name in names[10:])


def test_map_of_embeddings(tmp_path):
    rng = np.random.default_rng(0)
    label = rng.integers(-1, 14, 300)
    x = rng.normal(size=(15, 8))[label] + 0.1 * rng.normal(size=(300, 8))
    plots.plot_embedding_map(x, label, [f"activity {k}" for k in range(14)], tmp_path / "map.png")
    assert ink(tmp_path / "map.png") > 0.01
    styles = {plots._class_style(k) for k in range(40)}
    assert len(styles) == 40


def test_map_of_a_collapsed_encoder(tmp_path):
    label = np.arange(20) % 2
    plots.plot_embedding_map(np.ones((20, 4)), label, ["a", "b"], tmp_path / "map.png")
    assert (tmp_path / "map.png").exists()


def test_retrieved_sentences(tmp_path):
    imu = np.random.default_rng(0).normal(size=(2, 100, 6)).astype(np.float32)
    found = [[("C walks $5 up_hill", 0.9), ("a long sentence " * 20, 0.1)]] * 2
    plots.plot_retrieved(imu, 50.0, ["C walks $5 up_hill"] * 2, found, tmp_path / "retrieved.png")
    assert ink(tmp_path / "retrieved.png") > 0.01


def test_a_failing_figure_leaves_nothing(tmp_path):
    with pytest.raises(KeyError):
        curves.plot_shots(shot_rows(), tmp_path / "curves.png", "no such metric")
    assert list(tmp_path.iterdir()) == []


def test_report_is_one_page_with_nothing_from_elsewhere(tmp_path):
    curves.plot_shots(shot_rows(), tmp_path / "curves.png")
    table = Table(["method", "1 shot"], [["<PRIMUS>", "63.0 ± 1.0"]], "Accuracy (%)")
    section = Section("Few & shot", "First.\n\nSecond < third.", [table], [tmp_path / "curves.png"])
    write_report(tmp_path / "report.html", "A report", "Intro.", [section], "All data simulated.")
    (tmp_path / "curves.png").unlink()
    page = (tmp_path / "report.html").read_text()
    assert not re.search(r'(?:src|href)="(?!data:image/png;base64,)|https?:|url\(|@import', page)
    assert "All data simulated." in page

    class Text(HTMLParser):
        found = ""
        opened: tuple[str, ...] = ()

        def handle_starttag(self, tag, attrs):
            self.opened += () if tag in ("meta", "img") else (tag,)

        def handle_endtag(self, tag):
            assert self.opened[-1] == tag
            self.opened = self.opened[:-1]

        def handle_data(self, data):
            self.found += data

    parser = Text()
    parser.feed(page)
    assert parser.opened == ()
    for text in ("<PRIMUS>", "63.0 ± 1.0", "Second < third.", "Few & shot"):
        assert text in parser.found
