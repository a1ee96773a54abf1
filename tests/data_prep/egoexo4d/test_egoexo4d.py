"""A miniature Ego-Exo4D: alignment, windows, tasks, and the command."""

import json
from collections import Counter

import numpy as np
import pytest
from support.egoexo4d_corpus import check_motion, corpus_of
from support.miniature_egoexo4d import (
    FakeTake,
    annotation,
    motion,
    sentence,
    write_download,
)
from support.videos import frame_number

from data_prep.egoexo4d.alignment import CLOCK, LENGTH
from data_prep.egoexo4d.units import NO_IMU, NO_TIMESYNC, NOTHING_TOLD, SHORT
from data_prep.quality import IMPOSSIBLE
from data_prep.video import window_frames
from primus_jax import cli
from primus_jax.data.folder import DatasetFolder
from primus_jax.data.metadata import CorpusVersion
from primus_jax.errors import PrimusError
from primus_jax.recordings.grid import GAPS, REPEATED
from primus_jax.recordings.windows import OUTSIDE, WindowSpec, cut


def prepared(tmp_path, take, *options):
    """Recordings and drops of one take."""
    raw = write_download(tmp_path / "raw", [take])
    return corpus_of(raw, *options).recordings(take.uid)


def check_windows(recording):
    """So are the windows at 50 Hz."""
    imu, starts, texts = cut(recording, WindowSpec(), Counter())
    assert len(imu) == len(texts)
    for window, start in zip(imu, starts, strict=True):
        t = recording.start_seconds + (start + np.arange(250)) / 50
        np.testing.assert_allclose(window[5:-5], motion(t)[5:-5], atol=0.05)


@pytest.mark.parametrize("stream", ["right", "left"])
def test_windows_lie_where_the_video_is(tmp_path, stream):
    """A clock 0.5 % fast, a sensor 0.4 % slow, jitter, a late start and an early end."""
    take = FakeTake(
        "cmu_bike01_2",
        seconds=25.0,
        sentences=[(0.2, "C sits"), (10.0, "C rides"), (24.5, "C stops"), (20.0, "C brakes")],
        clock_error=0.005,
        rate_error=-0.004,
        jitter=0.2,
        offset=0.3,
        short=2.0,
        streams=[stream],
    )
    (recording,), drops = prepared(tmp_path, take, "--stream", stream)
    check_motion([recording])
    assert recording.rate_hz == {"right": 1000, "left": 800}[stream]
    assert recording.placement == f"head, {stream} temple of Aria glasses"
    assert recording.start_seconds == pytest.approx(0.3, abs=5e-3)
    # what was said before the first sample or after the last one has no window
    assert [text for _, text in recording.narrations] == ["rides", "brakes"]
    assert drops == {OUTSIDE: 2, SHORT: 1}
    at = recording.start_seconds + recording.narrations[0][0]
    assert at == pytest.approx(10, abs=1e-9)

    report = json.loads((tmp_path / "out.alignment" / f"{take.uid}.json").read_text())
    assert report["clock_error"] == pytest.approx(0.005, abs=2e-4)
    assert report["rate_error"] == pytest.approx(-0.004, abs=1e-5)
    assert report["offset_seconds"] == pytest.approx(0.3, abs=5e-3)
    assert (report["method"], report["gaps"], report["refused"]) == ("timesync", 0, "")


def test_fifty_hertz_windows_are_the_motion(tmp_path):
    take = FakeTake("a_b_1", clock_error=-0.005, rate_error=0.005, jitter=0.3)
    (recording,), _ = prepared(tmp_path, take)
    check_windows(recording)


def test_a_gap_cuts_and_bad_stretches_are_counted(tmp_path):
    def change(t, signal):
        signal = np.array(signal)
        signal[(t > 17) & (t < 17.02)] = np.nan
        signal[np.abs(t - 24) < 6e-4, 0] = 1e4
        signal[(t > 36) & (t < 38.2), :3] = signal[t > 36][0, :3]
        return signal

    said = [(float(t), f"C does {t}") for t in (4, 12, 18, 26, 32, 38, 41)]
    take = FakeTake("a_b_1", seconds=44.0, sentences=said, gap=(7.0, 7.5), change=change)
    raw = write_download(tmp_path / "raw", [take])
    listed = tmp_path / "bad.txt"
    listed.write_text(f"{take.uid}_30_33\nsomebody_1_2\n")
    recordings, drops = corpus_of(raw, "--bad-windows", str(listed)).recordings(take.uid)
    assert [r.start_seconds for r in recordings] == pytest.approx([0, 7.5], abs=5e-3)
    told = [[text for _, text in r.narrations] for r in recordings]
    assert told == [["does 4"], ["does 12", "does 41"]]
    assert drops == {
        GAPS: 1,
        IMPOSSIBLE: 1,
        SHORT: 1,
        "windows touching missing samples": 2,
        "windows touching a listed bad window": 1,
        "windows touching a constant accelerometer axis": 1,
    }
    late = recordings[1]
    spans = [tuple(round(edge + late.start_seconds, 1) for edge in span) for span in late.bad_spans]
    assert {(17.0, 17.0), (30.0, 33.0), (24.0, 24.0), (36.0, 38.2)} <= set(spans)


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        (NO_IMU, {"imu": None}),
        (NOTHING_TOLD["narrations"], {"sentences": ()}),
        (
            NOTHING_TOLD["narrations"],
            {"sentences": (), "entries": [annotation([sentence(3, "The ball rolls", "O")])]},
        ),
        (CLOCK, {"clock_error": 0.02}),
        (LENGTH, {"timesync": False, "short": 3.0}),
        (OUTSIDE, {"sentences": [(11.0, "C stops")], "short": 4.0}),
    ],
)
def test_takes_without_windows_are_counted(tmp_path, reason, change):
    recordings, drops = prepared(tmp_path, FakeTake("a_b_1", **change))
    assert recordings == []
    assert drops[reason] == 1


def test_without_timesync_the_first_sample_is_the_start(tmp_path):
    take = FakeTake("a_b_1", timesync=False, short=0.5)
    (recording,), drops = prepared(tmp_path, take)
    check_motion([recording], 1e-3)
    assert recording.start_seconds == 0
    assert drops == {NO_TIMESYNC: 1, SHORT: 1}


def test_stamps_that_repeat_or_go_back_are_put_right(tmp_path):
    take = FakeTake("a_b_1")
    raw = write_download(tmp_path / "raw", [take])
    path = raw / "takes" / take.name / "aria01_imu-right.csv"
    lines = path.read_text().splitlines()
    lines[500], lines[501] = lines[501], lines[500]
    path.write_text("\n".join([*lines[:900], lines[899], *lines[900:]]) + "\n")
    (recording,), drops = corpus_of(raw).recordings(take.uid)
    check_motion([recording])
    assert drops == {REPEATED: 1, "samples out of order, sorted": 1}


def test_activities_are_labels(tmp_path):
    takes = [
        FakeTake("utokyo_soccer_8_1", sentences=(), parent_task="Soccer"),
        FakeTake("x_origami_1", parent_task="Origami"),
    ]
    raw = write_download(tmp_path / "raw", takes)
    corpus = corpus_of(raw, "--task", "activity")
    (recording,), drops = corpus.recordings(takes[0].uid)
    assert (recording.label, recording.narrations) == ("playing ball sports", ())
    assert recording.text
    assert drops == {}
    assert corpus.recordings(takes[1].uid) == ([], {NOTHING_TOLD["activity"]: 1})


def test_keysteps_are_recordings(tmp_path):
    take = FakeTake("a_b_1", steps=[(1, 9, "Cut"), (8.5, 15, "Stir"), (40, 50, "Eat")])
    recordings, _ = prepared(tmp_path, take, "--task", "keystep")
    check_motion(recordings)
    assert [(r.label, r.text) for r in recordings] == [("Cut", "Cut"), ("Stir", "Stir")]
    found = [(r.start_seconds, len(r.signal) / 1000) for r in recordings]
    np.testing.assert_allclose(found, [(1, 8), (8.5, 3.5)], atol=0.01)
    assert len({r.id for r in recordings}) == 2


def test_pictures_are_those_of_the_window(tmp_path):
    pytest.importorskip("av")
    take = FakeTake("a_b_1", video=True, offset=0.7, clock_error=0.004)
    (recording,), _ = prepared(tmp_path, take)
    spec = WindowSpec(frames=2)
    _, starts, _ = cut(recording, spec, Counter())
    (pictures,) = window_frames(recording, starts, spec, Counter())
    # the sentence is at 6 s; the middles of the two halves of its window 1.25 s before and after
    shown = [frame_number(picture) for picture in pictures]
    np.testing.assert_allclose(shown, [4.75 * 30, 7.25 * 30], atol=1)


def test_wrong_files_are_named(tmp_path):
    take = FakeTake("a_b_1")
    raw = write_download(tmp_path / "raw", [take])
    table = raw / "takes" / take.name / "aria01_imu-right.csv"
    good = table.read_text()

    def message(text):
        table.write_text(text)
        with pytest.raises(PrimusError) as error:
            corpus_of(raw).recordings(take.uid)
        return str(error.value)

    lines = good.splitlines()
    assert "gyro_z" in message(good.replace("gyro_z", "gyro_w"))
    assert "line 3" in message("\n".join([*lines[:2], lines[2].replace(",", ",x", 1), *lines[3:]]))
    assert "line 2" in message("\n".join([lines[0], lines[1].replace(lines[1][:12], ""), lines[2]]))
    in_g = [
        ",".join([c[0], *(str(float(v) / 9.8) for v in c[1:])])
        for c in (line.split(",") for line in lines[1:200])
    ]
    assert "expected about 9.8" in message("\n".join([lines[0], *in_g]))
    table.write_text(good)
    clock = raw / "captures" / "a_b" / "timesync.csv"
    clock.write_text("\n".join(clock.read_text().splitlines()[:50]))
    assert "49 rows, but take" in message(good)


def test_the_command_needs_a_download(tmp_path, capsys):
    with pytest.raises(PrimusError, match=r"no takes\.json; expected an Ego-Exo4D download"):
        corpus_of(tmp_path)
    raw = write_download(tmp_path / "raw", [FakeTake("a_b_1")])
    with pytest.raises(PrimusError, match=r"--max-offset 0\.0; expected a positive finite number"):
        corpus_of(raw, "--max-offset", "0")
    with pytest.raises(PrimusError, match="not a readable list of bad windows"):
        corpus_of(raw, "--bad-windows", str(tmp_path / "no.txt"))
    with pytest.raises(SystemExit):
        corpus_of(raw, "--task", "dance")
    assert "'narrations', 'activity', 'keystep'" in capsys.readouterr().err


def test_the_command_makes_a_data_set(tmp_path, capsys):
    takes = [
        FakeTake("a_bike_1", participant=1, offset=0.2, clock_error=0.003, jitter=0.2),
        FakeTake("b_cook_1", participant=2, split="val", sentences=[(8, "C kocht 日本の米.")]),
        FakeTake("c_cook_1", participant=3, split="test", timesync=False),
        FakeTake("d_cook_1", participant=4, imu=None),
        FakeTake("e_cook_1", participant=5, clock_error=-0.02),
    ]
    raw = write_download(tmp_path / "raw", takes)
    out = tmp_path / "out"
    words = ["prepare", "egoexo4d", "--raw", str(raw), "--out", str(out), "--workers", "1"]
    assert cli.main([*words, "--splits", "official"]) == 0
    folder = DatasetFolder(out)
    said = {split: [row["text"] for row in folder.source(split)] for split in folder.splits}
    assert said == {
        "train": ["picks a cup with his left hand"],
        "validation": ["kocht 日本の米"],
        "test": ["picks a cup with his left hand"],
    }
    row = folder.source("train")[0]
    t = row["start_seconds"] + np.arange(250) / 50
    np.testing.assert_allclose(row["imu"], motion(t), atol=0.05)
    metadata = folder.metadata
    assert metadata.corpus == CorpusVersion("Ego-Exo4D", "5 takes")
    assert metadata.drops[NO_IMU] == metadata.drops[CLOCK] == 1
    assert metadata.groups["train"] == ("egoexo4d-1",)
    assert {path.stem for path in (tmp_path / "out.alignment").iterdir()} == {
        take.uid for take in takes if take.imu
    }
    alignment = metadata.facts["alignment"]
    assert set(alignment) == {take.uid for take in takes if take.imu}
    assert alignment[takes[0].uid]["offset_seconds"] == pytest.approx(0.2, abs=5e-3)
    assert alignment[takes[0].uid]["clock_error"] == pytest.approx(0.003, abs=2e-4)
    assert alignment[takes[2].uid]["method"] == "first sample"
    assert alignment[takes[4].uid]["refused"] == CLOCK
    capsys.readouterr()
    assert cli.main(["info", str(out)]) == 0
    said = capsys.readouterr().out
    worst = alignment[takes[0].uid]
    offset, error = worst["offset_seconds"], 100 * worst["clock_error"]
    assert f"3 used, 1 refused; largest offset {offset:.3g} s, clock error {error:.2g} %" in said


def test_an_alignment_of_the_other_sensor_is_not_taken_for_this_ones(tmp_path):
    raw = write_download(tmp_path / "raw", [FakeTake("a_b_1")])
    right = corpus_of(raw)
    right.recordings(right.units()[0])
    assert right.facts()["alignment"]
    left = corpus_of(raw, "--stream", "left")
    assert left.facts() == {"alignment": {}}


def test_odd_entries_do_not_stop_the_corpus(tmp_path, capsys):
    odd = [sentence(3.0, "C waits.") | {"timestamp": None}]
    takes = [FakeTake("a_1"), FakeTake("b_1", entries=[annotation(odd)]), FakeTake("c_1")]
    raw = write_download(tmp_path / "raw", takes)
    path = raw / "takes.json"
    entries = json.loads(path.read_text())
    entries[2]["duration_sec"] = None
    path.write_text(json.dumps(entries))
    out = str(tmp_path / "out")
    words = ["prepare", "egoexo4d", "--raw", str(raw), "--out", out, "--splits", "1", "0", "0"]
    assert cli.main([*words, "--workers", "1"]) == 3
    said = capsys.readouterr().out
    assert "FAILED " + takes[2].uid in said
    assert "take 2 (c_1): a field has another form" in said
    assert "sentences without a time" in said
    assert sum(DatasetFolder(out).splits.values()) == 2
