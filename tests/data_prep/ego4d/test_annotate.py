"""Soft labels from narrations, and the way from them to supervised and zero-shot scores."""

import csv
import json
import math
from collections import Counter

import numpy as np
import pytest
from support import miniature_ego4d as mini

from data_prep.ego4d.annotate import COLUMNS, MOVEMENT4_PATTERNS
from data_prep.ego4d.prompts import MOVEMENT, MOVEMENT4
from data_prep.soft_labels import NONE, SEVERAL, Patterns, TfIdf, words
from primus_jax.cli import main
from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.models.released import ReleasedConfig

SENTENCES = [
    "looks around", "looks around", "moves a head", "sits down on a chair", "stands up",
    "puts the cup down", "walks around the house", "opens a box", "opens the box", "walk",
]  # fmt: skip


def test_scores_are_those_of_scikit_learn():
    text = pytest.importorskip("sklearn.feature_extraction.text")
    found = TfIdf.fit(tuple(MOVEMENT), SENTENCES, 0.6)
    reference = text.TfidfVectorizer().fit(SENTENCES)
    labels = [label for label in MOVEMENT if set(words(label)) <= found.weight.keys()]
    assert len(labels) >= 5
    queries = reference.transform(labels).toarray()
    for sentence in SENTENCES:
        scores = queries @ reference.transform([sentence]).toarray()[0]
        for label, expected in zip(labels, scores, strict=True):
            ours, other = found.vector(sentence), found.vector(label)
            score = sum(value * other.get(word, 0) for word, value in ours.items())
            assert score == pytest.approx(expected, abs=1e-12)


def test_the_best_class_above_the_least_score():
    found = TfIdf.fit(tuple(MOVEMENT), SENTENCES, 0.6)
    for sentence, label in (
        ("moves a head", "moves head"),
        ("Looks  around.", "looks around"),
        ("sits down", "sits down"),
        ("opens a box", ""),
        ("", ""),
        ("x", ""),
    ):
        assert found.match(sentence).label == label
    assert found.match("moves a head").score == pytest.approx(1)
    assert found.match("opens a box").why == NONE
    both = TfIdf.fit(("looks up", "looks down"), ["looks", "up", "down"], 0.3).match("looks")
    assert (both.label, both.why) == ("", SEVERAL)


def test_a_word_that_nobody_said_weighs_most():
    found = TfIdf.fit(("jumping",), ["walks here", "walks there"], 0.5)
    assert found.unknown == math.log(3) + 1
    assert found.match("jumping").score == pytest.approx(1)


def test_patterns_know_whole_movements():
    found = Patterns(MOVEMENT4_PATTERNS)
    assert found.labels == tuple(MOVEMENT4)
    for sentence, label in (
        ("looks around", "head movement"),
        ("C looks slowly up", "head movement"),
        ("turns the head", "head movement"),
        ("moves his head to the left", "head movement"),
        ("moves hand", ""),
        ("looks at the phone", ""),
        ("stands up from the floor", "stands up"),
        ("gets up", "stands up"),
        ("stands on a ladder", ""),
        ("sits down on a chair", "sits down"),
        ("sits on a chair", ""),
        ("puts the cup down", ""),
        ("Walks around the house", "walking"),
        ("cleans the walk way", ""),
        ("opens a box", ""),
    ):
        assert found.match(sentence).label == label, sentence
    assert found.match("stands up and walks").why == SEVERAL


def test_the_published_labels_are_found_again(shared_data):
    """Sentences that IMU2CLIP's file gives one label with score 1 have that label here."""
    path = shared_data / "ego4d" / "dataset_motion_narr_2.5.csv"
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = TfIdf.fit(tuple(MOVEMENT), [row["text"] for row in rows], 0.6)
    sure = [row for row in rows if float(row["Score-TFIDF"]) > 0.999]
    assert len(sure) > 1000
    assert all(found.match(row["text"]).label == row["label"] for row in sure)


DONE = ("looks around", "stands up", "sits down", "walks to the door", "opens a box")


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Ten videos of five people, in each of whom every movement is narrated twice."""
    pytest.importorskip("av")
    videos, imus, told = [], {}, {}
    for number in range(10):
        items = [
            mini.narration(4.0 + 5 * k, f"#C C {DONE[(k + number) % 5]}", k) for k in range(11)
        ]
        videos.append(mini.video(number, 60.0))
        imus[number] = mini.imu(60, rate=50.0, seed=number)
        told[number] = mini.passes(items)
    return mini.write_download(tmp_path_factory.mktemp("ego4d"), videos, imus, told)


def annotated(raw, out, *more) -> list[dict[str, str]]:
    assert main(["annotate", "--raw", str(raw), "--out", str(out), *more]) == 0
    with out.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_row_for_every_narration_of_a_class(raw, tmp_path, capsys):
    rows = annotated(raw, tmp_path / "four.csv", "--classes", "movement4")
    assert tuple(rows[0]) == COLUMNS
    assert set(Counter(row["label"] for row in rows)) == set(MOVEMENT4)
    boxes = sum((k + n) % 5 == 4 for n in range(10) for k in range(11))
    assert len(rows) == 110 - boxes
    first = [row for row in rows if row["video_uid"] == mini.uid(0)]
    assert [float(row["window_start"]) for row in first][:3] == [1.5, 6.5, 11.5]
    assert all(
        float(row["window_end"]) - float(row["window_start"]) == pytest.approx(5) for row in rows
    )
    printed = capsys.readouterr().out
    assert '("looks around" ' in printed
    assert f"no label: {boxes:,} {NONE}" in printed
    assert main(["annotate", "--raw", str(raw), "--out", str(tmp_path / "four.csv")]) == 2
    assert "already exists" in capsys.readouterr().err
    nine = annotated(raw, tmp_path / "four.csv", "--overwrite")
    assert {row["label"] for row in nine} == {"looks around", "stands up", "sits down"}
    assert all(0.6 <= float(row["Score-TFIDF"]) <= 1 + 1e-6 for row in nine)


@pytest.mark.slow
def test_from_narrations_to_supervised_and_zero_shot(raw, tmp_path, capsys):
    """annotate, prepare, fewshot, zeroshot: the whole way by the command line."""
    annotated(raw, tmp_path / "labels.csv", "--classes", "movement4")
    data = tmp_path / "data"
    assert main(["prepare", "ego4d", "--raw", str(raw), "--out", str(data), "--task", "movement",
                 "--labels", str(tmp_path / "labels.csv"), "--splits", "0.4", "0.2", "0.4",
                 "--workers", "1"]) == 0  # fmt: skip
    folder = DatasetFolder(data)
    assert set(folder.label_names) == set(MOVEMENT4)
    Encoder.random(
        ReleasedConfig(readout="pool", embed_dim=8, channels=4, multihead=False), 0, 50.0, 5.0
    ).save(tmp_path / "encoder")
    assert main(["fewshot", "--encoder", f"mine={tmp_path / 'encoder'}", "--data", str(data),
                 "--shots", "2", "--seeds", "2", "--out", str(tmp_path / "few")]) == 0  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "few/results.jsonl").read_text().splitlines()]
    assert rows[0]["classes"] == 4
    prompts = {name: list(sentences) for name, sentences in MOVEMENT4.items()}
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))
    every = [sentence for sentences in prompts.values() for sentence in sentences]
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "t.npz", text=np.array(every),
             text_embedding=rng.normal(size=(len(every), 8)).astype(np.float32))  # fmt: skip
    assert main(["zeroshot", "--encoder", str(tmp_path / "encoder"), "--data", str(data),
                 "--split", "all", "--prompts", str(tmp_path / "prompts.json"), "--embeddings",
                 str(tmp_path / "t.npz"), "--out", str(tmp_path / "zero")]) == 0  # fmt: skip
    [row] = [
        json.loads(line) for line in (tmp_path / "zero/results.jsonl").read_text().splitlines()
    ]
    assert (row["classes"], row["classes_with_windows"]) == (4, 4)
    assert row["chance"]["accuracy"] == pytest.approx(0.25)


def test_bad_input(raw, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out.csv")]
    no_text = mini.write_download(tmp_path / "none", [mini.video(0, 9.0)], {}, {})
    for words_, message in (
        (["--raw", str(tmp_path / "nowhere")], "no such folder"),
        (["--raw", str(no_text)], "no narration to weigh words by"),
        (["--raw", str(no_text), "--classes", "movement4"], "no narration fits a class"),
        (["--raw", str(raw), "--least", "0"], "--least 0"),
        (["--raw", str(raw), "--least", "1.5"], "--least 1.5"),
        (["--raw", str(raw), "--window", "0"], "--window 0"),
    ):
        assert main(["annotate", *words_, *out]) == 2, message
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out.csv").exists()
    (no_text / "v2" / "annotations" / "narration.json").unlink()
    assert main(["annotate", "--raw", str(no_text), *out]) == 2
    assert "no annotations/narration.json" in capsys.readouterr().err
    with pytest.raises(PrimusError, match="no narration to weigh"):
        TfIdf.fit(("a",), [], 0.5)
