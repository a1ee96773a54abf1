"""ONNX files: float32 agrees with JAX, int8 states its cost, others are not kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.exported import (
    CONFIGS,
    assert_close,
    encoder_of,
    export_of,
    name_of,
    onnx_session,
    windows,
)
from support.tiny_config import MOTION

from primus_jax.errors import PrimusError
from primus_jax.export.onnx import checked_file
from primus_jax.export.onnx.checked_file import CheckWindows, OnnxFile
from primus_jax.models.motif import MotifConfig
from primus_jax.models.resnet1d import ResNet1DConfig
from primus_jax.models.vision.encoder import VisionConfig

RESNETS = [
    ResNet1DConfig(width1=4, width2=6, width3=8),
    ResNet1DConfig(width1=4, width2=6, width3=6, channels=6, multihead=True, head_layers=2),
]

VISIONS = [
    VisionConfig(channels=2, nfft=64, overlap=48, gyroscope="channels"),
    VisionConfig(
        depth=50, channels=2, nfft=32, overlap=20, form="clean", joint=True, gyroscope="image",
        multihead=True,
    ),
]  # fmt: skip
# ResNet-18 on the accelerometer, in all its layers.
VISION = VisionConfig(channels=2, nfft=32, overlap=16)


@pytest.mark.parametrize(
    "config",
    [
        *CONFIGS[2:6],
        *(pytest.param(config, marks=pytest.mark.slow) for config in (*CONFIGS[:2], *CONFIGS[6:])),
        *(pytest.param(config, marks=pytest.mark.slow) for config in (*RESNETS, *VISIONS, VISION)),
    ],
    ids=name_of,
)
def test_onnx_agrees(config, tmp_path):
    pytest.importorskip("onnx")
    encoder, imu = encoder_of(config), windows(config)
    write_onnx = OnnxFile(CheckWindows(imu, "random"))
    about = write_onnx(tmp_path / "m.onnx", encoder.params, config, {"head": "emb"})
    session = onnx_session(tmp_path / "m.onnx")
    assert [output.name for output in session.get_outputs()] == list(config.heads)
    for batch in (imu[:1], imu):
        for head in config.heads:
            [theirs] = session.run([head], {"imu": batch})
            assert_close(encoder.encode_windows(batch, head), theirs)
    assert about["opset"] == 17
    assert 0 <= about["largest_relative_difference"] <= 1e-5


@pytest.mark.parametrize(
    "config", [CONFIGS[1], CONFIGS[4], pytest.param(MOTION, marks=pytest.mark.slow)], ids=name_of
)
def test_int8_says_what_it_costs(config, tmp_path):
    pytest.importorskip("onnx")
    encoder, imu, head = encoder_of(config), windows(config), config.heads[-1]
    check, path = CheckWindows(imu, "random"), tmp_path / "m.onnx"
    about = OnnxFile(check, int8=True)(path, encoder.params, config, {"head": head})
    session = onnx_session(path)
    assert [output.name for output in session.get_outputs()] == [head]
    [theirs] = session.run(None, {"imu": imu})
    ours = encoder.encode_windows(imu, head)
    cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    np.testing.assert_allclose(about["cosine_mean"], cosine.mean(), atol=1e-6)
    np.testing.assert_allclose(about["cosine_lowest"], cosine.min(), atol=1e-6)
    assert 0.99 < about["cosine_lowest"] < 1
    # A window's embedding does not depend on its neighbours in the batch.
    np.testing.assert_allclose(session.run(None, {"imu": imu[2:3]})[0], theirs[2:3], atol=2e-3)
    whole = OnnxFile(check)(tmp_path / "f.onnx", encoder.params, config, {"head": head})
    assert path.stat().st_size < (tmp_path / "f.onnx").stat().st_size
    assert whole["outputs"] == list(config.heads)


@pytest.mark.parametrize(
    "attention", ["sparsemax", pytest.param("released", marks=pytest.mark.slow)]
)
def test_the_distance_agrees(attention, tmp_path):
    pytest.importorskip("onnx")
    config = MotifConfig(features=16, blocks=2, attention=attention)
    encoder, imu = encoder_of(config), windows(config)[:, :90]
    about = OnnxFile(CheckWindows(imu, "random"))(
        tmp_path / "m.onnx", encoder.params, config, {"head": "emb"}
    )
    assert about["outputs"] == ["distance"]
    assert about["input"] == "anchor, candidate float32 [batch, 90, 6]"
    assert 0 <= about["largest_relative_difference"] <= 1e-5
    session = onnx_session(tmp_path / "m.onnx")
    [theirs] = session.run(None, {"anchor": imu[:4], "candidate": imu[2:]})
    module, variables = config.build(), {"params": encoder.params}
    pair = jnp.asarray(imu[..., :3])
    measure = jax.jit(
        lambda anchor, candidate: module.apply(
            variables,
            anchor,
            module.apply(variables, candidate, method="remember"),
            config.attend(training=False),
            method="distance",
        )
    )
    np.testing.assert_allclose(theirs[:, 0], measure(pair[:4], pair[2:]), rtol=2e-5)


def test_a_distance_is_not_written_in_eight_bits(tmp_path):
    config = MotifConfig(features=8, blocks=1)
    with pytest.raises(PrimusError, match="not written in eight bits"):
        export_of(encoder_of(config), tmp_path / "out", int8=True)
    assert not (tmp_path / "out").exists()


def test_greys_that_are_rounded_have_no_graph(tmp_path):
    config = VisionConfig(channels=2, form="released", overlap=116)
    with pytest.raises(PrimusError, match="'released' has no ONNX graph"):
        export_of(encoder_of(config), tmp_path / "out", onnx=True)
    assert not (tmp_path / "out").exists()


def test_a_float_file_that_disagrees_is_not_kept(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(checked_file, "TOLERANCE", 0.0)
    with pytest.raises(PrimusError, match="ONNX differs from JAX"):
        export_of(encoder_of(CONFIGS[0]), tmp_path / "out", onnx=True)
    assert not (tmp_path / "out").exists()
