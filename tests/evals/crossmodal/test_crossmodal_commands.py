"""The commands `retrieve` and `zeroshot`: rows, printed tables, output folders, wrong words."""

import dataclasses
import json
import re

import numpy as np
import pytest
from support.tiny_config import POOLED

from primus_jax.cli import main
from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder, load_encoder
from primus_jax.evals.crossmodal import retrieval_report, zeroshot_report

DIRECTIONS = ["imu->text", "text->imu", "imu->video", "video->imu"]
# Of each command, the column that counts the windows, and the files that it writes.
COMMANDS = {
    "retrieve": ("pool", retrieval_report.FILES),
    "zeroshot": ("windows", zeroshot_report.FILES),
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder") / "random"
    Encoder.random(POOLED, 0, 50.0, 2.6).save(folder)
    return folder


@pytest.fixture
def run(encoder, simulated, capsys):
    """Run a command on the validation windows -> (rows written, words printed)."""

    def run(command, out, *words, encoder=encoder, split="validation"):
        given = [command, "--encoder", encoder, "--data", simulated, "--split", split, *words]
        assert main([str(word) for word in [*given, "--out", out]]) == 0
        lines = (out / "results.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines], capsys.readouterr().out

    return run


@pytest.fixture
def refused(encoder, simulated, capsys):
    """Run a command that ends with status 2 and a message like `message`."""

    def refused(message, command, *words, encoder=encoder, split="validation"):
        given = [command, "--encoder", encoder, "--data", simulated, "--split", split, *words]
        assert main([str(word) for word in given]) == 2
        assert re.search(message, capsys.readouterr().err)

    return refused


@pytest.mark.parametrize("command", COMMANDS)
def test_rows_name_their_windows_and_folders_are_not_overwritten(
    command, run, refused, simulated, tmp_path
):
    count, files = COMMANDS[command]
    folder, out = DatasetFolder(simulated), tmp_path / "results"
    rows, printed = run(command, out)
    for row in rows:
        assert row[count] == folder.splits["validation"]
        assert row["head"] == "mmcl"
        assert row["simulated"] is True
        assert row["dataset_hash"] == folder.content_hash
        assert row["provenance"]["packages"]["jax"]
    assert "(simulated)" in printed
    assert sorted(path.name for path in out.iterdir()) == sorted(files)
    refused("already exists", command, "--out", out)
    assert {row["head"] for row in run(command, out, "--overwrite", "--head", "emb")[0]} == {"emb"}
    (out / "mine.txt").write_text("mine")
    refused(r"mine\.txt", command, "--out", out, "--overwrite")


def test_retrieve_reports_every_direction_beside_chance(run, tmp_path):
    rows, printed = run("retrieve", tmp_path / "all")
    assert [row["direction"] for row in rows] == DIRECTIONS
    for row in rows:
        assert f"{100 * row['chance']['recall_at_10']:.2f}" in printed
    rows, _ = run("retrieve", tmp_path / "equal", "--targets", "text", "--equal-texts")
    assert [(row["direction"], row["equal_texts"]) for row in rows] == [
        (direction, True) for direction in DIRECTIONS[:2]
    ]


def test_retrieve_explains_another_width_rate_or_split(encoder, refused, tmp_path):
    refused("no split 'test'.*validation", "retrieve", split="test")
    narrow, out = tmp_path / "narrow", tmp_path / "none"
    Encoder.random(dataclasses.replace(POOLED, embed_dim=16), 0, 50.0, 2.6).save(narrow)
    refused(r"head 'mmcl' has 16 values.* 512", "retrieve", "--out", out, encoder=narrow)
    assert not out.exists()
    load_encoder(encoder, rate_hz=100.0).save(tmp_path / "slow")
    refused("--target-rate 100", "retrieve", encoder=tmp_path / "slow")


def test_zeroshot_takes_prompts_of_some_classes(run, refused, simulated, tmp_path):
    out = tmp_path / "results"
    _, printed = run("zeroshot", out)
    assert "the dataset's own sentences" in printed
    assert (out / "table.md").read_text() in printed

    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps({"walk": ["walking", "she walks"], "run": ["running"]}))
    rng = np.random.default_rng(0)
    embeddings = tmp_path / "embeddings.npz"
    sentences = np.array(["walking", "she walks", "running"])
    np.savez(embeddings, text=sentences, text_embedding=rng.normal(size=(3, 512)))
    chosen = ["--prompts", prompts, "--embeddings", embeddings]
    [row], _ = run("zeroshot", out, *chosen, "--overwrite")
    assert row["label_names"] == ["walk", "run"]
    assert row["prompts"]["walk"] == ["walking", "she walks"]
    counted = row["windows"] + row["left_out"]["no_prompt"]
    assert counted == DatasetFolder(simulated).splits["validation"]

    refused("--prompts needs --embeddings", "zeroshot", "--prompts", prompts)
    np.savez(embeddings, text=sentences, text_embedding=rng.normal(size=(3, 384)))
    refused(r"has 512 values.*384", "zeroshot", *chosen)
    refused("a person is", "zeroshot", "--embeddings", embeddings)
