"""Every public dataset, from small files in its official format to recordings and a folder."""

from collections import Counter

import numpy as np
import pytest
from support import har_files

from data_prep.har import SOURCES
from primus_jax.cli import main
from primus_jax.data.folder import DatasetFolder

# name -> rate, tolerance, {(person, placement, label): samples}, {reason: count}
EXPECTED = {
    "usc_had": (
        100,
        1e-5,
        {
            ("s01", "front right hip", "walking forward"): [500],
            ("s02", "front right hip", "elevator up"): [500],
        },
        {},
    ),
    "dsads": (
        25,
        1e-4,
        {
            ("p2", place, "jumping"): [250, 125]
            for place in ("torso", "right arm", "left arm", "right leg", "left leg")
        },
        {"gaps in time that cut a recording": 1},
    ),
    "utd_mhad": (
        50,
        1e-5,
        {
            ("s1", "right wrist", "swiping the right arm to the left"): [150],
            ("s2", "right thigh", "jogging"): [150],
        },
        {"files with an unexpected name": 1},
    ),
    "sisfall": (
        200,
        0.02,
        {
            ("SA01", "waist", "walking slowly"): [600],
            ("SE06", "waist", "falling forward while jogging after a trip"): [600],
        },
        {},
    ),
    "classyglass": (
        100,
        0.01,
        {
            ("cg1-01", "head", "reading a book"): [399],
            ("cg1-24", "head", "taking stairs"): [399],
            ("cg2-02", "head", "timed up and go test"): [399],
        },
        {"accelerometer files without a gyroscope file": 1},
    ),
    "uci_har": (
        50,
        1e-5,
        {
            ("1", "waist", "walking"): [320],
            ("1", "waist", "standing"): [192],
            ("2", "waist", "walking"): [256, 128],
        },
        {},
    ),
    "motionsense": (
        50,
        1e-5,
        {
            ("1", "front trouser pocket", "walking downstairs"): [200],
            ("24", "front trouser pocket", "walking"): [200],
        },
        {},
    ),
    "pamap2": (
        100,
        0.01,
        {
            (person, place, label): [samples]
            for person, label, samples in (
                ("105", "walking", 500),
                ("101", "walking", 500),
                ("101", "jumping rope", 300),
            )
            for place in ("dominant wrist", "chest", "dominant ankle")
        },
        {"rows without an activity label": 350},
    ),
    "opportunity": (
        30,
        0.06,
        {
            (person, place, label): [240]
            for person, label in (("S1", "standing"), ("S1", "walking"), ("S4", "standing"))
            for place in (
                "back",
                "right upper arm",
                "right lower arm",
                "left upper arm",
                "left lower arm",
                "right wrist",
            )
        },
        {"rows without an activity label": 180},
    ),
    "capture24": (
        100,
        1e-4,
        {
            (person, "wrist", label): [400]
            for person in ("P001", "P101")
            for label in ("sleeping", "walking")
        },
        {"rows without an activity label": 800},
    ),
    "wisdm": (
        20,
        0.05,
        {
            ("1600", place, label): samples
            for place in ("trouser pocket", "dominant wrist")
            for label, samples in (("walking", [199]), ("folding clothes", [99, 99]))
        },
        {
            "rows out of order, sorted": 4,
            "repeated rows": 8,
            "gaps in time that cut a recording": 2,
            "accelerometer files without a gyroscope file": 1,
        },
    ),
    "realworld": (
        50,
        0.02,
        {
            ("4", "chest", "walking"): [299],
            ("4", "upper arm", "walking"): [299],
            ("4", "waist", "climbing up stairs"): [199, 199],
        },
        {
            "gaps in time that cut a recording": 1,
            "accelerometer files without a gyroscope file": 1,
        },
    ),
    "hhar": (
        100,
        0.05,
        {
            **{
                ("a", place, label): [499]
                for place in ("waist", "wrist")
                for label in ("walking", "walking upstairs")
            },
            ("b", "waist", "cycling"): [500],
            ("b", "wrist", "cycling"): [500],
        },
        {
            "rows without an activity label": 2004,
            "rows out of order, sorted": 10,
            "repeated rows": 10,
        },
    ),
    "wisdm_v1": (
        20,
        0.1,
        {
            ("33", "front trouser pocket", "jogging"): [160],
            ("33", "front trouser pocket", "sitting"): [160],
            ("5", "front trouser pocket", "walking upstairs"): [100, 60],
        },
        {
            "broken rows": 2,
            "rows whose time is zero": 1,
            "rows out of order, sorted": 1,
            "gaps in time that cut a recording": 1,
        },
    ),
    "daphnet": (
        64,
        0.02,
        {
            (person, place, label): [samples]
            for person, label, samples in (
                ("S01", "no freeze", 200),
                ("S01", "freeze", 200),
                ("S10", "no freeze", 600),
            )
            for place in ("ankle", "upper leg", "trunk")
        },
        {"rows without an activity label": 600},
    ),
    "pvs": (
        100,
        1e-4,
        {
            (vehicle, f"{side} {place}", label): [samples]
            for vehicle, sides in (
                ("volkswagen-saveiro", ("left", "right")),
                ("fiat-palio", ("left",)),
            )
            for side in sides
            for place in ("dashboard", "above suspension", "below suspension")
            for label, samples in (("asphalt", 200), ("dirt", 200), ("cobblestone", 200))
        },
        {"rows without an activity label": 60},
    ),
    "goat": (
        100,
        1e-4,
        {
            (goat, f"collar {place}", label): [samples]
            for goat, places in (("G1", "AF"), ("G5", "C"))
            for place in places
            for label, samples in (("stationary", 400), ("walking", 200), ("trotting", 200))
        },
        {
            "rows without an activity label": 600,
            "rows of a behaviour outside the four classes": 600,
        },
    ),
}
# Who the subjects of a source are, where not people.
BEARERS = {"goat": "a goat is ", "pvs": "a vehicle is "}
# When each recording begins on the clock of `har_files.motion`, where not at its own start.
BEGINS = {
    ("wisdm", "folding clothes"): 100,
    ("realworld", "climbing up stairs"): 60,
    ("hhar", "walking upstairs"): 20,
    ("hhar", "cycling"): 30,
    ("uci_har", "standing"): 10,
    ("wisdm_v1", "sitting"): 30,
    ("wisdm_v1", "walking upstairs"): 100,
}


@pytest.mark.parametrize("name", SOURCES)
def test_what_was_measured_is_what_is_read(name, tmp_path):
    rate, tolerance, expected, left_out = EXPECTED[name]
    getattr(har_files, name)(tmp_path)
    drops = Counter()
    recordings = list(SOURCES[name].recordings(tmp_path, drops))
    found = {}
    for r in recordings:
        assert r.rate_hz == rate
        assert r.id.startswith(f"{name}/")
        source, person = r.subject.split("/")
        assert source == name
        assert r.text.startswith(BEARERS.get(name, "a person is "))
        found.setdefault((person, r.placement, r.label), []).append(len(r.signal))
    assert found == expected
    assert len({r.id for r in recordings}) == len(recordings)
    assert {reason: count for reason, count in drops.items() if count} == left_out

    for r in recordings:
        time = np.arange(len(r.signal)) / rate + r.start_seconds + BEGINS.get((name, r.label), 0)
        if r.id == "uci_har/test/4":
            time += 10
        truth = har_files.motion(time)
        if not r.has_gyro:
            truth[:, 3:] = 0
        good = np.ones(len(time), bool)
        for begin, end in r.bad_spans:
            seconds = np.arange(len(r.signal)) / rate
            good &= (seconds < begin) | (seconds > end)
        # HHAR's clocks are known to about the jitter of arrival
        slack = tolerance + (0.25 if name == "hhar" and r.has_gyro else 0)
        np.testing.assert_allclose(r.signal[good], truth[good], atol=slack, err_msg=r.id)
        assert np.median(np.linalg.norm(r.signal[:, :3], axis=1)) == pytest.approx(9.81, abs=0.1)


def test_missing_values_are_marked_and_not_invented(tmp_path):
    har_files.pamap2(tmp_path)
    wrist = next(iter(SOURCES["pamap2"].recordings(tmp_path, Counter())))
    ((begin, end),) = wrist.bad_spans
    assert begin <= 2.0 < 2.02 <= end
    assert end - begin < 0.05


def test_a_device_without_a_gyroscope_says_so(tmp_path):
    har_files.hhar(tmp_path)
    recordings = list(SOURCES["hhar"].recordings(tmp_path, Counter()))
    assert {(r.subject, r.has_gyro) for r in recordings} == {("hhar/a", True), ("hhar/b", False)}
    alone = [r for r in recordings if not r.has_gyro]
    assert all(not r.signal[:, 3:].any() for r in alone)


@pytest.mark.parametrize("name", SOURCES)
def test_prepare_makes_a_folder(name, tmp_path, capsys):
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    getattr(har_files, name)(raw)
    command = ["prepare", name, "--raw", str(raw), "--out", str(out), "--splits", "1", "0", "0"]
    assert main([*command, "--window", "2", "--hop", "1", "--target-rate", "25"]) == 0
    folder = DatasetFolder(out)
    rate, _, expected, left_out = EXPECTED[name]
    expected = {key: n for key, n in expected.items() if key[1] not in SOURCES[name].on_request}
    windows = list(folder.source("train"))
    seconds = [samples / rate for all_samples in expected.values() for samples in all_samples]
    # a resampled recording may be longer by part of a sample
    most = sum(int(np.ceil(s * 25) / 25 - 2) + 1 for s in seconds if s >= 1.96)
    touching = folder.metadata.drops.get("windows touching missing samples", 0)
    assert len(windows) + touching == most
    assert set(folder.label_names) == {label for _, _, label in expected}
    assert {w["placement"] for w in windows} == {place for _, place, _ in expected}
    assert {w["subject"] for w in windows} == {f"{name}/{person}" for person, _, _ in expected}
    assert all(w["imu"].shape == (50, 6) for w in windows)
    assert folder.metadata.licence == SOURCES[name].licence
    assert SOURCES[name].citation in folder.metadata.source
    printed = capsys.readouterr().out
    for reason, count in left_out.items():
        assert folder.metadata.drops[reason] == count
        assert f"{count:,} {reason}" in printed


def test_placements_and_labels_are_chosen(tmp_path, capsys):
    har_files.pamap2(tmp_path)
    out = tmp_path / "out"
    command = ["prepare", "pamap2", "--raw", str(tmp_path), "--out", str(out)]
    command += ["--splits", "1", "0", "0", "--window", "2", "--placement", "chest"]
    assert main([*command, "--drop-labels", "walking"]) == 0
    folder = DatasetFolder(out)
    assert folder.label_names == ("jumping rope",)
    assert folder.metadata.drops["recordings of another placement"] == 6
    assert folder.metadata.drops["recordings with a dropped label"] == 2

    har_files.opportunity(tmp_path)
    wrist = ["prepare", "opportunity", "--raw", str(tmp_path), "--out", str(tmp_path / "wrist")]
    assert main([*wrist, "--window", "2", "--placement", "right wrist", "--splits", *"100"]) == 0
    windows = list(DatasetFolder(tmp_path / "wrist").source("train"))
    assert {(w["placement"], w["has_gyro"]) for w in windows} == {("right wrist", False)}

    assert main([*command[:-1], "head", "--overwrite"]) == 2
    message = capsys.readouterr().err
    assert "'head'" in message
    assert "dominant ankle" in message


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_states_its_terms(name, capsys):
    source = SOURCES[name]
    assert all((source.title, source.licence, source.citation, source.download, source.layout))
    assert set(source.official_split.values()) <= {"train", "test"}
    with pytest.raises(SystemExit):
        main(["prepare", name, "--help"])
    printed = " ".join(capsys.readouterr().out.split())
    assert source.licence.split()[0] in printed
    assert source.citation.split(".")[0] in printed


def test_a_published_split(tmp_path, capsys):
    har_files.uci_har(tmp_path)
    out = tmp_path / "out"
    command = ["prepare", "uci_har", "--raw", str(tmp_path), "--window", "2", "--splits"]
    # person 2 is tested on; one person is left, who cannot fill two splits
    assert main([*command, "official", "--out", str(out)]) == 2
    assert "cannot fill 2 splits" in capsys.readouterr().err
    text = tmp_path / "train" / "subject_train.txt"
    text.write_text(text.read_text().replace("1\n1\n", "3\n3\n", 1))
    assert main([*command, "official", "--out", str(out)]) == 0
    folder = DatasetFolder(out)
    assert folder.metadata.groups["test"] == ("uci_har/2",)
    assert len(folder.metadata.groups["train"]) == 1
    assert len(folder.metadata.groups["validation"]) == 1

    har_files.wisdm(tmp_path)
    command = ["prepare", "wisdm", "--raw", str(tmp_path), "--out", str(tmp_path / "w"), "--splits"]
    for given, message in ((["official"], "no published split"), (["most"], "three fractions")):
        assert main([*command, *given]) == 2
        assert message in capsys.readouterr().err
