"""docs/summary.md: every command, in order, as written, in one folder."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from support.chat_server import ChatServer, answer
from support.clip_folder import write_clip_folder
from support.clip_vocabulary import write_vocabulary
from support.user_files import tiny_encoder, write_user_csv

from primus_jax.cli import main
from primus_jax.summary.bouts import COLUMNS
from primus_jax.summary.pairs import DESCRIPTION, EMBEDDINGS, ROWS

PAGE = (Path(__file__).parents[2] / "docs" / "summary.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)
    for line in block.replace("\\\n", " ").strip().splitlines()
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::primus_jax.recordings.arrays.SignalWarning")
def test_every_command_runs_as_written(tmp_path, monkeypatch, simulated, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    encoder = tiny_encoder()
    encoder.save("encoder")
    write_user_csv(Path("my.csv"))
    write_user_csv(Path("monday.csv"), people=("dora",), seed=900, labelled=False)
    Path("told.csv").write_text("recording,seconds,text\nmonday,9,a person climbs\n")
    Path("prompts.json").write_text(json.dumps({"walking": ["a person walks"], "rest": ["rests"]}))
    write_clip_folder(Path("clip"), dim=encoder.config.width("mmcl"), vision=None)
    write_vocabulary(Path("bpe_simple_vocab_16e6.txt.gz"))
    shutil.copytree(simulated, "data/mine")
    units = ["--acc-unit", "g", "--gyro-unit", "deg/s"]
    assert main(["adapt", "my.csv", "--encoder", "encoder", "--label-column", "activity",
                 "--out", "classifier", *units]) == 0  # fmt: skip
    assert len(COMMANDS) == 5
    with ChatServer((200, answer("A walk."))).running() as server:
        for program, *arguments in COMMANDS:
            assert program == "primus-jax"
            here = [server.url if "localhost" in word else word for word in arguments]
            assert main(here) == 0, capsys.readouterr().err
    written = {path.name for folder in Path().glob("monday_*") for path in folder.iterdir()}
    for name in {*written, *(path.name for path in Path("pairs").iterdir())}:
        assert f"`{name}`" in PAGE
    assert {DESCRIPTION, EMBEDDINGS, ROWS} <= {path.name for path in Path("pairs").iterdir()}
    assert {"summary_llm.md", "pairs", "bouts.csv"} <= written
    row = json.loads((Path("pairs") / ROWS).read_text().splitlines()[0])
    assert all(f"`{name}`" in PAGE for name in row)
    header = (Path("monday") / "bouts.csv").read_text().splitlines()[0]
    assert tuple(header.split(",")) == COLUMNS
