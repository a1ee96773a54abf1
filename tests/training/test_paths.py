"""A folder may have any name that a file system permits."""

import json
import shutil
import string
import tempfile
from pathlib import Path

import pytest
from support.process_runs import CONFIG

from primus_jax.cli import main
from primus_jax.hub.loading import read_encoder

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:absl")
PRINTABLE = "".join(sorted(set(string.printable) - set(string.whitespace) - {"/"}))
SHORT = (
    "--config.optim.warmup_steps=1",
    "--config.optim.schedule=constant",
    "--config.checkpoint.every=2",
    "--config.devices=1",
    "--config.objective.multimodal=False",
    "--config.objective.neighbors=False",
)


@pytest.mark.parametrize(
    ("parent", "name"),
    [pytest.param("layers=[2,2]", f"a ä {PRINTABLE}", marks=pytest.mark.slow), ("**", "run*")],
    ids=("all", "stars"),
)
def test_pretrain_resume_and_export(simulated, tmp_path, capsys, parent, name):
    folder = tmp_path / parent / name
    # A pattern of the same letters would find this one.
    (tmp_path / "ab" / "run1" / "run" / "checkpoints" / "2").mkdir(parents=True)
    data = folder / "data[0:9]"
    data.parent.mkdir(parents=True)
    shutil.copytree(simulated, data)
    arguments = ["pretrain", "--config", CONFIG, "--workdir", str(folder / "run")]
    arguments += [f"--config.data.train=({str(data)!r},)", *SHORT]
    for steps in (2, 4):
        assert main([*arguments, f"--config.steps={steps}"]) == 0
    assert "resuming at step 2 of 4" in capsys.readouterr().out
    assert main(["export", str(folder / "run"), "--to", str(folder / "out")]) == 0
    again = ["export", str(folder / "run"), "--to", str(folder / "again"), "--rate", "50"]
    assert main(again) == 2
    assert "Leave out --rate and --window" in capsys.readouterr().err
    assert read_encoder(folder / "out")[2]["provenance"]["step"] == 4
    assert read_encoder(folder / "out" / "model.safetensors")[2]["rate_hz"] == 50
    rows = (folder / "run" / "metrics.jsonl").read_text().splitlines()
    assert [row["step"] for row in map(json.loads, rows) if "loss" in row] == [1, 2, 3, 4]
    assert not list(Path(tempfile.gettempdir()).glob("primus-jax-????????????????"))
