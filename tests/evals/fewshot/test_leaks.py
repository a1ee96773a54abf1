"""Planted leaks must be found: between sides, and between pretraining and evaluation."""

import dataclasses
import shutil

import numpy as np
import pytest
from support.tiny_config import ONE_HEAD

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from primus_jax.data.folder import DatasetFolder
from primus_jax.encoder import Encoder
from primus_jax.errors import PrimusError
from primus_jax.evals.features import Features, dataset_features
from primus_jax.evals.fewshot.comparison import compare
from primus_jax.evals.fewshot.draws import DrawOptions
from primus_jax.evals.fewshot.leaks import check_pretraining, check_sides
from primus_jax.evals.fewshot.probe_protocol import probe_fewshot
from primus_jax.evals.fewshot.sampling import choose_sides
from primus_jax.evals.hand_features import HandFeatures
from primus_jax.recordings.recording import Recording
from primus_jax.recordings.windows import WindowSpec


def walks(people, seed: int = 0):
    """Three windows of 3 s for each person and each of two activities."""
    for person in people:
        for activity in range(2):
            rng = np.random.default_rng([seed, person, activity])
            signal = (1 + activity) * rng.normal(size=(450, 6))
            yield Recording(
                id=f"{person}-{activity}", signal=signal.astype(np.float32), rate_hz=50.0,
                subject=f"person {person}", label=f"activity {activity}",
            )  # fmt: skip


def prepared(path, people, seed=0, hop=3.0, source="walks", name=None) -> DatasetFolder:
    return write_dataset(
        walks(people, seed), path, Origin(source, "none", simulated=True),
        Recipe(WindowSpec(50.0, 3.0, hop), Splits((0.5, 0.2, 0.3)), name=name),
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return prepared(tmp_path_factory.mktemp("leaks") / "walks", range(8))


def embedded(folder) -> Features:
    return dataset_features(HandFeatures(50.0), folder)


def trained_on(*folders, **changes) -> dict:
    return {"data": {str(f.path): {"content_hash": f.content_hash, **changes} for f in folders}}


def everyone(features, people="resampled"):
    sides = choose_sides(people, features.label, features.group, features.split, range(6))
    return sides.test.any(0)


def test_clean_draws_pass(folder):
    features = embedded(folder)
    for people in ("resampled", "folder", "leave-one-out"):
        args = (features.label, features.group, features.split, range(2))
        check_sides(features, choose_sides(people, *args))


@pytest.mark.parametrize("what", ["person", "group", "recording", "window"])
def test_a_planted_leak_between_the_sides_is_found(folder, what):
    features = embedded(folder)
    column = {"person": "subject", "window": "content"}.get(what, what)
    values = getattr(features, column).copy()
    test = np.flatnonzero(features.split == "test")[0]
    values[test] = values[np.flatnonzero(features.split == "train")[0]]
    leaking = dataclasses.replace(features, **{column: values})
    with pytest.raises(PrimusError, match=rf"leak .*{what}"):
        probe_fewshot(leaking, (1,), 1, people="folder")


def test_recordings_without_a_name_are_nobody_in_common(folder):
    features = embedded(folder)
    unknown = np.full(len(features.label), "unknown")
    probe_fewshot(dataclasses.replace(features, subject=unknown), (1,), 1, people="folder", c=1.0)


def test_a_copied_recording_is_found(tmp_path):
    """The same signal under another person's name: only the content gives it away."""
    recordings = list(walks(range(4)))
    twin = dataclasses.replace(recordings[0], id="copy", subject="person 9")
    folder = write_dataset(
        [*recordings, twin], tmp_path / "copied", Origin("walks", "none", simulated=True),
        Recipe(WindowSpec(50.0, 3.0, 3.0), Splits((0.5, 0.2, 0.3))),
    )  # fmt: skip
    with pytest.raises(PrimusError, match=r"window.*copy|window.*0-0"):
        probe_fewshot(embedded(folder), (1,), 1, people="leave-one-out")


def test_pretraining_on_the_same_folder(folder):
    features = embedded(folder)
    metadata = trained_on(folder)
    with pytest.raises(PrimusError, match="--people folder"):
        check_pretraining(metadata, folder, features, everyone(features))
    own = check_pretraining(metadata, folder, features, everyone(features, "folder"))
    assert own["status"] == "clean"


def test_pretraining_on_a_folder_that_shares_something(folder, tmp_path):
    features = embedded(folder)
    tested = everyone(features)
    same_windows = prepared(tmp_path / "a", range(5, 12), source="another")
    with pytest.raises(PrimusError, match="window"):
        check_pretraining(trained_on(same_windows), folder, features, tested)
    # Other cuts: no window is equal, but the recordings are.
    shifted = prepared(tmp_path / "b", range(8), hop=1.3, source="another")
    only_recordings = dataclasses.replace(features, content=None)
    with pytest.raises(PrimusError, match="recording"):
        check_pretraining(trained_on(shifted), folder, only_recordings, tested)
    # Other recordings of the same people of the same source.
    renamed = dataclasses.replace(
        only_recordings, recording=np.char.add("new ", features.recording)
    )
    same_people = prepared(tmp_path / "c", range(8), seed=1)
    with pytest.raises(PrimusError, match="person"):
        check_pretraining(trained_on(same_people), folder, renamed, tested)


def test_names_alone_are_no_leak_between_sources(folder, tmp_path):
    """'person 1' of another dataset is somebody else."""
    other = prepared(tmp_path / "other", range(8), seed=2, source="another")
    features = embedded(folder)
    renamed = dataclasses.replace(features, recording=np.char.add("new ", features.recording))
    check = check_pretraining(trained_on(other), folder, renamed, everyone(features))
    assert check["status"] == "clean"


def test_what_cannot_be_compared_is_said(folder, tmp_path):
    features = embedded(folder)
    tested = everyone(features)
    gone = prepared(tmp_path / "gone", range(20, 24))
    metadata = trained_on(gone)
    shutil.rmtree(gone.path)
    check = check_pretraining(metadata, folder, features, tested)
    assert check["status"] == "not verified"
    assert "gone" in check["why"]
    assert check_pretraining({}, folder, features, tested)["status"] == "not verified"
    assert check_pretraining({"random_seed": 1}, folder, features, tested)["status"] == "untrained"
    suspicious = {"data": {"elsewhere/walks": {"content_hash": "another"}}}
    with pytest.raises(PrimusError, match="has the name"):
        check_pretraining(suspicious, folder, features, tested)


def test_the_comparison_stops_or_reports(folder):
    encoder = Encoder.random(ONE_HEAD, 0, 50.0, 3.0)
    encoder.metadata = trained_on(folder)
    draws = DrawOptions((1,), 1)
    with pytest.raises(PrimusError, match="mine: leak"):
        compare({"mine": [encoder]}, [folder], draws)
    (row,) = compare({"mine": [encoder]}, [folder], draws, leaks="report")
    assert row["pretraining_leaks"][0]["status"] == "leak"
