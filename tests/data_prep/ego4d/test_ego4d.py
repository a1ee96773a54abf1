"""Ego4D from a download in the official layout: recordings, windows, people, splits, video."""

import json
import pickle
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support import miniature_ego4d as mini
from support.ego4d_corpus import corpus, one, told

from data_prep import quality
from data_prep.ego4d import placing, reader, signals
from data_prep.ego4d.placing import touching
from primus_jax.errors import PrimusError
from primus_jax.recordings.plausible import NOT_GRAVITY
from primus_jax.recordings.windows import OUTSIDE, TOO_SHORT


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    return mini.write_ego4d(tmp_path_factory.mktemp("ego4d"))


def test_a_unit_is_a_video_and_the_corpus_can_be_sent_to_workers(raw):
    made = corpus(raw)
    assert made.units() == [mini.uid(n) for n in range(13)]
    assert (made.name, made.version) == ("ego4d", "2.0, 220901")
    assert "Grauman" in made.source
    assert "licence" in made.licence.lower()
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    a, b = made.recordings(mini.uid(6)), again.recordings(mini.uid(6))
    assert a[1] == b[1]
    np.testing.assert_array_equal(a[0][0].signal, b[0][0].signal)


def test_windows_are_centred_and_moved_inside_at_the_ends(raw):
    recordings, drops = one(raw, 0)
    assert drops == {"repeated narrations (same time and words)": 1}
    starts = {text: begin for begin, text in told(recordings)}
    assert starts["opens box 0"] == 0.8
    assert starts["walks to the fridge"] == 9.5
    assert len(starts) == 8
    (recording,) = recordings
    assert (recording.placement, recording.label, recording.video) == ("head", "", None)
    recordings, drops = one(raw, 5)
    starts = {text: begin for begin, text in told(recordings)}
    # the signal lies from 0.5 s to 40 s of the video with a gap from 18 s to 24 s
    assert starts["steps 1"] == 0.5
    assert starts["steps 19"] == 35.0
    assert drops == {signals.NO_TIME: 100, touching(signals.GAP): 6}
    assert len(starts) + 6 == 19


def test_the_papers_rule(raw):
    starts = [begin for begin, _ in told(one(raw, 0, "--window-rule", "paper")[0])]
    assert starts == [0, 5, 9, 10, 15, 20, 25, 30]
    recordings, drops = one(raw, 1, "--window-rule", "paper")
    starts = {text: begin for begin, text in told(recordings)}
    assert starts["begins"] == starts["picks a something"] == starts["looks around"] == 0
    assert starts["走到厨房"] == 4
    # 29 s is within 5 s of the end of the video: 25 to 30 s, of which the IMU has nothing
    assert drops[placing.NOT_COVERED] == 1
    starts = {text: begin for begin, text in told(one(raw, 5, "--window-rule", "paper")[0])}
    assert starts["steps 18"] == starts["steps 19"] == 35
    starts = one(raw, 0, "--window-rule", "paper", window=2.5)
    assert starts[1][placing.NOT_EXACT] == 9 - 1 - len(starts[0])
    assert not starts[0]


def test_what_narrators_write(raw):
    recordings, drops = one(raw, 1)
    assert [text for _, text in told(recordings)] == [
        "begins",
        "picks a something",
        "looks around",
        "trinkt Coca-Cola für Zoë",
        "走到厨房",
    ]
    assert drops == {
        "narrations about other people (#O)": 1,
        "summaries among the narrations": 1,
        "narrations that do not say about whom": 1,
        "narrations without words": 1,
        "narrations without a time": 1,
        OUTSIDE: 1,
    }
    recordings, drops = one(raw, 1, "--subjects", "others", "--passes", "1")
    assert told(recordings) == [(5.5, "man X waves at C")]
    assert drops["narrations about the camera wearer"] == 8
    assert one(raw, 1, "--passes", "2") == ([], {reader.NO_WINDOW: 1})


def test_videos_without_what_is_needed_are_counted(raw):
    assert one(raw, 2) == ([], {reader.NO_IMU: 1})
    assert one(raw, 3) == ([], {reader.NOT_DOWNLOADED: 1})
    assert one(raw, 4) == ([], {reader.NO_WINDOW: 1})
    assert one(raw, 9) == ([], {signals.NO_ACC: 1})
    assert one(raw, 10) == ([], {NOT_GRAVITY: 1})
    (recording,), drops = one(raw, 8)
    assert not recording.has_gyro
    assert drops == {signals.NO_GYRO: 1}
    assert corpus(raw).recordings("of nobody") == ([], {reader.UNKNOWN: 1})


def test_a_broken_file_is_named(raw):
    with pytest.raises(PrimusError, match=rf"{mini.uid(11)}.csv, line \d+: \d fields"):
        one(raw, 11)
    with pytest.raises(PrimusError, match=rf"{mini.uid(12)}.csv, line 125: '0.1o2'"):
        one(raw, 12)


def test_bad_windows_are_counted_by_reason(raw):
    recordings, drops = one(raw, 7)
    expected = {
        touching(quality.CONSTANT_ACC): 3,
        touching(quality.SATURATED): 2,
        touching(quality.NOT_GRAVITY): 4,
    }
    assert drops == expected
    assert [begin for begin, _ in told(recordings)] == [0, 30, 55]
    (recording,), drops = one(raw, 7, "--quality", "none")
    assert not drops
    assert len(recording.narrations) == 12
    assert recording.bad_spans == ()
    recordings, drops = one(raw, 6)
    assert drops[touching(signals.GAP)] == 1
    assert len(told(recordings)) == 8
    assert recordings[0].rate_hz == 198


def test_a_published_list_of_bad_windows(raw, tmp_path):
    path = tmp_path / "bad.txt"
    path.write_text(f"{mini.uid(0)}_9_14\n{mini.uid(7)}_0_5\n")
    recordings, drops = one(raw, 0, "--bad-windows", path)
    # 5.8 to 10.8, 9.5 to 14.5 and 10.8 to 15.8 touch 9 to 14
    assert drops[touching(placing.LISTED)] == 3
    assert len(told(recordings)) == 5
    path.write_text(json.dumps([[mini.uid(0), 9, 14], [mini.uid(0), 11, 16]]))
    recordings, drops = one(raw, 0, "--bad-windows", path, "--window-rule", "paper")
    assert drops[touching(placing.LISTED)] == 1, "only the very window"
    assert [begin for begin, _ in told(recordings)] == [0, 5, 10, 15, 20, 25, 30]


def test_a_recording_shorter_than_a_window(tmp_path):
    items = [mini.narration(2.0, "#C C sits")]
    raw = mini.write_download(
        tmp_path, [mini.video(1, 30.0)], {1: mini.imu(4)}, {1: mini.passes(items)}
    )
    assert one(raw, 1) == ([], {TOO_SHORT: 1, reader.NO_WINDOW: 1})
    assert len(one(raw, 1, window=4.0)[0]) == 1


def test_one_persons_videos_stay_together(raw):
    made = corpus(raw)
    found = {n: made.recordings(mini.uid(n))[0][0] for n in (0, 1, 5, 6, 7)}
    assert found[0].subject == found[1].subject == found[0].split_group == "ego4d-100"
    assert found[6].split_group == found[7].split_group != found[0].split_group
    assert found[5].subject == "unknown"
    assert mini.uid(5) in found[5].split_group
    assert made.official_split() == {}


def test_the_official_split_is_by_video(raw, tmp_path):
    made = corpus(raw, splits="official")
    (first,), _ = made.recordings(mini.uid(0))
    split = made.official_split()
    assert split[first.split_group] == "train"
    assert first.subject == "ego4d-100"
    assert split[made.recordings(mini.uid(6))[0][0].split_group] == "test"
    assert made.recordings(mini.uid(7)) == ([], {reader.IN_NO_SPLIT: 1})
    with pytest.raises(PrimusError, match="no video has a split of fho"):
        corpus(raw, "--benchmark", "fho", splits="official")

    files = [tmp_path / f"{name}_0.json" for name in ("training", "validation", "test")]
    for path, numbers in zip(files, ((7, 5), (6,), (0,)), strict=True):
        path.write_text(json.dumps([mini.uid(n) for n in numbers]))
    made = corpus(raw, "--split-files", *files, splits="official")
    split = made.official_split()
    assert Counter(split.values()) == {"train": 2, "validation": 1, "test": 1}
    assert split[made.recordings(mini.uid(0))[0][0].split_group] == "test"
    assert made.recordings(mini.uid(1)) == ([], {reader.IN_NO_SPLIT: 1})
    with pytest.raises(PrimusError, match="needs --splits official"):
        corpus(raw, "--split-files", *files)
    files[1].write_text(json.dumps([mini.uid(7)]))
    with pytest.raises(PrimusError, match=r"validation_0.json: the video .* is in train as well"):
        corpus(raw, "--split-files", *files, splits="official")
    files[1].write_text('{"a": 1}')
    with pytest.raises(PrimusError, match="list of video uids"):
        corpus(raw, "--split-files", *files, splits="official")


@pytest.mark.parametrize("place", ["v2", "v1", "."])
def test_folders_of_the_downloader(tmp_path, place):
    items = [mini.narration(4.0, "#C C sits")]
    raw = mini.write_download(
        tmp_path,
        [mini.video(1, 30.0)],
        {1: mini.imu(10)},
        {1: mini.passes(items)},
        version=place,
    )
    assert len(one(raw, 1)[0]) == 1
    if place != ".":
        assert len(one(raw / place, 1)[0]) == 1, "the version folder itself, metadata beside it"
        older = raw / "v0" / "imu"
        older.mkdir(parents=True)
        assert len(one(raw, 1)[0]) == 1, "the newest version"


def test_another_folder_is_refused(raw, tmp_path):
    with pytest.raises(PrimusError, match="no such folder"):
        corpus(tmp_path / "none")
    with pytest.raises(PrimusError, match=r"no ego4d.json there .*official downloader"):
        corpus(tmp_path)
    shutil.copy(raw / "ego4d.json", tmp_path / "ego4d.json")
    with pytest.raises(PrimusError, match="no folder imu there"):
        corpus(tmp_path)
    (tmp_path / "imu").mkdir()
    with pytest.raises(PrimusError, match=r"no annotations/narration\.json"):
        corpus(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "no list 'videos'"),
        ('{"videos": [{"duration_sec": 3}]}', r"videos\[0\]: no video_uid"),
        ('{"videos": [{"video_uid": "a"}]}', r"\(a\): no duration_sec"),
        ('{"videos": [7]}', r"videos\[0\]"),
        (json.dumps({"videos": [mini.video(1, 5.0)] * 2}), "appears twice"),
    ],
)
def test_damaged_metadata_is_refused(tmp_path, text, message):
    mini.write_download(tmp_path, [], {}, {})
    (tmp_path / "ego4d.json").write_text(text)
    with pytest.raises(PrimusError, match=f"ego4d.json.*{message}"):
        corpus(tmp_path)


def test_an_odd_video_costs_that_video(tmp_path):
    told = {n: mini.passes([mini.narration(4.0, "#C C sits")]) for n in (1, 2)}
    videos = [mini.video(n, 30.0) for n in (1, 2, 3)]
    raw = mini.write_download(tmp_path, videos, {1: mini.imu(10)}, told)
    (path,) = raw.rglob("ego4d.json")
    content = json.loads(path.read_text())
    odd = {"video_uid": "odd", "video_metadata": 7, "split_em": ["train"], "scenarios": 3}
    content["videos"] += [7, {"duration_sec": 3}, odd, odd | {"video_uid": "e", "duration_sec": 5}]
    content["videos"][1].pop("duration_sec", None)
    content["videos"][1].pop("video_metadata", None)
    content["clips"] = [7, {"video_uid": ["x"]}]
    path.write_text(json.dumps(content))
    found = corpus(raw)
    assert {mini.uid(1), mini.uid(2), mini.uid(3), "odd", "e"} <= set(found.units())
    assert len(found.recordings(mini.uid(1))[0]) == 1
    assert found.recordings("e") == ([], {"videos without inertial data": 1})
    for uid in (mini.uid(2), "odd"):
        with pytest.raises(PrimusError, match=rf"\({uid}\): no duration_sec"):
            found.recordings(uid)


def test_narrations_that_were_cut_off_are_refused_before_the_work(tmp_path):
    told = {n: mini.passes([mini.narration(4.0, "#C C sits")]) for n in (1, 2)}
    raw = mini.write_download(
        tmp_path, [mini.video(n, 30.0) for n in (1, 2)], {1: mini.imu(10)}, told
    )
    corpus(raw)
    (path,) = raw.rglob("narration.json")
    path.write_text(path.read_text()[:-40])
    with pytest.raises(PrimusError, match=r"narration\.json: cut off"):
        corpus(raw)
