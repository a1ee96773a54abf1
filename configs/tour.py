"""The README's tour: 200 steps of PRIMUS on the simulated people of `primus-jax prepare simulated`.

    primus-jax pretrain --config configs/tour.py --workdir runs/tour

Cost: about a minute on 2 CPU cores. Expected, few-shot on the same simulated people: about twice
the 1-shot accuracy of random initialisation. The data are simulated: the tour only shows that the
pipeline works.
"""

from primus_jax.demo import config as demo_config


def get_config():
    """The demo's experiment, shorter, on data/simulated."""
    config = demo_config.get_config()
    config.steps = 200
    config.data.train = ("data/simulated",)
    return config
