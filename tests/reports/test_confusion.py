"""Confusion matrices as pictures: what is written in them, for one dataset and for several."""

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from primus_jax.reports.confusion import draw_confusion, matrix_side, plot_all_confusions


def row(method="PRIMUS", dataset="one", shots=5, names=("walking", "sitting", "lying")):
    confusion = np.eye(len(names), dtype=int) * 30
    return {
        "method": method, "dataset": dataset, "shots": shots, "macro_f1": 0.5, "simulated": True,
        "label_names": list(names), "confusion": confusion.tolist(),
    }  # fmt: skip


def test_rows_are_true_classes_in_per_cent():
    axes = Figure().subplots()
    draw_confusion(axes, {**row(), "confusion": [[30, 10, 0], [0, 0, 0], [1, 0, 399]]})
    np.testing.assert_allclose(
        axes.images[0].get_array(), [[75, 25, 0], [0, 0, 0], [0.25, 0, 99.75]]
    )
    written = {text.get_position(): text.get_text() for text in axes.texts}
    assert written == {(0, 0): "75", (1, 0): "25", (2, 2): "100"}  # (column, row)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [label.get_text() for label in labels] == ["walking", "sitting", "lying"]
    assert axes.get_xlabel() == "predicted"
    assert axes.get_title() == "PRIMUS: macro-F1 50.0"


@pytest.mark.parametrize("classes", [2, 12, 80])
def test_the_page_grows_with_classes_only_so_far(classes):
    assert 2 < matrix_side(classes) < 10


def test_one_picture_of_every_method_and_data_set_at_the_largest_shot_count(tmp_path):
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
