"""What an export writes beside weights: StableHLO, card, description; options that are refused."""

import json
import re
import sys

import numpy as np
import pytest
from jax import export
from support.exported import CONFIGS, assert_close, encoder_of, export_of, name_of, windows
from support.tiny_config import MOTION

from primus_jax.commands.check_windows import simulated_windows
from primus_jax.errors import PrimusError


@pytest.mark.parametrize(
    "config", [CONFIGS[0], pytest.param(MOTION, marks=pytest.mark.slow)], ids=name_of
)
def test_stablehlo_needs_only_jax(config, tmp_path):
    pytest.importorskip("flatbuffers")
    encoder, imu = encoder_of(config), windows(config)
    export_of(encoder, tmp_path / "out", stablehlo=True)
    exported = export.deserialize((tmp_path / "out" / "model.stablehlo").read_bytes())
    for batch in (imu[:1], imu):
        outputs = exported.call(batch)
        for head in config.heads:
            assert_close(encoder.encode_windows(batch, head), np.asarray(outputs[head]))


def test_card_and_description(tmp_path):
    pytest.importorskip("onnxruntime")
    encoder = encoder_of(CONFIGS[0])
    options = {"onnx": True, "int8": True, "licence": "CC-BY-4.0"}
    description = export_of(encoder, tmp_path / "out", **options)
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == description
    names = {"model.safetensors", "config.json", "README.md", "modeling_primus.py"}
    onnx = {"model.onnx", "model_int8.onnx"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names | onnx
    assert set(description["files"]) == onnx
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith('---\nlicense: "CC-BY-4.0"\n')
    for heading in ("Intended use", "Limits", "Evaluation", "Licence", "Citation"):
        assert f"## {heading}\n" in card
    assert f"{description['files']['model_int8.onnx']['cosine_mean']:.5f} on average" in card
    assert "Not evaluated." in card
    for key in ("units", "axes", "normalisation", "head", "license", "metrics", "provenance"):
        assert key in description


def test_missing_packages_name_their_extra(tmp_path, monkeypatch):
    encoder = encoder_of(CONFIGS[0])
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(PrimusError, match=re.escape("primus-jax[onnx]")):
        export_of(encoder, tmp_path / "out", onnx=True)
    for name in ("flatbuffers", "jax._src.export.serialization"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PrimusError, match=re.escape("primus-jax[stablehlo]")):
        export_of(encoder, tmp_path / "out", stablehlo=True)
    assert list(tmp_path.iterdir()) == []


def test_wrong_options_are_explained(tmp_path, simulated):
    encoder = encoder_of(CONFIGS[1])
    encoder.head = "ssl"
    with pytest.raises(PrimusError, match="no heads; use emb"):
        export_of(encoder, tmp_path / "out")
    encoder.head = "emb"
    with pytest.raises(PrimusError, match="this encoder expects"):
        export_of(encoder, tmp_path / "out", onnx=True, check_data=simulated)
    (tmp_path / "rows.jsonl").write_text('{"method": "x"}\n')
    for file, message in (("rows.jsonl", "not a results.jsonl"), ("none", "cannot read")):
        with pytest.raises(PrimusError, match=message):
            export_of(encoder, tmp_path / "out", results=tmp_path / file)


def test_check_windows_of_any_rate_and_length():
    for rate, seconds in ((50, 5), (25, 1), (5, 4), (800, 0.5)):
        imu = simulated_windows(rate, seconds).imu
        assert imu.shape[1:] == (rate * seconds, 6)
        assert imu.dtype == np.float32
        assert np.isfinite(imu).all()
