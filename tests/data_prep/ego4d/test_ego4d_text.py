"""Narrations lose their tags and nothing else."""

import csv
import json
from collections import Counter

import pytest
from support import miniature_ego4d as mini

from data_prep.ego4d import narrations
from data_prep.ego4d.narrations import read_narrations
from data_prep.narration_text import OTHERS, SUMMARY, UNTAGGED, WEARER, clean, subject_of
from primus_jax.errors import PrimusError

KNOWN = frozenset(mini.uid(n) for n in range(20))


@pytest.mark.parametrize(
    ("raw", "subject", "sentence"),
    [
        ("#C C walks to the fridge", WEARER, "walks to the fridge"),
        ("#c c looks up", WEARER, "looks up"),
        ("# C C  picks\ta Coca-Cola Can.", WEARER, "picks a Coca-Cola Can"),
        ("#C walks", WEARER, "walks"),
        ("#C C's hand shakes", WEARER, "C's hand shakes"),
        ("#C Cécile läuft", WEARER, "Cécile läuft"),
        ("#C C 走到厨房", WEARER, "走到厨房"),
        ("#C C走到厨房。", WEARER, "走到厨房。"),
        ("#C C يفتح الباب", WEARER, "يفتح الباب"),
        ("#C C пьёт Чай", WEARER, "пьёт Чай"),
        ("#C C opens a #Unsure.", WEARER, "opens a something"),
        ("#C C holds # unsure and C waits", WEARER, "holds something and C waits"),
        ("#C C touches his head. #unsure", WEARER, "touches his head"),
        ("#C C gives #O man X a cup", WEARER, "gives man X a cup"),
        ("#C C talks to #C C", WEARER, "talks to C"),
        ("#C C", WEARER, ""),
        ("#C C #unsure", WEARER, "something"),
        ("C opens the Door", WEARER, "opens the Door"),
        ("#O man X waves at C", OTHERS, "man X waves at C"),
        ("#o A woman C cooks", OTHERS, "A woman C cooks"),
        ("#Summary C was in a kitchen", SUMMARY, None),
        ("Cuts the bread", UNTAGGED, "Cuts the bread"),
        ("#CC walks", UNTAGGED, None),
        ("", UNTAGGED, ""),
    ],
)
def test_subject_and_sentence(raw, subject, sentence):
    assert subject_of(raw) == subject
    if sentence is not None:
        assert clean(raw) == sentence


def test_the_published_sentences_keep_their_words(shared_data):
    path = shared_data / "ego4d" / "dataset_motion_narr_2.5.csv"
    with path.open(encoding="utf-8") as file:
        texts = {row["text"] for row in csv.DictReader(file)}
    changed = Counter()
    for text in texts:
        cleaned = clean(f"#C C {text}")
        assert "#" not in cleaned
        changed[cleaned == text] += 1
    assert changed[True] > 0.9 * len(texts)


def write(path, videos) -> None:
    path.write_text(json.dumps({"version": "2.0", "videos": videos}), encoding="utf-8")


def test_passes_subjects_and_repetitions(tmp_path):
    path = tmp_path / "narration.json"
    first = [
        mini.narration(5.0, "#C C b"),
        mini.narration(2.0, "#C C a"),
        mini.narration(-0.04, "#C C begins"),
        mini.narration(-30.0, "#C C is early"),
        mini.narration(9.0, "#O man X c"),
        {"timestamp_sec": "7.5", "narration_text": "#C C d"},
    ]
    second = [mini.narration(2.0, "#c c a."), mini.narration(3.0, "#C C a")]
    write(path, {mini.uid(1): mini.passes(first, second), mini.uid(2): mini.passes([])})
    drops = Counter()
    found = read_narrations(path, mini.uid(1), KNOWN, drops)
    # rounding before the first frame is repaired; what is far before it is left to the placing
    early = [(-30.0, "is early"), (0.0, "begins")]
    assert found == [*early, (2.0, "a"), (3.0, "a"), (5.0, "b"), (7.5, "d")]
    assert drops == {narrations.REPEATED: 1, narrations.LEFT_OUT[OTHERS]: 1}
    drops = Counter()
    assert read_narrations(path, mini.uid(1), KNOWN, drops, passes=(2,)) == [(2.0, "a"), (3.0, "a")]
    found = read_narrations(path, mini.uid(1), KNOWN, drops, subjects=(OTHERS,))
    assert found == [(9.0, "man X c")]
    assert drops[narrations.LEFT_OUT[WEARER]] == 7
    assert read_narrations(path, mini.uid(2), KNOWN, drops) == []
    assert read_narrations(path, mini.uid(3), KNOWN, drops) == []


def test_videos_at_the_top_and_pretty_printed(tmp_path):
    path = tmp_path / "narration.json"
    tricky = '#C C writes "' + mini.uid(2) + '": {" on paper'
    videos = {
        mini.uid(1): mini.passes([mini.narration(2.0, tricky)]) | {"extra": {"a": {"b": 1}}},
        mini.uid(2): mini.passes([mini.narration(3.0, "#C C 走")]),
    }
    path.write_text(json.dumps(videos, indent=3), encoding="utf-8")
    drops = Counter()
    assert read_narrations(path, mini.uid(1), KNOWN, drops)[0][1] == clean(tricky)
    assert read_narrations(path, mini.uid(2), KNOWN, drops) == [(3.0, "走")]


def test_a_changed_file_is_read_again(tmp_path):
    path = tmp_path / "narration.json"
    for text in ("walks", "walks away"):
        write(path, {mini.uid(1): mini.passes([mini.narration(2.0, f"#C C {text}")])})
        assert read_narrations(path, mini.uid(1), KNOWN, Counter()) == [(2.0, text)]


@pytest.mark.parametrize("broken", [1, 2])
def test_a_damaged_video_is_named_and_spares_the_others(tmp_path, broken):
    path = tmp_path / "narration.json"
    texts = {n: "#C C breaks" if n == broken else "#C C sits" for n in (1, 2)}
    write(path, {mini.uid(n): mini.passes([mini.narration(2.0, t)]) for n, t in texts.items()})
    path.write_text(path.read_text().replace('breaks"', "breaks"))
    whole = 3 - broken
    assert read_narrations(path, mini.uid(whole), KNOWN, Counter()) == [(2.0, "sits")]
    with pytest.raises(PrimusError, match=f"video {mini.uid(broken)}: damaged JSON"):
        read_narrations(path, mini.uid(broken), KNOWN, Counter())


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_file_that_was_cut_off_is_refused_for_every_video(tmp_path, wrapped):
    # the videos behind the cut would else seem to have no narrations
    path = tmp_path / "narration.json"
    videos = {mini.uid(n): mini.passes([mini.narration(2.0, "#C C sits")]) for n in (1, 2)}
    whole = json.dumps({"videos": videos} if wrapped else videos)
    start = whole.index(mini.uid(2))
    for end in (start - 3, start + 60, len(whole) - 60, len(whole) - 1 - wrapped):
        path.write_text(whole[:end])
        for uid in map(mini.uid, (1, 2, 3)):
            with pytest.raises(PrimusError, match="cut off"):
                read_narrations(path, uid, KNOWN, Counter())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a JSON object"),
        ("[1, 2]", "not a JSON object"),
        (json.dumps({mini.uid(1): {"narration_pass_1": {"narrations": 7}}}), "no list"),
        (json.dumps({mini.uid(1): {"narration_pass_1": [1]}}), "no list"),
    ],
)
def test_another_file_is_refused(tmp_path, text, message):
    path = tmp_path / "narration.json"
    path.write_text(text)
    with pytest.raises(PrimusError, match=message):
        read_narrations(path, mini.uid(1), KNOWN, Counter())


def test_odd_items_are_counted(tmp_path):
    path = tmp_path / "narration.json"
    items = [7, {}, {"narration_text": " "}, mini.narration(1.0, "#C C ."), mini.narration(1, "x")]
    items += [{"narration_text": "#C C a"}, {"timestamp_sec": "soon", "narration_text": "#C C b"}]
    write(path, {mini.uid(1): mini.passes(items)})
    drops = Counter()
    assert read_narrations(path, mini.uid(1), KNOWN, drops) == []
    assert +drops == {
        narrations.EMPTY: 4,
        narrations.NO_TIME: 2,
        narrations.LEFT_OUT[UNTAGGED]: 1,
    }
