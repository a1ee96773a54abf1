"""Encoders of every architecture with random weights, and their exports."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from primus_jax.commands.check_windows import check_windows
from primus_jax.encoder import Encoder
from primus_jax.export.run import ExportOptions, write_export
from primus_jax.hub.torch_names import to_torch_names
from primus_jax.models.encoders import encoder_to_dict
from primus_jax.models.motion import MotionConfig
from primus_jax.models.released import ReleasedConfig
from support.tiny_config import MOTION, PRIMUS

CONFIGS = [
    PRIMUS,
    ReleasedConfig(channels=8, embed_dim=16, third_pool="max", multihead=False),
    ReleasedConfig(channels=8, embed_dim=16, readout="gru_time", bins=4, input_norm="fixed"),
    ReleasedConfig(channels=8, embed_dim=16, readout="gru_time", third_pool="max", multihead=False),
    ReleasedConfig(channels=8, embed_dim=16, readout="pool", activation="gelu", head_layers=2),
    ReleasedConfig(channels=8, embed_dim=16, readout="pool", third_pool="max"),
    ReleasedConfig(channels=6, embed_dim=16, norm="layer"),
    ReleasedConfig(channels=6, embed_dim=16, norm="instance", third_pool="max", multihead=False),
    ReleasedConfig(channels=6, embed_dim=16, norm="layer", input_norm="fixed", readout="gru_time"),
    MOTION,
    MotionConfig(channels=4, multihead=False),
]


def name_of(config):
    """What a test's id shows of a config."""
    return "-".join(map(str, dataclasses.astuple(config)))


def windows(config, n=6, seed=0):
    """Gravity, smooth movement, and one window that lies still."""
    low, high = config.sample_range()
    time = high or max(low, 250)
    rng = np.random.default_rng(seed)
    imu = rng.normal(size=(n, time, 6)).cumsum(1) / 4
    imu[:, :, :3] += rng.normal(size=(n, 1, 3)) * 6
    imu[0] = [0, 0, 9.81, 0, 0, 0]
    return imu.astype(np.float32)


def encoder_of(config, seed=1):
    """Random weights, without the compilation that `Encoder.random` needs."""
    imu, rng = windows(config, 1), np.random.default_rng(seed)
    shapes = jax.eval_shape(config.build().init, jax.random.key(0), imu)["params"]
    params = jax.tree_util.tree_map_with_path(
        lambda path, leaf: np.float32(
            rng.normal(size=leaf.shape) * 0.2 + (path[-1].key in ("scale", "running_var"))
        ),
        shapes,
    )
    return Encoder(config, params, rate_hz=50, window_seconds=imu.shape[1] / 50)


def assert_close(ours, theirs):
    """Within 1e-5 of the largest value."""
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(1, np.abs(ours).max()))


def module_of(encoder):
    """PyTorch, and its module with the weights of `encoder`."""
    torch = pytest.importorskip("torch")
    from primus_jax.hub.modeling_primus import PrimusEncoder

    module = PrimusEncoder(encoder_to_dict(encoder.config), encoder.head)
    tensors = to_torch_names(encoder.params, encoder.config)
    module.load_state_dict({name: torch.tensor(value) for name, value in tensors.items()})
    return torch, module


def export_of(encoder, folder, check_data=None, **options):
    """Export `encoder` with more formats; returns the description."""
    return write_export(
        folder,
        encoder.params,
        encoder.config,
        ExportOptions(
            head=encoder.head,
            check_windows=functools.partial(check_windows, check_data),
            **options,
        ),
        rate_hz=encoder.rate_hz,
        window_seconds=encoder.window_seconds,
        provenance={},
    )


def onnx_session(path):
    """An ONNX file, open in onnxruntime on the CPU."""
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
