"""A corpus becomes the same dataset on any engine, however often it is stopped."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.corpora import PlantedCorpus, log, prepare

from data_prep.dataset.beam import BeamEngine
from data_prep.dataset.pool import LocalPool
from data_prep.dataset.recipe import OFFICIAL
from primus_jax.data.folder import DatasetFolder
from primus_jax.data.metadata import CorpusVersion
from primus_jax.errors import PrimusError
from primus_jax.recordings.windows import WindowSpec

TESTS = os.pathsep.join(str(folder) for folder in Path(__file__).parents[:2])


def shards(folder: DatasetFolder) -> dict[str, bytes]:
    files = [s.file for members in folder.metadata.shards.values() for s in members]
    files.append("people.npz")
    assert {f.name for f in folder.path.iterdir()} == {
        *files, "metadata.json", "features.json", "dataset_info.json", "label.labels.txt"
    }  # fmt: skip
    return {name: (folder.path / name).read_bytes() for name in files}


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> DatasetFolder:
    """Five units prepared by one worker."""
    folder = tmp_path_factory.mktemp("plain")
    return prepare(PlantedCorpus(folder), folder / "out", LocalPool(1))


def test_units_lie_in_their_order_with_everything_counted(plain):
    assert len(plain.metadata.shards["train"]) > 1
    recordings = [w["recording"] for split in plain.splits for w in plain.source(split)]
    in_split = dict.fromkeys(recordings)
    for split in plain.splits:
        own = list(dict.fromkeys(w["recording"] for w in plain.source(split)))
        assert own == sorted(own)
    assert len(in_split) == 10
    meta = plain.metadata
    assert meta.corpus == CorpusVersion("planted", "7")
    assert meta.placement == {"head": len(recordings)}
    assert meta.failed == {}
    assert meta.towers == {"text": None, "video": None}
    assert meta.drops == {"rows without a sensor": 0 + 1 + 2 + 3 + 4}
    assert (meta.source, meta.licence) == ("made by a test", "CC0")
    assert meta.facts["planted by"] == "a test"
    assert sum(c.with_text for c in meta.counts.values()) == 10
    walking = sum((8 + n) // 2 for n in range(5))
    assert sum(c.labels.get("walking", 0) for c in meta.counts.values()) == walking
    assert not plain.path.with_name("out.partial").exists()


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(plain, tmp_path):
    other = prepare(PlantedCorpus(tmp_path), tmp_path / "out", LocalPool(3))
    assert shards(other) == shards(plain)
    assert other.content_hash == plain.content_hash


def test_beam_in_one_process_changes_nothing(plain, tmp_path):
    engine = BeamEngine("DirectRunner", ("--direct_running_mode=in_memory",))
    other = prepare(PlantedCorpus(tmp_path), tmp_path / "out", engine)
    assert shards(other) == shards(plain)
    assert other.content_hash == plain.content_hash


@pytest.mark.slow
def test_beam_with_two_worker_processes_changes_nothing(plain, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", TESTS)
    options = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
    corpus = PlantedCorpus(tmp_path)
    (tmp_path / "take 03.bug").touch()
    other = prepare(corpus, tmp_path / "out", BeamEngine("DirectRunner", options))
    assert other.metadata.failed == {"take 03": "KeyError: 'uid'"}
    (tmp_path / "take 03.bug").unlink()
    engine = BeamEngine("DirectRunner", options)
    other = prepare(corpus, tmp_path / "out", engine, overwrite=True)
    assert log(tmp_path).count("take 03") == 2
    assert len(log(tmp_path)) == 6
    assert shards(other) == shards(plain)
    assert other.content_hash == plain.content_hash


@pytest.mark.slow
def test_a_killed_worker_costs_one_attempt(plain, tmp_path):
    (tmp_path / "take 01.kill").write_text("1")
    other = prepare(PlantedCorpus(tmp_path), tmp_path / "out")
    assert log(tmp_path).count("take 01") == 2
    assert shards(other) == shards(plain)


@pytest.mark.slow
def test_a_unit_that_kills_its_workers_fails_alone(tmp_path, capsys):
    (tmp_path / "take 01.kill").write_text("9")
    folder = prepare(PlantedCorpus(tmp_path), tmp_path / "out")
    assert log(tmp_path).count("take 01") == 2
    assert list(folder.metadata.failed) == ["take 01"]
    assert "died 2 times (signal 9)" in folder.metadata.failed["take 01"]
    assert "FAILED take 01: its worker" in capsys.readouterr().out
    units = {w["recording"][:7] for split in folder.splits for w in folder.source(split)}
    assert units == {"take 00", "take 02", "take 03", "take 04"}


def test_failed_units_are_listed_and_prepared_later(plain, tmp_path, capsys):
    corpus = PlantedCorpus(tmp_path)
    (tmp_path / "take 00.broken").touch()
    (tmp_path / "take 03.bug").touch()
    folder = prepare(corpus, tmp_path / "out")
    assert folder.metadata.failed == {
        "take 00": "take 00.csv, line 3: the clock stands still.",
        "take 03": "KeyError: 'uid'",
    }
    printed = capsys.readouterr().out
    assert "FAILED take 00: take 00.csv, line 3" in printed
    assert "--overwrite" in printed
    assert len(log(tmp_path)) == 5
    (tmp_path / "take 00.broken").unlink()
    folder = prepare(corpus, tmp_path / "out", overwrite=True)
    assert list(folder.metadata.failed) == ["take 03"]
    assert len(log(tmp_path)) == 7
    (tmp_path / "take 03.bug").unlink()
    folder = prepare(corpus, tmp_path / "out", overwrite=True)
    assert shards(folder) == shards(plain)
    assert not (tmp_path / "out.partial").exists()


def test_all_units_failing_is_an_error_that_leaves_no_folder(tmp_path):
    corpus = PlantedCorpus(tmp_path, count=2)
    for unit in corpus.units():
        (tmp_path / f"{unit}.broken").touch()
    with pytest.raises(PrimusError, match=r"all 2 units of planted failed.*stands still"):
        prepare(corpus, tmp_path / "out")
    assert not (tmp_path / "out").exists()


SCRIPT = """
import sys
from pathlib import Path
from support.corpora import PlantedCorpus, prepare
if __name__ == "__main__":
    prepare(PlantedCorpus(Path(sys.argv[1])), Path(sys.argv[1]) / "out")
"""


def test_a_killed_run_goes_on_where_it_was(plain, tmp_path):
    (tmp_path / "parent").touch()
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": TESTS}
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path)]
    first = subprocess.run(command, env=environment, capture_output=True, timeout=120)
    assert first.returncode == -signal.SIGKILL, first.stderr.decode()
    assert log(tmp_path) == ["take 00", "take 01", "take 02"]
    assert not (tmp_path / "out").exists()
    # what a killed writer leaves behind
    (tmp_path / "out.partial" / ".left.array_record").write_bytes(b"half")
    lines = []
    folder = prepare(PlantedCorpus(tmp_path), tmp_path / "out", log=lines.append)
    assert shards(folder) == shards(plain)
    assert lines[0].startswith("  going on: ")
    assert log(tmp_path).count("take 00") == log(tmp_path).count("take 01") == 1


@pytest.mark.slow
def test_a_cut_part_is_made_again(plain, tmp_path):
    corpus = PlantedCorpus(tmp_path)
    (tmp_path / "take 04.broken").touch()
    prepare(corpus, tmp_path / "out")
    (tmp_path / "take 04.broken").unlink()
    summaries = sorted((tmp_path / "out.partial").glob("*.json"))
    part = next(f for f in summaries if json.loads(f.read_text()).get("unit") == "take 02")
    data = part.with_suffix(".array_record")
    data.write_bytes(data.read_bytes()[:-100])
    folder = prepare(corpus, tmp_path / "out", overwrite=True)
    assert sorted(log(tmp_path)[5:]) == ["take 02", "take 04"]
    assert shards(folder) == shards(plain)


def test_other_settings_do_not_mix_with_unfinished_work(tmp_path):
    corpus = PlantedCorpus(tmp_path)
    (tmp_path / "take 04.broken").touch()
    prepare(corpus, tmp_path / "out")
    for other, options, word in (
        (corpus, {"spec": WindowSpec(50.0, 3.0, 2.0)}, "windows"),
        (PlantedCorpus(tmp_path, version="8"), {}, "corpus version"),
        (PlantedCorpus(tmp_path, count=4), {}, "setting count: 5, now 4"),
    ):
        with pytest.raises(PrimusError, match=f"another {word}.*delete that folder"):
            prepare(other, tmp_path / "out", overwrite=True, **options)
    with pytest.raises(PrimusError, match="already exists"):
        prepare(corpus, tmp_path / "out")


def test_the_official_split(tmp_path):
    folder = prepare(PlantedCorpus(tmp_path), tmp_path / "out", splits=OFFICIAL)
    assert folder.metadata.groups == {"train": ("p1", "p2"), "test": ("p0",)}
    assert folder.metadata.split_published is True
    assert folder.metadata.split_fractions is None
    drops = folder.metadata.drops
    assert drops["recordings that the official split does not name"] == 2


def test_no_units(tmp_path):
    with pytest.raises(PrimusError, match="planted 7: nothing to prepare"):
        prepare(PlantedCorpus(tmp_path, count=0), tmp_path / "out")


def test_an_unknown_runner():
    with pytest.raises(PrimusError, match="Unexpected pipeline runner: AbacusRunner"):
        BeamEngine("AbacusRunner")


READ = """
import json, sys
import grain
from array_record.python.array_record_data_source import ArrayRecordDataSource
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2
folder, shards = sys.argv[1], sys.argv[2:]
source = tfds.builder_from_directory(folder).as_data_source("train")
batches = grain.MapDataset.source(source).map(lambda e: e["imu"]).batch(4)
batch = next(iter(batches.to_iter_dataset()))
records = ArrayRecordDataSource(shards)
texts = [
    tf_example_pb2.Example.FromString(records[i]).features.feature["text"].bytes_list.value[0]
    for i in range(len(records))
]
assert [e["text"] for e in source] == texts
alone = not [m for m in sys.modules if m.startswith(("primus_jax", "data_prep", "tensorflow."))]
print(json.dumps([alone, len(source), batch.tolist()]))
"""


def test_the_shards_are_read_without_this_project(plain):
    files = [str(plain.path / s.file) for s in plain.metadata.shards["train"]]
    command = [sys.executable, "-c", READ, str(plain.path), *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    alone, count, batch = json.loads(done.stdout)
    assert alone
    assert count == plain.splits["train"]
    source = plain.source("train")
    np.testing.assert_array_equal(np.float32(batch), np.stack([source[i]["imu"] for i in range(4)]))
