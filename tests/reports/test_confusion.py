"""Confusion matrices as pictures: what is written in them, for one dataset and for several."""

import itertools

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from primus_jax.reports.confusion import (
    Block,
    Confusion,
    blocks_inches,
    draw_blocks,
    draw_confusion,
    plot_all_confusions,
    plot_confusions,
)
from primus_jax.reports.figure import DPI, PAGE_INCHES


def row(method="PRIMUS", dataset="one", shots=5, names=("walking", "sitting", "lying")):
    confusion = np.eye(len(names), dtype=int) * 30
    return {
        "method": method, "dataset": dataset, "shots": shots, "macro_f1": 0.5, "simulated": True,
        "label_names": list(names), "confusion": confusion.tolist(),
    }  # fmt: skip


def test_rows_are_true_classes_in_per_cent():
    axes = Figure().subplots()
    counts = [[30, 10, 0], [0, 0, 0], [1, 0, 399]]
    draw_confusion(axes, Confusion.of_row({**row(), "confusion": counts}))
    np.testing.assert_allclose(
        axes.images[0].get_array(), [[75, 25, 0], [0, 0, 0], [0.25, 0, 99.75]]
    )
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "75", (1, 0): "25", (2, 2): "100"}  # (column, row)
    below, beside = (
        [label.get_text() for label in labels]
        for labels in (axes.get_xticklabels(), axes.get_yticklabels())
    )
    assert below == ["walking", "sitting", "lying"]
    assert beside == ["walking (40)", "sitting (0)", "lying (400)"]
    assert axes.get_xlabel() == "predicted"
    assert axes.get_title() == "PRIMUS: macro-F1 50.0"


def matrix(classes: int, name: str = "class") -> Confusion:
    names = tuple(f"{name} {k}" for k in range(classes))
    return Confusion(np.eye(classes, dtype=int), names, "a title")


@pytest.mark.parametrize("classes", [2, 12, 80])
def test_the_page_grows_with_classes_only_so_far(classes):
    assert all(2 < side < 10 for side in matrix(classes).size())


LONG = "cycling on an exercise bike in a horizontal position"


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_sixteen_classes_are_read_on_a_page(tmp_path, count):
    """At 96 pixels an inch the picture fits the page; letters and cells have a reader's size."""
    matrices = [matrix(16, LONG)] * count
    plot_confusions(matrices, tmp_path / "matrix.png", "title", svg=True)
    height, width = matplotlib.image.imread(tmp_path / "matrix.png").shape[:2]
    assert width / DPI <= PAGE_INCHES
    assert (tmp_path / "matrix.svg").stat().st_size > 0
    assert height / DPI > count * 16 * 0.3  # one below the other
    blocks = [Block("title", matrices)]
    figure = Figure(figsize=blocks_inches(blocks))
    draw_blocks(figure, blocks)
    figure.draw_without_rendering()
    axes = figure.axes[-1]
    cell = axes.get_window_extent().width / 16 / figure.dpi * 96
    assert cell >= 24  # CSS pixels
    letters = [*axes.texts, *axes.get_xticklabels(), *axes.get_yticklabels()]
    assert min(text.get_fontsize() for text in letters) * 96 / 72 >= 11
    boxes = [label.get_window_extent() for label in axes.get_yticklabels()]
    boxes.sort(key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 + 1 for low, high in itertools.pairwise(boxes))
    page = figure.bbox
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert (box.x0 >= 0, box.y0 >= 0, box.x1 <= page.x1, box.y1 <= page.y1) == (True,) * 4


def test_too_many_classes_for_numbers_keep_their_names():
    axes = Figure().subplots()
    draw_confusion(axes, matrix(80))
    assert not axes.texts
    assert len(axes.get_yticklabels()) == 80


def test_one_picture_of_every_method_and_dataset_at_the_largest_shot_count(tmp_path):
    few = {**row(shots=1), "confusion": [[1, 2, 3]] * 3}
    one = [few, *(row(method) for method in ("PRIMUS", "random", "hand", "IMU2CLIP"))]
    plot_all_confusions(one, tmp_path / "one.png")
    plot_all_confusions([*one, row(dataset="two")], tmp_path / "both.png")
    small, large = (matplotlib.image.imread(tmp_path / f"{n}.png") for n in ("one", "both"))
    assert large.shape[0] > 1.3 * small.shape[0]
    assert large.shape[1] == small.shape[1]
    # dark blue: the certain diagonals of four matrices, three cells each, and of a fifth
    dark = [
        ((image[..., 2] > image[..., 0] + 0.25) & (image[..., 0] < 0.1)).sum()
        for image in (small, large)
    ]
    assert dark[1] > 1.15 * dark[0] > 0
