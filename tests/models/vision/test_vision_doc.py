"""The code of docs/vision.md runs as written."""

import re
from pathlib import Path

import pytest

from primus_jax.encoder import load_encoder
from primus_jax.models.vision.resnet import ResNetConfig

torch = pytest.importorskip("torch")
PAGE = Path(__file__).parents[3] / "docs" / "vision.md"


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    from support.torch_resnet import TorchResNet

    monkeypatch.chdir(tmp_path)
    torch.save(TorchResNet(ResNetConfig(width=2, classes=3)).state_dict(), "resnet18.pth")
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for snippet in snippets:
        exec(snippet, {})
    assert len(snippets) == 3
    assert capsys.readouterr().out == "(8, 96, 128, 3)\n"
    assert load_encoder("encoders/imagenet").config.nfft == 64
