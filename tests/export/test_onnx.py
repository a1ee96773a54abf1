"""ONNX files: float32 agrees with JAX, int8 states its cost, others are not kept."""

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


@pytest.mark.parametrize("config", CONFIGS, ids=name_of)
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


@pytest.mark.parametrize("config", [CONFIGS[1], CONFIGS[4], MOTION], ids=name_of)
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


def test_a_float_file_that_disagrees_is_not_kept(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(checked_file, "TOLERANCE", 0.0)
    with pytest.raises(PrimusError, match="ONNX differs from JAX"):
        export_of(encoder_of(CONFIGS[0]), tmp_path / "out", onnx=True)
    assert not (tmp_path / "out").exists()
