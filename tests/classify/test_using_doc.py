"""docs/using.md: every command and snippet, in order, as written, in one folder."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from support.clip_folder import write_clip_folder
from support.clip_vocabulary import write_vocabulary
from support.user_files import tiny_encoder, write_user_csv

from primus_jax import SignalWarning
from primus_jax.cli import main
from primus_jax.encoder import Encoder
from primus_jax.models.released import ReleasedConfig

PAGE = (Path(__file__).parents[2] / "docs" / "using.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.filterwarnings("ignore::primus_jax.recordings.arrays.SignalWarning")
def test_every_block_runs_as_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    encoder: Encoder = tiny_encoder()
    encoder.save("encoder")
    write_user_csv(Path("my.csv"))
    write_user_csv(Path("monday.csv"), people=("dora",), seed=900, labelled=False)
    write_clip_folder(Path("clip"), dim=encoder.config.embed_dim, vision=None)
    write_vocabulary(Path("bpe_simple_vocab_16e6.txt.gz"))
    names: dict = {}
    assert {language for language, _ in BLOCKS} == {"python", "bash"}
    for language, block in BLOCKS:
        if language == "python":
            exec(block, names)
            continue
        for line in block.strip().splitlines():
            program, *arguments = shlex.split(line)
            assert program == "primus-jax"
            assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "People were left out in turn" in said
    assert names["embedding"].shape == (1, encoder.config.embed_dim)
    assert len(names["times"]) == len(names["embeddings"])
    assert len(names["matches"]["a person climbs stairs"]) == 3
    written = {path.name for folder in ("classifier", "monday") for path in Path(folder).iterdir()}
    for name in written:
        assert f"`{name}`" in PAGE
    assert len(written) == 6


def test_the_table_of_inputs_is_true():
    released = ReleasedConfig()
    assert released.sample_range() == (123, None)
    assert ReleasedConfig(third_pool="max", multihead=False).sample_range() == (978, 1004)
    assert issubclass(SignalWarning, UserWarning)
    encoder = tiny_encoder()
    with pytest.warns(SignalWarning, match=r"12\.5 to 25 Hz"):
        encoder.encode(np.tile([0, 9.8, 0, 0, 0, 0], (75, 1)), 25)
