"""Zero-shot: prompts, predictions, scores against scikit-learn, chance."""

import numpy as np
import pytest

from primus_jax.data.embeddings import load_embeddings
from primus_jax.data.folder import DatasetFolder
from primus_jax.errors import PrimusError
from primus_jax.evals.crossmodal.prompts import (
    ClassPrompts,
    embed_prompts,
    read_prompts,
    stored_prompts,
    templated_prompts,
)
from primus_jax.evals.crossmodal.zeroshot import zero_shot, zero_shot_table

NAMES = ("walk", "sit", "fall")


def prompts_of(embedding: np.ndarray, names=NAMES) -> ClassPrompts:
    return ClassPrompts(names, tuple((n,) for n in names), embedding.astype(np.float32), "a test")


def clusters(n: int = 200, dim: int = 12, seed: int = 0):
    rng = np.random.default_rng(seed)
    centre = rng.normal(size=(3, dim))
    label = rng.choice(3, n, p=[0.6, 0.3, 0.1]).astype(np.int32)
    x = centre[label] + 1.5 * rng.normal(size=(n, dim))
    return x.astype(np.float32), label, centre


def test_scores_equal_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    x, label, centre = clusters()
    result = zero_shot(x, label, NAMES, prompts_of(centre))
    cosine = x @ centre.T / np.linalg.norm(x, axis=1)[:, None] / np.linalg.norm(centre, axis=1)
    predicted = cosine.argmax(1)
    np.testing.assert_array_equal(result.confusion, metrics.confusion_matrix(label, predicted))
    row = result.row()
    assert row["accuracy"] == pytest.approx(metrics.accuracy_score(label, predicted))
    assert row["macro_f1"] == pytest.approx(metrics.f1_score(label, predicted, average="macro"))
    assert row["chance"]["accuracy"] == pytest.approx(1 / 3)
    assert row["windows"] == 200
    assert "| walk " in zero_shot_table(result)


def test_classes_are_named_not_numbered():
    """Prompts in another order, and of some classes only."""
    x, label, centre = clusters()
    all_three = zero_shot(x, label, NAMES, prompts_of(centre))
    turned = zero_shot(x, label, NAMES, prompts_of(centre[::-1], NAMES[::-1]))
    np.testing.assert_array_equal(turned.confusion, all_three.confusion[::-1, ::-1])
    unlabelled = np.where(np.arange(200) < 10, -1, label)
    two = zero_shot(x, unlabelled, NAMES, prompts_of(centre[[2, 0]], ("fall", "walk")))
    sitting = int((unlabelled == 1).sum())
    assert two.left_out == {"unlabelled": 10, "no_prompt": sitting}
    assert two.row()["windows"] == 190 - sitting
    with pytest.raises(PrimusError, match="no window is labelled"):
        zero_shot(x, np.full(200, -1), NAMES, prompts_of(centre))


def test_equal_prompts_share_and_all_equal_is_chance():
    x, label, centre = clusters()
    centre[2] = centre[0]
    result = zero_shot(x, label, NAMES, prompts_of(centre))
    np.testing.assert_array_equal(result.confusion[:, 0], result.confusion[:, 2])
    np.testing.assert_array_equal(result.confusion.sum(1), np.bincount(label))
    row = zero_shot(x, label, NAMES, prompts_of(np.ones((3, 12)))).row()
    assert row["accuracy"] == pytest.approx(1 / 3)
    assert row["kappa"] == pytest.approx(0)
    for metric, value in row["chance"].items():
        assert row[metric] == pytest.approx(value)


def test_a_class_without_windows_is_not_averaged():
    x, label, centre = clusters()
    some = label < 2
    row = zero_shot(x[some], label[some], NAMES, prompts_of(centre)).row()
    assert row["classes"] == 3
    assert row["classes_with_windows"] == 2
    confusion = np.array(row["confusion"])
    f1 = 2 * np.diag(confusion) / (confusion.sum(0) + confusion.sum(1)).clip(1)
    assert row["macro_f1"] == pytest.approx(f1[:2].mean())


def test_prompts_are_averaged_at_unit_length():
    embeddings = {"a": np.array([9.0, 0]), "b": np.array([0, 0.1]), "c": np.array([-1.0, 0])}
    found = embed_prompts({"x": ["a", "b"], "y": ["c"]}, embeddings, "here")
    np.testing.assert_allclose(found.embedding, [[0.5, 0.5], [-1, 0]])
    with pytest.raises(PrimusError, match="1 sentences without an embedding, the first 'd'"):
        embed_prompts({"x": ["a", "d"], "y": ["c"]}, embeddings, "here")
    with pytest.raises(PrimusError, match="zero-shot needs two classes"):
        embed_prompts({"x": ["a"]}, embeddings, "here")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "expected an object"),
        ('{"walk": []}', "'walk': expected a list"),
        ('{"walk": "walking"}', "'walk': expected a list"),
        ('{"walk": ["x", 3]}', "'walk': expected a list"),
        ('{"wlak": ["x"]}', "no class 'wlak'"),
        ('{"walk": ["x"], "walk": ["y"]}', "given twice"),
    ],
)
def test_wrong_prompt_files(tmp_path, text, message):
    file = tmp_path / "prompts.json"
    file.write_text(text)
    with pytest.raises(PrimusError, match=message):
        read_prompts(file, NAMES)


def test_templates():
    sentences = {"a person is sit down", "the activity is sit down", "the activity is walk"}
    found = templated_prompts(("sit_down", "walk"), dict.fromkeys(sentences))
    assert found == {
        "sit_down": ["a person is sit down", "the activity is sit down"],
        "walk": ["the activity is walk"],
    }
    with pytest.raises(PrimusError, match=r"'a person is fall'.*'fall'"):
        templated_prompts(("walk", "fall"), dict.fromkeys(sentences))


def test_templates_of_the_real_labels(shared_data):
    text = load_embeddings(shared_data / "embeddings.npz").text
    with np.load(shared_data / "usc_had.npz", allow_pickle=False) as pack:
        names = np.unique(pack["label"]).tolist()
    found = embed_prompts(templated_prompts(names, text), text, "templates")
    assert {len(sentences) for sentences in found.sentences} == {3}
    # the label itself is nearest to the prompts made of it
    cosine = np.stack([text[name] for name in names]).astype(np.float32) @ found.embedding.T
    np.testing.assert_array_equal(cosine.argmax(1), np.arange(len(names)))


def test_stored_sentences_come_from_other_splits(simulated):
    folder = DatasetFolder(simulated)
    found = stored_prompts(folder, ["validation"])
    assert "of its train windows" in found.origin
    train = list(folder.source("train"))
    for name, sentences in zip(found.names, found.sentences, strict=True):
        label = folder.label_names.index(name)
        assert set(sentences) == {row["text"] for row in train if row["label"] == label}
        assert len(set(sentences)) == len(sentences)
    assert "the very windows evaluated" in stored_prompts(folder, list(folder.splits)).origin
