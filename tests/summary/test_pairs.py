"""Pairs of embedding and sentence, of a dataset folder and of a narrated recording."""

import json

import numpy as np
import pytest
from support.user_files import tiny_encoder, write_user_csv

from primus_jax.cli import main
from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder, load_encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.identity import encoder_hash
from primus_jax.models.released import ReleasedConfig
from primus_jax.recordings.table_format import TableFormat
from primus_jax.summary.pairs import FORMAT, recording_pairs, write_pairs

FILES = {"pairs.json", "pairs.jsonl", "embeddings.npy"}


def read(folder):
    rows = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    vectors = np.load(folder / "embeddings.npy", mmap_mode="r", allow_pickle=False)
    return json.loads((folder / "pairs.json").read_text()), rows, vectors


def test_a_dataset_folder(simulated, tmp_path, capsys):
    Encoder.random(ReleasedConfig(readout="pool", channels=8), 0, 50.0, 2.6).save(tmp_path / "e")
    out = tmp_path / "pairs"
    words = ["summarise", str(simulated), "--encoder", str(tmp_path / "e"), "--pairs"]
    assert main([*words, "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == FILES
    about, rows, vectors = read(out)
    data, encoder = DatasetFolder(simulated), load_encoder(tmp_path / "e")
    windows = [(split, row) for split in data.splits for row in data.source(split)]
    told = [(split, row) for split, row in windows if row["text"]]
    assert len(rows) == len(vectors) == about["pairs"] == len(told) > 0
    assert about["format"] == FORMAT
    assert about["encoder_hash"] == encoder_hash(encoder)
    assert (about["head"], about["dim"], about["dataset_hash"]) == ("mmcl", 512, data.content_hash)
    assert about["simulated"] is True
    assert about["left_out"].get("windows without a sentence", 0) == len(windows) - len(told)
    for row, (split, window) in zip(rows, told, strict=True):
        assert (row["split"], row["text"], row["subject"]) == (
            split, window["text"], window["subject"],
        )  # fmt: skip
        assert row["end_seconds"] - row["start_seconds"] == pytest.approx(2.6, abs=2e-3)
    expected = encoder.encode_windows(np.stack([window["imu"] for _, window in told]), "mmcl")
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert main([*words, "--out", str(out)]) == 2
    assert main([*words, "--out", str(out), "--overwrite", "--head", "emb"]) == 0
    assert read(out)[0]["head"] == "emb"
    capsys.readouterr()
    for more, message in (
        (["--prompts", "p.json"], "--prompts is for a recording"),
        (["--classifier", "c"], "--classifier is for a recording"),
        (["--llm", "http://h/v1"], "--llm is for a recording"),
    ):
        assert main([*words, "--out", str(tmp_path / "no"), *more]) == 2
        assert message in capsys.readouterr().err
    assert main(["summarise", str(simulated), "--pairs", "--out", str(tmp_path / "no")]) == 2
    assert "needs --encoder" in capsys.readouterr().err


RATE = 50.0
LAYOUT = TableFormat(rate_hz=RATE)
NARRATIONS = [(40.0, "sits"), (0.5, "starts"), (20.2, "walks"), (20.2, "talks"), (300.0, "late")]


def signal(seconds: float = 60.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(0, 1, (round(seconds * RATE), 6)) + np.array([0, 0, 9.81, 0, 0, 0])


@pytest.mark.parametrize("pieces", [1, 7])
def test_each_narration_has_the_nearest_window_that_covers_it(pieces, tmp_path):
    encoder, recording = tiny_encoder(), signal()
    source = recording_pairs(
        encoder, "mmcl", iter(np.array_split(recording, pieces)), LAYOUT, NARRATIONS, name="day"
    )
    write_pairs(source, encoder, "mmcl", tmp_path)
    about, rows, vectors = read(tmp_path)
    assert [(row["text"], row["start_seconds"]) for row in rows] == [
        ("starts", 0), ("talks", 19), ("walks", 19), ("sits", 38),
    ]  # fmt: skip
    assert about["left_out"] == {"narrations that no window covers": 1}
    assert about["recording"] == "day"
    starts = [round(row["start_seconds"] * RATE) for row in rows]
    imu = np.stack([recording[a : a + 150] for a in starts]).astype(np.float32)
    np.testing.assert_allclose(vectors, encoder.encode_windows(imu, "mmcl"), atol=2e-4)


def test_many_narrations_over_many_batches(tmp_path):
    """The windows come 512 at a time; a narration may need one of the next batch."""
    encoder, recording = tiny_encoder(), signal(700)
    times = np.arange(0.25, 699, 0.5)
    source = recording_pairs(
        encoder, "emb", recording, LAYOUT, [(t, f"at {t}") for t in times], name="day"
    )
    write_pairs(source, encoder, "emb", tmp_path)
    _, rows, vectors = read(tmp_path)
    assert [row["text"] for row in rows] == [f"at {t}" for t in times]
    middle = np.array([row["start_seconds"] for row in rows]) + 1.5
    inside = (times > 1.5) & (times < 698.5)
    assert np.abs(middle - times)[inside].max() <= 0.5
    assert len(vectors) == len(times)


def test_nothing_to_pair(tmp_path):
    encoder = tiny_encoder()
    with pytest.raises(PrimusError, match="no narration of day"):
        recording_pairs(encoder, "emb", signal(), LAYOUT, [], name="day")
    source = recording_pairs(encoder, "emb", signal(), LAYOUT, [(900.0, "late")], name="day")
    with pytest.raises(PrimusError, match=r"no pair .* \(1 narrations that no window covers\)"):
        write_pairs(source, encoder, "emb", tmp_path)


@pytest.mark.filterwarnings("ignore::primus_jax.recordings.arrays.SignalWarning")
def test_the_pairs_of_a_recording_lie_beside_its_summary(tmp_path, capsys):
    units = ["--acc-unit", "g", "--gyro-unit", "deg/s"]
    encoder = tiny_encoder()
    encoder.save(tmp_path / "e")
    write_user_csv(tmp_path / "new.csv", people=("dora",), labelled=False)
    (tmp_path / "told.csv").write_text("recording,seconds,text\nnew,20,a person climbs\n")
    (tmp_path / "prompts.json").write_text(json.dumps({"up": ["a person climbs"], "x": ["rests"]}))
    width = encoder.config.width("mmcl")
    np.savez(tmp_path / "t.npz", text=np.array(["a person climbs", "rests"]),
             text_embedding=np.eye(2, width, dtype=np.float32))  # fmt: skip
    words = [
        "summarise", str(tmp_path / "new.csv"), "--encoder", str(tmp_path / "e"),
        "--prompts", str(tmp_path / "prompts.json"), "--embeddings", str(tmp_path / "t.npz"),
        "--pairs", "--narrations", str(tmp_path / "told.csv"), *units,
    ]  # fmt: skip
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out" / "pairs").iterdir()} == FILES
    _, [row], vectors = read(tmp_path / "out" / "pairs")
    assert (row["text"], row["recording"], vectors.shape) == ("a person climbs", "new", (1, width))
    assert "1 pair of an embedding" in capsys.readouterr().out
    (tmp_path / "told.csv").write_text("recording,seconds,text\nother,20,a person climbs\n")
    assert main([*words, "--out", str(tmp_path / "no")]) == 2
    assert "no narration of the recording 'new'; it has those of 'other'" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
