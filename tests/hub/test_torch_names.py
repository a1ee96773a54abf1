"""Names and layouts of PyTorch: a round trip, and every fault of a set of tensors."""

import numpy as np
import pytest
from support.random_weights import assert_equal_trees, random_params, sine_tensors
from support.tiny_config import READOUTS

from primus_jax.errors import PrimusError
from primus_jax.hub.torch_names import from_torch_names, to_torch_names
from primus_jax.models.released import ReleasedConfig


def test_names_and_shapes_of_the_released_encoder():
    gru = {"weight_ih_l0": (1536, 32), "weight_hh_l0": (1536, 512)}
    gru |= {"bias_ih_l0": (1536,), "bias_hh_l0": (1536,)}
    expected = {"backbone.0.weight": (6,), "backbone.0.bias": (6,)}
    expected |= {"backbone.1.net.0.weight": (32, 6, 10), "backbone.2.net.0.weight": (32, 32, 5)}
    expected |= {"backbone.3.net.0.weight": (32, 32, 5)}
    expected |= {"backbone.4.weight": (32,), "backbone.4.bias": (32,)}
    expected |= {f"backbone.5.{name}": shape for name, shape in gru.items()}
    for head in ("ssl", "mmcl"):
        expected |= {f"{head}_head.weight": (512, 512), f"{head}_head.bias": (512,)}
    tensors = to_torch_names(random_params(ReleasedConfig()), ReleasedConfig())
    assert {name: value.shape for name, value in tensors.items()} == expected


@pytest.mark.parametrize("config", READOUTS, ids=lambda c: f"{c.readout}-{c.multihead}")
def test_round_trip_is_exact(config):
    params = random_params(config)
    tensors = to_torch_names(params, config)
    again, same = from_torch_names(tensors, config)
    assert same == config
    assert_equal_trees(again, params)


def test_released_architectures_are_recognised():
    primus = ReleasedConfig(channels=8, bins=6, embed_dim=5)
    imu2clip = ReleasedConfig(channels=8, bins=6, embed_dim=5, third_pool="max", multihead=False)
    for config in (primus, imu2clip):
        assert from_torch_names(sine_tensors(config))[1] == config
    with pytest.raises(PrimusError, match="not the weights of an IMU encoder; found conv"):
        from_torch_names({"conv": np.zeros(3)})


def test_every_fault_is_listed_once():
    config = READOUTS[0]
    tensors = sine_tensors(config)
    del tensors["backbone.4.bias"]
    tensors["ssl_head.weight"] = np.zeros((5, 4), np.float32)
    tensors["ssl_head.bias"] = np.full(5, np.nan, np.float32)
    tensors["mmcl_head.bias"] = np.zeros(5, np.int64)
    tensors["video.weight"] = np.zeros(2, np.float32)
    with pytest.raises(PrimusError) as error:
        from_torch_names(tensors, config)
    for fault in (
        "missing: backbone.4.bias [4]",
        "of the wrong shape: ssl_head.weight [5, 4] instead of [5, 5]",
        "holding NaN or infinity: ssl_head.bias",
        "not floating point: mmcl_head.bias int64",
        "unexpected: video.weight [2]",
    ):
        assert str(error.value).count(fault) == 1
    with pytest.raises(
        PrimusError, match=r"missing: pool.weight .* unexpected: gru/b_hh .* gru/w_ih"
    ):
        to_torch_names(
            random_params(config), ReleasedConfig(readout="pool", channels=4, embed_dim=5)
        )
