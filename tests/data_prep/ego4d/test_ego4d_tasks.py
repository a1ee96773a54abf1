"""Evaluation datasets and video of Ego4D, and the command line."""

import csv
import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from support import miniature_ego4d as mini
from support.ego4d_corpus import corpus, one, told
from support.videos import frame_number

import primus_jax.cli
from data_prep.ego4d import placing, reader
from data_prep.ego4d.prompts import MOVEMENT, MOVEMENT4, PROMPTS, SCENARIO
from data_prep.ego4d.tasks import SCENARIOS, read_labels, scenario_of
from data_prep.video import read_frames
from primus_jax.data.folder import DatasetFolder
from primus_jax.data.metadata import CorpusVersion
from primus_jax.errors import PrimusError
from primus_jax.evals.crossmodal.prompts import read_prompts
from primus_jax.recordings.windows import WindowSpec, cut


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    pytest.importorskip("av")
    return mini.write_ego4d(tmp_path_factory.mktemp("ego4d"), with_video=True)


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    return mini.write_labels(tmp_path_factory.mktemp("labels") / "dataset_motion_narr_2.5.csv")


def test_movement_windows_are_the_rows_of_the_file(raw, labels):
    made = corpus(raw, "--task", "movement", "--labels", labels)
    assert made.units() == [mini.uid(n) for n in (0, 1, 5, 77)]
    recordings, drops = made.recordings(mini.uid(0))
    assert {r.label: told([r]) for r in recordings} == {
        "looks around": [(3.0, "looks around")],
        "sits down": [(20.0, "sits down")],
    }
    assert drops == {reader.REPEATED_ROWS: 1}
    assert len({r.id for r in recordings}) == 2
    assert len({r.split_group for r in recordings}) == 1
    recordings, drops = made.recordings(mini.uid(1))
    assert told(recordings) == [(10.0, "stands up")]
    assert drops == {placing.NOT_COVERED: 1}
    assert told(made.recordings(mini.uid(5))[0]) == [(30.0, "walks")]
    assert made.recordings(mini.uid(77)) == ([], {reader.UNKNOWN: 1})


def test_the_published_movement_labels(shared_data, tmp_path):
    folder = shared_data / "ego4d"
    path = folder / "dataset_motion_narr_2.5.csv"
    found = read_labels([path])
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sum(map(len, found.values())) == len(rows) == 6397
    assert {w.label for windows in found.values() for w in windows} == set(MOVEMENT)
    assert not any("#" in w.text for windows in found.values() for w in windows)
    assert not any(w.text.startswith("c ") for windows in found.values() for w in windows)

    # a download of one video of them, and the published lists as the split
    uid = max(rows, key=lambda row: -float(row["window_end"]))["video_uid"]
    wanted = {r["label"] + r["window_start"] for r in rows if r["video_uid"] == uid}
    rows_end = max(float(r["window_end"]) for r in rows if r["video_uid"] == uid)
    video = mini.video(1, rows_end + 10) | {"video_uid": uid}
    mini.write_download(tmp_path, [video], {}, {})
    mini.imu(rows_end + 10, rate=20.0).write(tmp_path / "v2" / "imu" / f"{uid}.csv")
    lists = [folder / f"{name}_0.json" for name in ("training", "validation", "test")]
    made = corpus(
        tmp_path, "--task", "movement", "--labels", path, "--split-files", *lists, splits="official"
    )
    assert Counter(made.official_split().values()) == {
        "train": 1444,
        "validation": 161,
        "test": 688,
    }
    recordings, _ = made.recordings(uid)
    spec, starts = WindowSpec(), set()
    for recording in recordings:
        _, begins, _ = cut(recording, spec, Counter())
        starts |= {f"{recording.label}{begin / spec.rate_hz:.0f}" for begin in begins}
        assert made.official_split()[recording.split_group] == "test"
    assert starts == wanted


def test_scenarios_are_those_of_videos_with_one_tag(raw):
    label = {}
    for number in (0, 1, 5, 6, 7):
        recordings, _ = one(raw, number, "--task", "scenario")
        label[number] = {r.label for r in recordings}
        assert told(recordings)
    assert label == {
        0: {"cooking"},
        1: {"eating"},
        5: {"walking on a street"},
        6: {"doing construction work"},
        7: {"farming"},
    }
    assert one(raw, 4, "--task", "scenario") == ([], {reader.NO_SCENARIO: 1})
    assert scenario_of(("Car mechanic",)) is None
    assert scenario_of(()) is None


@pytest.mark.slow
def test_prompts_are_found_by_zero_shot(tmp_path):
    assert list(SCENARIO) == list(SCENARIOS.values())
    for task, classes in (("scenario", SCENARIO), ("movement", MOVEMENT), ("movement4", MOVEMENT4)):
        printed = subprocess.run(
            [sys.executable, "-m", "data_prep.ego4d.prompts", task],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        path = tmp_path / f"{task}.json"
        path.write_text(printed)
        found = read_prompts(path, list(classes))
        assert found == {name: list(sentences) for name, sentences in PROMPTS[task].items()}
        flat = [sentence for sentences in found.values() for sentence in sentences]
        assert task == "movement4" or len(set(flat)) == len(flat), "a sentence means one class"


def test_labels_and_task_belong_together(raw, labels, tmp_path):
    with pytest.raises(PrimusError, match="--task movement together with --labels"):
        corpus(raw, "--task", "movement")
    with pytest.raises(PrimusError, match="--task movement together with --labels"):
        corpus(raw, "--labels", labels)
    with pytest.raises(PrimusError, match="no such file"):
        corpus(raw, "--task", "movement", "--labels", tmp_path / "none.csv")
    bad = tmp_path / "bad.csv"
    head = "window_start,window_end,video_uid,text,label\n"
    bad.write_text(f"{head}3,8,a,x,walk\n8,3,,x,walk\n")
    with pytest.raises(PrimusError, match="line 3: expected a video_uid"):
        corpus(raw, "--task", "movement", "--labels", bad)


def test_an_odd_row_of_the_labels_costs_that_row(raw, tmp_path):
    odd = tmp_path / "odd.csv"
    rows = ["3,8,{0},x,walk", "8,3,{0},x,walk", "3,8,{0},x,", "9,14,{0},y,walk"]
    lines = [row.format(mini.uid(1)) for row in rows]
    odd.write_text("\n".join(["window_start,window_end,video_uid,text,label", *lines]))
    found = read_labels([odd])[mini.uid(1)]
    assert [row and row.text for row in found] == ["x", None, None, "y"]
    drops = corpus(raw, "--task", "movement", "--labels", odd).recordings(mini.uid(1))[1]
    assert drops["rows of the labels without a window or label"] == 2


def test_the_whole_video_runs_on_the_canonical_clock(raw):
    (recording,), _ = one(raw, 0)
    assert recording.video.path.parent.name == "full_scale"
    frames = read_frames(recording.video, np.array([7.05, 33.95]), 64)
    assert [frame_number(frame) for frame in frames] == [70, 339]


def test_a_clip_shows_the_windows_inside_it(raw):
    recordings, _ = one(raw, 1)
    shown = {bool(r.video): [text for _, text in told([r])] for r in recordings}
    # the clip lasts from 2 to 14 s of the video: centres from 4.5 s on lie inside
    assert shown[True] == ["looks around", "trinkt Coca-Cola für Zoë", "走到厨房"]
    assert shown[False] == ["begins", "picks a something"]
    video = next(r.video for r in recordings if r.video)
    assert video.start_seconds == -2
    assert frame_number(read_frames(video, np.array([7.05]), 64)[0]) == 50


def prepare(raw, out, *options: object) -> int:
    words = ["prepare", "ego4d", "--raw", raw, "--out", out, "--workers", "1", *options]
    return primus_jax.cli.main([str(word) for word in words])


def test_prepare_writes_a_data_set_and_reports_what_failed(raw, tmp_path, capsys):
    out = tmp_path / "ego4d"
    assert prepare(raw, out, "--splits", "0.5", "0.5", "0", "--frames", "2") == 3
    text = capsys.readouterr().out
    assert "line 125: '0.1o2'" in text
    assert "windows touching a gap in the samples" in text
    folder = DatasetFolder(out)
    assert folder.metadata.corpus == CorpusVersion("ego4d", "2.0, 220901")
    assert set(folder.metadata.failed) == {mini.uid(11), mini.uid(12)}
    rows = [row for split in folder.splits for row in folder.source(split)]
    assert len(rows) == sum(len(told(one(raw, n)[0])) for n in (0, 1, 5, 6, 8)) + 3
    assert "走到厨房" in {row["text"] for row in rows}
    for row in rows:
        t = row["start_seconds"] + np.arange(250) / 50
        assert np.abs(row["imu"][:, 0] - mini.sway(t)).max() < 0.06
        if row["recording"] == mini.uid(0):
            numbers = [frame_number(frame) for frame in row["frames"]]
            expected = (row["start_seconds"] + np.array([1.25, 3.75])) * 10
            assert np.abs(numbers - expected).max() <= 1
        in_video = row["recording"].startswith((mini.uid(0), f"{mini.uid(1)}:"))
        assert row["has_frames"] == in_video


def test_prepare_the_evaluation_sets(raw, labels, tmp_path):
    out = tmp_path / "movement"
    options = ("--task", "movement", "--labels", labels, "--splits", "1", "0", "0")
    assert prepare(raw, out, *options) == 0
    folder = DatasetFolder(out)
    found = Counter(folder.label_names[row["label"]] for row in folder.source("train"))
    assert found == {"looks around": 1, "sits down": 1, "stands up": 1, "walk": 1}


def test_prepare_refuses_wrong_words(raw, tmp_path, capsys):
    assert prepare(tmp_path, tmp_path / "out") == 2
    assert "ego4d.json" in capsys.readouterr().err
    assert prepare(raw, tmp_path / "out", "--task", "movement") == 2
    assert "--labels" in capsys.readouterr().err
    (tmp_path / "bad.json").write_text(json.dumps([["a"]]))
    assert prepare(raw, tmp_path / "out", "--bad-windows", tmp_path / "bad.json") == 2
    assert "entry 1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
