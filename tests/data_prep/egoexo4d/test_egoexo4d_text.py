"""Atomic descriptions, keysteps, activities and splits of Ego-Exo4D."""

import gzip
import json
from collections import Counter

import pytest
from support.miniature_egoexo4d import FakeTake, annotation, sentence, write_download

from data_prep.egoexo4d import descriptions as d
from data_prep.egoexo4d.activity import MARKS, PROMPTS, activity_of, prompt_of
from data_prep.egoexo4d.keysteps import NO_TIME, UNREADABLE, read_keysteps
from data_prep.egoexo4d.takes import broken_takes, read_split, read_takes
from primus_jax.errors import PrimusError


def told(*entries, **options):
    raw = [annotation([sentence(*said) for said in entry]) for entry in entries]
    drops = Counter()
    return d.narrations(d._annotations(raw), drops, **options), +drops


def test_sentences_are_cleaned_and_counted():
    again = "performs CPR on Cecil's manikin C"
    found, drops = told(
        [
            (3.0, "C performs CPR on Cecil's manikin C.  "),
            (1.0, "c picks  a\n#unsure with C's hand."),
            (2.0, "C schneidet eine Zwiebel, größer als 日本の玉ねぎ."),
            (4.0, "The man X throws the ball to C.", "O"),
            (5.0, "The ball hits the rim.", "C"),
            (5.5, "C stops.", None, None),
            (6.0, "C .", "C"),
            (7.0, "C cuts it", "C", True),
        ],
        [
            (3.4, "C performs CPR on Cecil's manikin C"),
            (9.0, "C performs CPR on Cecil's manikin C"),
        ],
    )
    again = "performs CPR on Cecil's manikin C"
    assert found == (
        (1.0, "picks a something with C's hand"),
        (2.0, "schneidet eine Zwiebel, größer als 日本の玉ねぎ"),
        (3.0, again),
        (7.0, "cuts it"),
        (9.0, again),
    )
    assert drops == {d.OTHERS: 3, d.EMPTY: 1, d.AGAIN: 1, d.UNSURE + d.KEPT: 1}


def test_what_is_kept_is_a_choice():
    said = [(1.0, "C cuts", "C", True), (2.0, "The ball hits the rim.", "O")]
    found, drops = told(said, others=True, unsure=False)
    assert found == ((2.0, "The ball hits the rim"),)
    assert drops == {d.UNSURE: 1}
    rejected = d._annotations([annotation([sentence(1.0, "C runs")], rejected=True)])
    drops = Counter()
    assert d.narrations(rejected, drops) == ()
    assert drops == {d.REJECTED: 1}
    assert d.narrations(rejected, drops, rejected=True) == ((1.0, "runs"),)


def test_the_real_descriptions(shared_data, tmp_path):
    """The published validation part: nearly all sentences speak of the camera wearer."""
    (tmp_path / "annotations").mkdir()
    with gzip.open(shared_data / "egoexo4d" / "atomic_descriptions_custom_val.json.gz") as file:
        content = file.read()
    (tmp_path / "annotations" / "atomic_descriptions_val.json").write_bytes(content)
    found = d.read_descriptions(tmp_path)
    drops = Counter()
    sentences = {uid: d.narrations(entries, drops, rejected=True) for uid, entries in found.items()}
    assert len(sentences) == 185
    # 579 have the subject O, 4 none, and 155 of C's begin with something else
    assert drops == {d.OTHERS: 738, d.UNSURE + d.KEPT: 40, d.AGAIN: drops[d.AGAIN]}
    assert sum(map(len, sentences.values())) + drops[d.OTHERS] + drops[d.AGAIN] == 13_884
    texts = [text for said in sentences.values() for _, text in said]
    assert not [text for text in texts if text.startswith(("C ", "c ")) or text != text.strip()]
    assert any("CPR" in text for text in texts)
    drops = Counter()
    for entries in found.values():
        d.narrations(entries, drops)
    assert drops[d.REJECTED] == 33


def test_keysteps_activities_and_split(tmp_path):
    takes = [
        FakeTake("a_bike_1", imu=None, participant=1, split="train", parent_task="Bike Repair"),
        FakeTake("b_covid_1", imu=None, participant=2, split="val", parent_task="Health"),
        FakeTake("c_cpr_1", imu=None, participant=2, split="train", parent_task="Health"),
        FakeTake("d_x_1", imu=None, participant=None, split="test", parent_task="Rock Climbing"),
        FakeTake("e_y_1", imu=None, participant=3, steps=[(9, 12, "Stir"), (1, 4, "Cut")]),
    ]
    raw = write_download(tmp_path / "raw", takes)
    found = read_takes(raw)
    activities = {uid: activity_of(take.activity) for uid, take in found.items()}
    assert list(activities.values()) == [
        "repairing a bike",
        "taking a COVID-19 test",
        "performing CPR",
        "climbing",
        "cooking",
    ]
    assert read_split(raw) == {
        "egoexo4d-1": "train",
        # somebody with takes on two sides is held out with all of them
        "egoexo4d-2": "validation",
        found[takes[3].uid].group: "test",
        "egoexo4d-3": "train",
    }
    assert found[takes[3].uid].group.startswith("egoexo4d-capture-")
    (found,) = read_keysteps(raw).values()
    assert found.unreadable == ()
    assert [(s.start, s.end, s.name, s.text) for s in found.steps] == [
        (1, 4, "Cut", "Cut"),
        (9, 12, "Stir", "Stir"),
    ]


def test_every_activity_has_its_sentences():
    assert MARKS.keys() == PROMPTS.keys()
    sentences = [sentence for prompts in PROMPTS.values() for sentence in prompts]
    assert len(set(sentences)) == len(sentences) == 40
    for activity, prompts in PROMPTS.items():
        assert prompts[0] == f"a person is {activity}"
        assert {prompt_of(activity, str(i)) for i in range(100)} == set(prompts)
    assert activity_of(("Origami", "fold_01_2", "")) == ""


def edited(raw, name, change):
    path = raw / name
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("takes.json", lambda c: c[0].pop("take_uid"), "take 0 .a_bike_1.*take_uid"),
        ("takes.json", lambda c: c[0].update(duration_sec=-1), "duration_sec -1"),
        ("takes.json", lambda c: c.append(c[0]), "given twice"),
        ("takes.json", lambda c: c.__setitem__(0, "no"), "take 0"),
        (
            "annotations/splits.json",
            lambda c: c.update(take_uid_to_split={"x": "dev", "y": ["train"]}),
            "take_uid_to_split",
        ),
    ],
)
def test_broken_metadata_is_named(tmp_path, name, change, message):
    raw = write_download(tmp_path / "raw", [FakeTake("a_bike_1", imu=None)])
    edited(raw, name, change)
    with pytest.raises(PrimusError, match=message):
        read_split(raw)


def test_an_odd_take_costs_that_take(tmp_path):
    takes = [FakeTake(f"{letter}_bike_1", imu=None) for letter in "abcd"]
    raw = write_download(tmp_path / "raw", takes)
    edited(raw, "takes.json", lambda c: c[1].pop("duration_sec"))
    edited(raw, "takes.json", lambda c: c.extend([7, {"take_name": "x"}, c[2]]))
    edited(raw, "annotations/splits.json", lambda c: c["take_uid_to_split"].update(x=["dev"]))
    assert list(read_takes(raw)) == [takes[0].uid, takes[3].uid]
    broken = broken_takes(raw)
    assert broken.keys() == {takes[1].uid, takes[2].uid, "takes.json entry 4", "takes.json entry 5"}
    assert "take 1 (b_bike_1): the field duration_sec is missing" in broken[takes[1].uid]
    assert "given twice" in broken[takes[2].uid]
    assert read_split(raw) == {"egoexo4d-1": "train"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"timestamp": None}, d.NO_TIME),
        ({"timestamp": "soon"}, d.NO_TIME),
        ({"timestamp": float("nan")}, d.NO_TIME),
        ({"text": None}, d.EMPTY),
        ({"text": 7}, d.UNREADABLE),
    ],
)
def test_an_odd_sentence_costs_that_sentence(change, reason):
    odd = [sentence(1.0, "C runs") | change, sentence(2.0, "C sits"), 7, {"text": "C"}]
    drops = Counter()
    found = d._annotations([annotation(odd), None, {"descriptions": 3}])
    assert d.narrations(found, drops) == ((2.0, "sits"),)
    assert drops == Counter([reason, *[d.UNREADABLE] * 4])
    assert d.narrations(d._annotations({"a": 1}), drops) == ()


def test_a_missing_mark_is_not_a_mark():
    unmarked = sentence(2.0, "C sits")
    del unmarked["unsure"]
    drops = Counter()
    assert d.narrations(d._annotations([annotation([unmarked])]), drops) == ((2.0, "sits"),)
    assert not drops


def test_an_odd_keystep_costs_that_keystep(tmp_path):
    steps = [(1, 2, "Cut"), (3, 4, "Stir"), (5, 6, "Pour"), (7, 8, "Eat")]
    take = FakeTake("a_bike_1", imu=None, steps=steps)
    raw = write_download(tmp_path / "raw", [take])

    def change(content):
        segments = content["annotations"][take.uid]["segments"]
        segments[0].update(end_time=0.5)
        segments[1].pop("start_time")
        segments[2].update(step_name=None)
        segments.append([1])
        content["annotations"]["b"] = None

    edited(raw, "annotations/keystep_train.json", change)
    found = read_keysteps(raw)
    assert [step.name for step in found[take.uid].steps] == ["Eat"]
    assert Counter(found[take.uid].unreadable) == {NO_TIME: 2, UNREADABLE: 2}
    assert found["b"].unreadable == (UNREADABLE,)


def test_files_of_another_form_are_named(tmp_path):
    raw = write_download(tmp_path / "raw", [FakeTake("a_bike_1", imu=None, steps=[(1, 2, "Cut")])])
    name = "annotations/atomic_descriptions_train.json"
    edited(raw, name, lambda c: c.pop("annotations"))
    with pytest.raises(PrimusError, match="annotations by take uid"):
        d.read_descriptions(raw)
    (raw / name).write_text("{")
    with pytest.raises(PrimusError, match="is not JSON"):
        d.read_descriptions(raw)
    for path in (raw / "annotations").glob("keystep*"):
        path.unlink()
    with pytest.raises(PrimusError, match="Download the part `annotations`"):
        read_keysteps(raw)
