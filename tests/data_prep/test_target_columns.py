"""`prepare table --target-column`: numbers of a user's table in a dataset folder."""

import json

import numpy as np
import pytest
from support.recording_files import people, table_columns, write_csv

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.write import write_dataset
from primus_jax.cli import main
from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.reports.dataset import describe_dataset


def prepare(tmp_path, columns, *names):
    file = write_csv(tmp_path / "walk.csv", columns)
    words = ["prepare", "table", str(file), "--out", str(tmp_path / "data"), "--window", "2"]
    words += ["--splits", "1", "0", "0"]
    return main([*words, *(word for name in names for word in ("--target-column", name))])


def test_a_column_becomes_a_number_of_each_window(tmp_path):
    rate, samples = 100.0, 1000
    time = np.arange(samples) / rate
    pulse = np.where(np.arange(samples) % 100 == 0, 60 + 2 * np.floor(time), np.nan)
    pulse[400:600] = np.nan
    cells = ["" if np.isnan(value) else f"{value:g}" for value in pulse]
    columns = table_columns(samples, rate, pulse=cells, speed=time)
    assert prepare(tmp_path, columns, "pulse", "speed") == 0
    folder = DatasetFolder(tmp_path / "data")
    assert folder.target_names == ("pulse", "speed")
    assert "targets    pulse, speed" in describe_dataset(folder)
    found = np.stack([row["targets"] for rows in folder.windows("train") for row in rows])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], [61, 65, np.nan, 73, 77])
    np.testing.assert_allclose(found[:, 1], np.arange(5) * 2 + 0.995, atol=1e-5)


def test_a_cut_recording_keeps_its_numbers_in_time(tmp_path):
    columns = table_columns(1000, speed=np.arange(1000) / 50)
    columns["label"] = ["sit"] * 500 + ["walk"] * 500
    assert prepare(tmp_path, columns, "speed") == 0
    rows = [row for rows in DatasetFolder(tmp_path / "data").windows("train") for row in rows]
    for row in rows:
        np.testing.assert_allclose(row["targets"], row["start_seconds"] + 0.99, atol=1e-4)
    assert len(rows) == 10


@pytest.mark.parametrize(
    ("cells", "names", "message"),
    [
        (None, ["speed"], "no column 'speed'"),
        (["fast"] * 1000, ["speed"], "walk.csv, line 2"),
    ],
)
def test_columns_that_are_not_numbers(tmp_path, capsys, cells, names, message):
    columns = table_columns(1000, **({} if cells is None else {"speed": cells}))
    assert prepare(tmp_path, columns, *names) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_recordings_of_a_dataset_have_the_same_targets(tmp_path):
    known = np.array([[1.0, 2.0]])
    recordings = [*people(3, 1, targets={"a": known}), *people(4, 1, targets={"b": known})[3:]]
    with pytest.raises(PrimusError, match=r"has the targets \['a'\], and 'p3-0' has \['b'\]"):
        write_dataset(recordings, tmp_path / "data", Origin("a test", "none"), Recipe())
    assert not (tmp_path / "data").exists()


def test_a_folder_without_targets_states_none(tmp_path):
    assert prepare(tmp_path, table_columns(1000)) == 0
    folder = DatasetFolder(tmp_path / "data")
    assert folder.target_names == ()
    assert "target_names" not in json.loads((tmp_path / "data/metadata.json").read_text())
    assert "targets" not in folder.source("train")[0]
