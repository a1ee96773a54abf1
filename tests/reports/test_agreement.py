"""Plots of predicted against true numbers."""

import numpy as np
from matplotlib.image import imread

from primus_jax.reports.agreement import Panel, plot_bland_altman, plot_scatter


def panel(title: str, noise: float) -> Panel:
    rng = np.random.default_rng(0)
    true = np.repeat([1.0, 1.2, 1.5], 20)
    predicted = true + rng.normal(0, noise, 60) if noise else np.full(60, 1.2)
    group = np.repeat(["a", "b", "c"], 20)
    means = (values.reshape(3, 20).mean(1) for values in (true, predicted))
    return Panel(title, true, predicted, group, *means)


def test_pictures_of_several_methods_and_of_a_constant(tmp_path):
    panels = [panel("good", 0.05), panel("constant", 0.0)]
    for plot in (plot_scatter, plot_bland_altman):
        plot(panels, "a_$long$_name_of_a_target", tmp_path / "picture.png")
        picture = imread(tmp_path / "picture.png")
        assert picture.shape[1] > picture.shape[0]
        assert picture[..., :3].std() > 0.05
