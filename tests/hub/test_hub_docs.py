"""docs/weights.md: every command and snippet as written, in a folder of their own."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from primus_jax.cli import main
from primus_jax.encoder import Encoder, load_encoder
from primus_jax.hub.loading import RELEASED_RATES
from primus_jax.models.released import ReleasedConfig

TEXT = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
CONFIG = str(Path(__file__).parents[1] / "support" / "tiny_config.py")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.slow
def test_the_commands_and_snippets_run_as_written(simulated, tmp_path, monkeypatch, capsys):
    torch = pytest.importorskip("torch")
    for package in ("onnx", "onnxruntime", "flatbuffers"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    start = ["pretrain", "--config", CONFIG, "--workdir", "runs/small", "--config.steps=10"]
    assert main([*start, f"--config.data.train=('{simulated}',)"]) == 0
    assert main(["export", "runs/small", "--to", "first"]) == 0
    few = ["fewshot", "--data", str(simulated), "--encoder", "mine=first", "--shots", "1"]
    assert main([*few, "--seeds", "1", "--leaks", "report", "--out", "fewshot"]) == 0
    config = ReleasedConfig(channels=32, embed_dim=16, readout="gru_time")
    Encoder.random(config, 0, rate_hz=50, window_seconds=5).save("over_time")
    save_file(load_file("over_time/model.safetensors"), "weights.safetensors")
    commands = [line.split()[1:] for block in blocks("console") for line in block.splitlines()]
    assert [words[0] for words in commands] == ["import", "export", "export"]
    assert main(commands[0]) == 0
    assert load_encoder("encoders/mine").config == config
    assert main(commands[1]) == 0
    card = Path("encoders/small/README.md").read_text(encoding="utf-8")
    assert "Accuracy: method" in card
    assert 'license: "CC-BY-4.0"' in card
    assert main(commands[2]) == 0
    assert "cosine to float32" in capsys.readouterr().out

    encoder = load_encoder("encoders/small")
    samples = round(encoder.rate_hz * encoder.window_seconds)
    windows = np.random.default_rng(0).normal(size=(3, samples, 6)).astype(np.float32)
    expected = encoder.encode_windows(windows)
    monkeypatch.syspath_prepend("encoders/small")
    monkeypatch.delitem(sys.modules, "modeling_primus", raising=False)
    snippets = blocks("python")
    assert len(snippets) == 3
    for snippet in snippets:
        given = torch.from_numpy(windows) if "modeling_primus" in snippet else windows
        names = {"windows": given}
        exec(snippet, names)
        found = names["embeddings"]
        found = found.detach().numpy() if hasattr(found, "detach") else np.asarray(found)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    sys.modules.pop("modeling_primus", None)


def test_every_checkpoint_of_the_table_is_what_the_code_assumes():
    rows = {line.split("|")[1].strip()[:8]: line for line in TEXT.splitlines() if "| emb" in line}
    for start, third_pool, config in (
        ("PRIMUS `", "adaptive", ReleasedConfig()),
        ("IMU2CLIP", "max", ReleasedConfig(third_pool="max", multihead=False)),
    ):
        assert f"| {RELEASED_RATES[third_pool]:g} Hz |" in rows[start]
        low, high = config.sample_range()
        assert (f"{low} to {high}" if high else f"at least {low}") in rows[start]
