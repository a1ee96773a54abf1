"""`primus-jax prepare CORPUS`: from the words of a command to a folder and an exit status."""

import pytest
from support.miniature_egoexo4d import FakeTake, write_download

from primus_jax.cli import main
from primus_jax.data.folder import DatasetFolder

SPLITS = ["--splits", "1", "0", "0"]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A download of three takes, the first with video, the second with a broken table."""
    takes = [
        FakeTake(f"lab_cook_{i}_2", 12.0, ((4.0, "C stirs."), (8.0, "C tastes.")), video=i == 0)
        for i in range(3)
    ]
    folder = write_download(tmp_path_factory.mktemp("egoexo4d") / "raw", takes)
    (table,) = (folder / "takes" / takes[1].name).glob("*imu-right.csv")
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:50], "broken", *lines[50:]]) + "\n")
    return folder, takes, table, lines


def test_the_folder_must_be_free_before_any_work(raw, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years")
    command = ["prepare", "egoexo4d", "--raw", str(raw[0]), "--out", str(out), *SPLITS]
    assert main(command) == 2
    assert "already exists" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 2
    assert "not a dataset folder" in capsys.readouterr().err
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "-1"], "--workers -1; expected a number from 0"),
        (["--beam-options=--project=x"], "--beam-options needs --beam-runner"),
        (["--beam-runner", "AbacusRunner"], "Unexpected pipeline runner"),
        (["--beam-runner", "DirectRunner", "--workers", "3"], "--workers is for this machine"),
        (["--beam-runner", "DirectRunner", "--beam-options", "'"], "--beam-options"),
        (["--frames", "-1"], "window frames -1"),
        (["--frame-size", "0"], "window frame_size 0"),
        (["--splits", "all"], "expected three fractions, or the word official"),
    ],
)
def test_wrong_words(raw, tmp_path, capsys, words, message):
    command = ["prepare", "egoexo4d", "--raw", str(raw[0]), "--out", str(tmp_path / "out"), *words]
    assert main(command) == 2
    assert message in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == set()


@pytest.mark.slow
def test_a_broken_file_gives_status_3_and_can_be_repaired(raw, tmp_path, capsys):
    folder, takes, table, lines = raw
    out = tmp_path / "out"
    command = ["prepare", "egoexo4d", "--raw", str(folder), "--out", str(out), *SPLITS]
    command += ["--frames", "2", "--frame-size", "32", "--workers", "1"]
    assert main(command) == 3
    made = DatasetFolder(out)
    assert list(made.metadata.failed) == [takes[1].uid]
    assert table.name in made.metadata.failed[takes[1].uid]
    printed = capsys.readouterr()
    assert f"FAILED {takes[1].uid}: " in printed.out
    assert "2 frames each" in printed.out
    assert printed.err == ""
    assert made.splits == {"train": 4}
    assert made.metadata.counts["train"].with_frames == 2
    assert made.metadata.corpus.name.lower().startswith("ego")

    table.write_text("\n".join(lines) + "\n")
    assert main([*command, "--overwrite"]) == 0
    assert "going on: 2 of 3 units are done" in capsys.readouterr().out
    assert DatasetFolder(out).splits == {"train": 6}
    assert main(["info", str(out)]) == 0
    assert "FAILED" not in capsys.readouterr().out
