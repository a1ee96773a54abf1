"""Windows of one person: the index, the draws, the table on disk, and who is refused."""

import dataclasses
import shutil
import tracemalloc

import numpy as np
import pytest

from data_prep.dataset.origin import Origin
from data_prep.dataset.recipe import Recipe
from data_prep.dataset.splits import Splits
from data_prep.dataset.write import write_dataset
from data_prep.simulated.simulate import recordings
from primus_jax.data.folder import DatasetFolder
from primus_jax.data.inputs import Window, specs
from primus_jax.data.people import FILE, People, coded, index_people, read_people
from primus_jax.data.pipeline import Pipeline
from primus_jax.data.same_person import Motion, SamePerson
from primus_jax.errors import PrimusError
from primus_jax.recordings.windows import WindowSpec

SAMPLES = 130


@pytest.fixture(scope="module")
def folder(simulated):
    return DatasetFolder(simulated)


def changed(tmp_path, **values):
    """A small dataset whose recordings have these fields."""
    found = (
        dataclasses.replace(recording, **values)
        for recording in recordings(seed=0, people=2, bouts=1, seconds=5.2)
    )
    return write_dataset(
        found,
        tmp_path / "changed",
        Origin("simulated", "Apache-2.0", simulated=True),
        Recipe(WindowSpec(seconds=2.6, hop_seconds=2.6), Splits((1.0, 0.0, 0.0), seed=0)),
    )


def groups_of(index):
    """Every group as a set of windows."""
    return {frozenset(np.flatnonzero(index.group == g)) for g in np.unique(index.group)}


def test_groups_are_of_one_person_near_in_time():
    #       ana, run 1 (0, 30, 61 s); ana, run 2; ben, run 1 (the same name, somebody else)
    people = coded(["ana", "ana", "ben"], ["1", "2", "1"], [3, 1, 2], [0, 30, 61, 5, 1, 2])
    assert groups_of(index_people(people, "minutes", 1)) == {
        frozenset(x) for x in ([0, 1], [2], [3], [4, 5])
    }
    assert groups_of(index_people(people, "recording", 1)) == {
        frozenset(x) for x in ([0, 1, 2], [3], [4, 5])
    }
    assert groups_of(index_people(people, "person", 1)) == {
        frozenset(x) for x in ([0, 1, 2, 3], [4, 5])
    }


def test_windows_without_a_person_stand_alone():
    people = coded(["", "ana", "unknown"], ["1", "1", "1"], [2, 2, 1], [0.0] * 5)
    index = index_people(people, "person", 1)
    assert groups_of(index) == {frozenset(x) for x in ([0], [1], [2, 3], [4])}
    assert index.others.tolist() == [0, 0, 1, 1, 0]


def test_draws_are_distinct_others_of_the_group_and_all_are_reached():
    people = coded(["a", "b"], ["1", "1"], [7, 4], np.zeros(11))
    index, rng = index_people(people, "person", 1), np.random.default_rng(0)
    seen = set()
    for _ in range(200):
        windows, there = index.draw(3, 4, rng)
        assert there.all()
        assert len(set(windows)) == 4
        seen |= set(windows.tolist())
    assert seen == {0, 1, 2, 4, 5, 6}


def test_too_few_others_come_all_and_repetitions_are_marked():
    people = coded(["a", "b"], ["1", "1"], [3, 1], np.zeros(4))
    index, rng = index_people(people, "person", 1), np.random.default_rng(0)
    windows, there = index.draw(1, 5, rng)
    assert there.tolist() == [True, True, False, False, False]
    assert set(windows[:2]) == {0, 2} == set(windows)
    windows, there = index.draw(3, 5, rng)
    assert windows.tolist() == [3] * 5
    assert not there.any()


def test_a_million_windows():
    rng = np.random.default_rng(0)
    count = 1_000_000
    recording = np.sort(rng.integers(0, 5000, count)).astype(np.int32)
    people = People(
        (recording // 5).astype(np.int32), recording, np.arange(count, dtype=np.float32) % 7200
    )
    tracemalloc.start()
    index = index_people(people, "minutes", 60)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 200 * count  # bytes: arrays of numbers, not objects
    for number in (0, 123_456, count - 1):
        windows, there = index.draw(number, 20, rng)
        assert there.all()
        assert (people.recording[windows] == people.recording[number]).all()
        assert (people.start_seconds[windows] // 3600 == people.start_seconds[number] // 3600).all()
        assert number not in windows


def test_the_table_on_disk_is_that_of_the_records(folder, tmp_path):
    assert (folder.path / FILE).is_file()
    copy = tmp_path / "copy"
    shutil.copytree(folder.path, copy)
    (copy / FILE).unlink()
    for split in folder.splits:
        stored, scanned = read_people(folder, split), read_people(DatasetFolder(copy), split)
        for near in ("minutes", "recording", "person"):
            ours, theirs = (index_people(people, near, 60) for people in (stored, scanned))
            assert groups_of(ours) == groups_of(theirs)
        np.testing.assert_array_equal(stored.start_seconds, scanned.start_seconds)


def test_a_table_of_another_dataset_is_refused(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder.path, copy)
    np.savez(copy / FILE, train_subject=np.zeros(3, np.int32))
    with pytest.raises(PrimusError, match="does not describe"):
        read_people(DatasetFolder(copy), "train")


def test_a_dataset_without_people_is_refused(tmp_path):
    nameless = changed(tmp_path, subject="")
    with pytest.raises(PrimusError, match="names the person"):
        Pipeline([nameless], "train", 4, 0, [SamePerson(SAMPLES, 3, 2)])


def batches(folder, seed, step, near="person", host=0, hosts=1, count=3):
    inputs = (Motion(SAMPLES, 3), SamePerson(SAMPLES, 3, count, near))
    pipeline = Pipeline([folder], "train", 16, seed, inputs, host=host, hosts=hosts)
    return pipeline, next(pipeline.from_step(step))


def test_batches_are_a_function_of_seed_and_step_on_any_hosts(folder):
    _, whole = batches(folder, 3, 5)
    inputs = (Motion(SAMPLES, 3), SamePerson(SAMPLES, 3, 3))
    assert {n: (x.shape[1:], str(x.dtype)) for n, x in whole.items()} == {
        n: (s.shape, s.dtype) for n, s in specs(inputs).items()
    }
    for hosts in (2, 4):
        parts = [batches(folder, 3, 5, host=host, hosts=hosts)[1] for host in range(hosts)]
        for name, expected in whole.items():
            joined = np.stack([part[name] for part in parts], 1).reshape(expected.shape)
            np.testing.assert_array_equal(expected, joined)
    assert (batches(folder, 4, 5)[1]["candidates"] != whole["candidates"]).any()
    assert (batches(folder, 3, 6)[1]["candidates"] != whole["candidates"]).any()


def test_candidates_are_other_windows_of_the_same_person(folder):
    _, batch = batches(folder, 0, 0)
    source = folder.source("train")
    records = [source[i] for i in range(len(source))]
    owner = {record["imu"][:, :3].tobytes(): record["subject"] for record in records}
    assert batch["candidates_there"].all()
    for window, candidates in zip(batch["motion"], batch["candidates"], strict=True):
        names = {owner[np.ascontiguousarray(c).tobytes()] for c in candidates}
        assert names == {owner[np.ascontiguousarray(window).tobytes()]}
        assert all((c != window).any() for c in candidates)


def test_too_few_windows_are_counted_and_left_out(folder):
    pipeline, batch = batches(folder, 0, 0, near="recording")
    assert not batch["candidates_there"].any()
    [note] = pipeline.notes
    assert "fewer than 3 others" in note
    assert "left out" in note
    assert batches(folder, 0, 0)[0].notes == []


def test_windows_without_an_accelerometer_or_gyroscope_are_refused(folder):
    source = folder.source("train")
    gyro_only = {**source[0], "imu": source[0]["imu"] * (np.arange(6) >= 3)}
    with pytest.raises(PrimusError, match="accelerometer is zero"):
        Motion(SAMPLES, 3).read(Window(gyro_only, 0, source, "data"))
    acc_only = {**source[0], "has_gyro": False}
    assert Motion(SAMPLES, 3).read(Window(acc_only, 0, source, "data"))["motion"].any()
    with pytest.raises(PrimusError, match="no gyroscope"):
        Motion(SAMPLES, 6).read(Window(acc_only, 0, source, "data"))
