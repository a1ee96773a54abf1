"""Outputs are whole or not there, and nobody else's folder is replaced."""

import errno
import os

import pytest

from primus_jax.errors import PrimusError
from primus_jax.files import new_folder, read_json, replace_file


def test_a_failure_leaves_what_was_there(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    (tmp_path / "file").write_text("old")

    def write_a_folder():
        with new_folder(tmp_path / "out", overwrite=True) as folder:
            (folder / "new").write_text("new")
            raise RuntimeError

    def write_a_file():
        with replace_file(tmp_path / "file") as file:
            file.write_text("new")
            raise RuntimeError

    for write in (write_a_folder, write_a_file):
        with pytest.raises(RuntimeError):
            write()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "old", "out"]
    assert (tmp_path / "file").read_text() == "old"


def test_overwriting_replaces_an_earlier_result_and_nothing_else(tmp_path):
    for _ in range(2):
        with new_folder(tmp_path / "out", overwrite=True, own=("mine",)) as folder:
            (folder / "mine").write_text("mine")
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    with (
        pytest.raises(PrimusError, match=r"thesis\.txt"),
        new_folder(tmp_path / "out", overwrite=True, own=("mine",)),
    ):
        pass
    assert (tmp_path / "out" / "thesis.txt").read_text() == "precious"


def test_json_that_is_missing_or_damaged_is_named(tmp_path):
    file = tmp_path / "a.json"
    with pytest.raises(PrimusError, match=r"a\.json does not exist\. Expected a download\.$"):
        read_json(file, "Expected a download.")
    for text in ("{", "[" * 200_000):
        file.write_text(text)
        with pytest.raises(PrimusError, match=r"a\.json is not JSON"):
            read_json(file)
    with pytest.raises(PrimusError, match="cannot be read"):
        read_json(tmp_path)
    file.write_text('{"é": [1, null]}', encoding="utf-8")
    assert read_json(file) == {"é": [1, None]}


def test_a_full_disk_is_a_mistake_to_repair(tmp_path):
    for write in (new_folder, replace_file):
        with (
            pytest.raises(PrimusError, match=r"No space left on device\. Make room"),
            write(tmp_path / "out"),
        ):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    # What else goes wrong inside is not about the output.
    with pytest.raises(FileNotFoundError), replace_file(tmp_path / "out"):
        (tmp_path / "nothing").read_text()
    assert not list(tmp_path.iterdir())
