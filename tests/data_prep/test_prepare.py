"""`primus-jax prepare` and `primus-jax info`, from files to a folder."""

import numpy as np
import pytest
from support.recording_files import people, table_columns, write_csv, write_pack

from primus_jax.cli import main
from primus_jax.data.folder import DatasetFolder


def test_a_pack_becomes_a_folder(tmp_path, capsys):
    pack = write_pack(tmp_path / "a.npz", people(5, 2, placement="wrist"))
    np.savez(
        tmp_path / "e.npz",
        text=np.array(["a person number 1 moves"]),
        text_embedding=np.ones((1, 8), np.float16),
        mine_video_embedding=np.ones((10, 8), np.float16),
    )
    out = tmp_path / "out"
    command = ["prepare", "pack", str(pack), "--out", str(out), "--window", "2", "--hop", "1"]
    assert main([*command, "--embeddings", str(tmp_path / "e.npz")]) == 0
    folder = DatasetFolder(out)
    assert sum(folder.splits.values()) == 10 * 19
    assert folder.metadata.hop_seconds == 1
    counts = folder.metadata.counts.values()
    assert sum(c.with_text_embedding for c in counts) == 2 * 19
    assert sum(c.with_video_embedding for c in counts) == 190
    printed = capsys.readouterr().out
    assert "190 windows" in printed
    assert "left out   nothing" in printed
    assert str(tmp_path / ".out") not in printed

    assert main(["info", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "2 s = 100 samples at 50 Hz, every 1 s" in printed
    row = next(line for line in printed.splitlines() if "· walking" in line)
    assert row.split()[-1] == "95"

    assert main(command) == 2
    assert "already exists" in capsys.readouterr().err
    assert main([*command, "--overwrite"]) == 0
    assert DatasetFolder(out).embedding_dim is None


def test_tables_become_a_folder(tmp_path, capsys):
    files = []
    for i in range(4):
        columns = table_columns(1500, rate=100.0, label=["walking"] * 1500)
        for name in ("acc_x", "acc_y", "acc_z"):
            columns[name] = columns[name] / 9.80665
        columns["gyro_x"][700:705] = np.nan
        files.append(str(write_csv(tmp_path / f"r{i}.csv", columns)))
    out = tmp_path / "out"
    command = ["prepare", "table", *files, "--out", str(out), "--window", "3", "--acc-unit", "g"]
    assert main(command) == 0
    folder = DatasetFolder(out)
    assert sum(folder.splits.values()) == 16
    assert folder.metadata.drops == {"windows touching missing samples": 4}
    assert "4 windows touching missing samples" in capsys.readouterr().out
    window = folder.source("train")[0]
    assert window["imu"].shape == (150, 6)
    assert np.linalg.norm(window["imu"][:, :3], axis=1).mean() == pytest.approx(9.81, abs=0.1)

    (tmp_path / "r2.csv").write_text("time,acc_x\n")
    assert main([*command, "--out", str(tmp_path / "other")]) == 2
    assert "r2.csv" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
    assert not list(tmp_path.glob(".*"))


def test_narrated_tables(tmp_path):
    file = write_csv(tmp_path / "walk.csv", table_columns(1000))
    told = tmp_path / "n.csv"
    told.write_text("recording,seconds,text\nwalk,0.5,starts\nwalk,10,turns\n")
    out = tmp_path / "out"
    splits = ["--splits", "1", "0", "0"]
    command = ["prepare", "table", str(file), "--narrations", str(told), "--out", str(out)]
    assert main([*command, *splits]) == 0
    windows = DatasetFolder(out).source("train")
    assert [(w["text"], w["start_seconds"]) for w in windows] == [("starts", 0), ("turns", 7.5)]


def test_simulated_recordings_say_so(tmp_path, capsys):
    out = tmp_path / "out"
    command = ["prepare", "simulated", "--people", "3", "--bouts", "1", "--window", "2"]
    assert main([*command, "--out", str(out)]) == 0
    folder = DatasetFolder(out)
    assert folder.simulated
    assert set(folder.splits) == {"train", "validation", "test"}
    assert "SIMULATED" in capsys.readouterr().out
    assert main([*command, "--out", str(tmp_path / "again")]) == 0
    assert DatasetFolder(tmp_path / "again").content_hash == folder.content_hash
    assert main([*command, "--seed", "1", "--out", str(tmp_path / "else")]) == 0
    assert DatasetFolder(tmp_path / "else").content_hash != folder.content_hash


def test_real_recordings(tmp_path, shared_data):
    out = tmp_path / "utd"
    command = ["prepare", "pack", str(shared_data / "utd_mhad.npz"), "--out", str(out)]
    command += ["--embeddings", str(shared_data / "embeddings.npz"), "--window", "2"]
    command += ["--tokenizer", str(shared_data / "clip_bpe" / "bpe_simple_vocab_16e6.txt.gz")]
    assert main([*command, "--placement", "right thigh"]) == 0
    folder = DatasetFolder(out)
    assert len(folder.label_names) == 6
    counts = folder.metadata.counts.values()
    assert sum(c.recordings for c in counts) == 190
    assert folder.metadata.drops == {"recordings of another placement": 671}
    for split in folder.splits:
        for window in folder.source(split):
            assert window["subject"].startswith("utd_mhad/s")
            assert window["has_text_embedding"]
            assert window["has_video_embedding"]
            for tower in ("text", "video"):
                length = np.linalg.norm(window[f"{tower}_embedding"].astype(np.float32))
                assert length == pytest.approx(1, abs=1e-2)
            assert window["tokens"][0] == 49406
    windows = [w["imu"] for split in folder.splits for w in folder.source(split)]
    sizes = np.linalg.norm(np.stack(windows)[..., :3], axis=-1).mean(1)
    assert sizes.min() > 9.5
    assert np.median(sizes) == pytest.approx(10.4, abs=0.5)
    assert sizes.max() < 15
