"""metadata.json: what is written is what is read, and folders of earlier versions are read.

tests/golden holds two files that version 0.1.0 wrote: of a simulated dataset, and of a corpus whose
sentences were embedded.
"""

import dataclasses
import json
from pathlib import Path

import pytest

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from data_prep.simulated.simulate import recordings
from primus_jax.data.metadata import (
    CorpusVersion,
    Shard,
    StoredTokens,
    StoredTower,
    read_metadata,
    write_metadata,
)
from primus_jax.errors import PrimusError
from primus_jax.recordings.windows import WindowSpec

GOLDEN = Path(__file__).parents[1] / "golden"
# Of the dataset of tests/golden/metadata_simulated.json, as version 0.1.0 made it.
CONTENT = "9687b880855d9377ecccf02ffd634cb1"


@pytest.fixture(params=["simulated", "embedded"])
def old(request, tmp_path) -> Path:
    """A folder with the metadata of an earlier version."""
    text = (GOLDEN / f"metadata_{request.param}.json").read_bytes()
    (tmp_path / "metadata.json").write_bytes(text)
    return tmp_path


def changed(folder: Path, **values) -> Path:
    """Set keys of a folder's metadata; `...` removes one."""
    file = folder / "metadata.json"
    stated = json.loads(file.read_text()) | values
    file.write_text(json.dumps({k: v for k, v in stated.items() if v is not ...}))
    return folder


def test_what_is_read_is_written_again_byte_by_byte(old, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    write_metadata(again, read_metadata(old))
    assert (again / "metadata.json").read_bytes() == (old / "metadata.json").read_bytes()


@pytest.mark.parametrize("old", ["embedded"], indirect=True)
def test_attributes_have_types(old):
    stated = read_metadata(old)
    assert stated.corpus == CorpusVersion("planted", "7")
    assert stated.failed == {"take 03": "take 03.csv, line 3: the clock stands still."}
    assert stated.facts == {"planted by": "a test"}
    assert stated.tensors == {"imu": (100, 6), "tokens": (77,), "text_embedding": (16,)}
    assert stated.shards["validation"][1] == Shard(
        "planted-validation.array_record-00001-of-00002", 7, 131072
    )
    assert isinstance(stated.tokenizer, StoredTokens)
    assert stated.tokenizer.length == 77
    assert isinstance(stated.towers["text"], StoredTower)
    assert stated.towers["video"] is None
    assert stated.embedded.kinds == ("text",)
    assert stated.windows_with_text == sum(c.with_text_embedding for c in stated.counts.values())
    assert stated.split_fractions == (0.5, 0.5, 0.0)


def test_keys_that_are_not_known_are_kept(old, tmp_path):
    stated = read_metadata(changed(old, mood={"of": ["the", "day"]}))
    assert stated.facts["mood"] == {"of": ["the", "day"]}
    changed_name = dataclasses.replace(stated, name="other")
    write_metadata(tmp_path, changed_name)
    assert read_metadata(tmp_path) == changed_name
    assert list(json.loads((tmp_path / "metadata.json").read_text()))[-1] == "mood"


def test_an_earlier_version_had_fewer_keys(old):
    newer = ("corpus", "failed", "placement", "towers", "embedded", "counts", "hop_seconds")
    stated = read_metadata(changed(old, **dict.fromkeys(newer, ...), split_published=None))
    assert (stated.corpus, stated.failed, stated.placement) == (None, {}, {})
    assert (stated.towers, stated.embedded, stated.counts) == ({}, None, {})
    assert stated.hop_seconds == stated.window_seconds == stated.window_samples / 50
    assert stated.split_published is False


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rate_hz", "50"),
        ("rate_hz", True),
        ("window_samples", 2.5),
        ("label_names", "walk"),
        ("label_names", [1]),
        ("tensors", {"imu": ["a"]}),
        ("shards", {"train": [{"file": "a", "examples": 3}]}),
        ("shards", {"train": ["a"]}),
        ("embedding_dim", ...),
        ("embedding_dim", "8"),
        ("content_hash", None),
        ("simulated", 1),
        ("corpus", "Ego4D"),
        ("counts", {"train": {"windows": "many"}}),
        ("towers", {"text": {"digest": "0"}}),
    ],
)
def test_a_damaged_key_is_named(old, key, value):
    with pytest.raises(PrimusError, match=rf"metadata\.json: '{key}' is missing or damaged"):
        read_metadata(changed(old, **{key: value}))


def test_the_folder_is_not_a_dataset(tmp_path):
    with pytest.raises(PrimusError, match=r"metadata\.json does not exist\. .*primus-jax prepare"):
        read_metadata(tmp_path)


def test_a_new_dataset_has_the_keys_and_the_content_of_version_0_1_0(tmp_path):
    made = write_dataset(
        recordings(seed=5, people=3, bouts=1, seconds=2.6),
        tmp_path / "simulated",
        Origin("simulated", "Apache-2.0", simulated=True),
        Recipe(WindowSpec(seconds=2.6, hop_seconds=2.6), Splits((0.5, 0.5, 0.0), seed=0)),
    )
    assert made.content_hash == CONTENT
    new, old = (
        json.loads(file.read_text())
        for file in (made.path / "metadata.json", GOLDEN / "metadata_simulated.json")
    )
    assert list(new) == list(old)
    # Versions of packages may compress shards to other sizes.
    for stated in (new, old):
        del stated["made_with"]
        for shard in (shard for shards in stated["shards"].values() for shard in shards):
            assert shard.pop("bytes") > 0
    assert new == old
