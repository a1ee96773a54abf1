"""Whose classifier starts at class prompts, and what is logged about that."""

import pytest

from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder
from primus_jax.evals.fewshot.class_prompts import head_start
from primus_jax.evals.fewshot.comparison import compare
from primus_jax.evals.fewshot.draws import DrawOptions
from primus_jax.evals.fewshot.paper_config import PaperConfig
from primus_jax.evals.fewshot.protocol import Protocol
from primus_jax.models.released import ReleasedConfig

DIM = 512  # of the stored sentences
WIDE = ReleasedConfig(readout="pool", channels=4, embed_dim=DIM)
TRAINED = {"config": {"objective": {"multimodal": True, "targets": ["text", "video"]}}}
IMU_ONLY = {"config": {"objective": {"multimodal": False, "targets": ["text"]}}}


def encoder(metadata, config=WIDE) -> Encoder:
    made = Encoder.random(config, 0, 50.0, 2.6)
    made.metadata = metadata
    return made


@pytest.fixture(scope="module")
def folder(simulated) -> DatasetFolder:
    return DatasetFolder(simulated)


def test_trained_with_text(folder):
    start = head_start("folder", encoder(TRAINED), folder)
    assert (start.head, start.note) == ("mmcl", "")
    assert start.class_embedding.shape == (len(folder.label_names), DIM)
    assert head_start(None, encoder(TRAINED), folder).class_embedding is None


@pytest.mark.parametrize("metadata", [IMU_ONLY, {"random_seed": 0}])
def test_trained_without_text(folder, metadata):
    start = head_start("folder", encoder(metadata), folder)
    assert (start.head, start.class_embedding) == ("emb", None)
    assert "starts at random, since the encoder" in start.note


def test_imported_weights_that_state_nothing_start_at_the_prompts_with_a_sentence(folder):
    start = head_start("folder", encoder({"source": "theirs.pt"}), folder)
    assert start.head == "mmcl"
    assert start.class_embedding is not None
    assert "does not state its training, so its head 'mmcl' is taken as trained" in start.note


def test_imported_weights_of_another_width_start_at_random_with_a_sentence(folder):
    single = ReleasedConfig(readout="pool", channels=4, embed_dim=16, multihead=False)
    start = head_start("folder", encoder({}, single), folder)
    assert (start.head, start.class_embedding) == ("emb", None)
    assert "its head 'emb' has 16 values, the class prompts 512" in start.note
    assert head_start("folder", None, folder).note == ""


def test_the_comparison_logs_the_sentence(folder):
    lines = []
    protocol = Protocol("paper", paper=PaperConfig(epochs=1), prompts="folder")
    (row,) = compare(
        {"theirs": [encoder({})]}, [folder], DrawOptions((1,), 1), protocol=protocol,
        log=lines.append,
    )  # fmt: skip
    assert row["head"] == "mmcl"
    assert row["classifier"]["head_init"] == "class prompts"
    assert any("theirs: its classifier starts at the class prompts" in line for line in lines)
