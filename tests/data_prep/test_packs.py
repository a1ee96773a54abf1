"""Packed recordings and stored embeddings."""

import numpy as np
import pytest
from support.recording_files import people, recording, write_pack

from data_prep.user.packs import LABEL, PLACEMENT, Packs
from primus_jax.data.embeddings import Embeddings, load_embeddings
from primus_jax.errors import PrimusError


def test_a_pack_comes_back_with_its_own_people(tmp_path):
    items = people(2, 2, placement="wrist")
    packs = Packs([write_pack(tmp_path / "a.npz", items)])
    read = list(packs)
    assert [r.id for r in read] == [f"mine/{r.id}" for r in items]
    assert [r.subject for r in read] == [f"mine/{r.subject}" for r in items]
    assert [r.split_group for r in read] == [r.subject for r in read]
    assert (packs.source, packs.licence) == ("mine: made by a test", "mine: CC0")
    for new, old in zip(read, items, strict=True):
        assert (new.label, new.text, new.placement) == (old.label, old.text, old.placement)
        np.testing.assert_allclose(new.signal, old.signal, atol=0.0051)


def test_clips_are_groups_and_share_a_video(tmp_path):
    items = [recording("c", placement=p, text=t) for p, t in (("head", "a"), ("hips", "b"))]
    items += [recording("c", placement="head", text="a"), recording("d", text="a")]
    path = write_pack(tmp_path / "a.npz", items, clip=np.array([1, 1, 0, 0], np.int32))
    stored = Embeddings({"a": np.ones(4, np.float16)}, {"mine": np.eye(2, 4, dtype=np.float16)})
    read = list(Packs([path], stored))
    assert [r.id for r in read] == ["mine/c/head", "mine/c/hips", "mine/c/head~2", "mine/d"]
    assert [r.split_group for r in read] == ["mine/clip1"] * 2 + ["mine/clip0"] * 2
    assert [int(r.video_embedding.argmax()) for r in read] == [1, 1, 0, 0]
    assert [r.text_embedding is None for r in read] == [False, True, False, False]


def test_placements_and_labels_are_chosen_and_counted(tmp_path):
    items = [*people(2, 2, placement="wrist"), recording("x", placement="head", label="sitting")]
    path = write_pack(tmp_path / "a.npz", items)
    packs = Packs([path], placements=["wrist"], drop_labels=["sitting"])
    for _ in range(2):
        assert [r.label for r in packs] == ["walking", "walking"]
        assert packs.drops == {PLACEMENT: 1, LABEL: 2}
    for wrong in ({"placements": ["ankle"]}, {"drop_labels": ["flying"]}):
        with pytest.raises(PrimusError, match=r"'ankle'|'flying'"):
            list(Packs([path], **wrong))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"offsets": None}, "no array 'offsets'"),
        ({"subject": None}, "no array 'subject'"),
        ({"offsets": np.array([0, 10, 5, 1000, 4000])}, "offsets"),
        ({"offsets": np.array([0, 1000, 2000, 3000, 3999])}, "offsets"),
        ({"signal": np.zeros((4000, 3), np.int16)}, r"signal int16 \(4000, 3\)"),
        ({"label": np.array(["a"])}, r"label \(1,\)"),
        ({"rate_hz": np.float32(0)}, "rate_hz"),
        ({"acc_scale": np.float32(np.nan)}, "acc_scale"),
        ({"acc_scale": np.float32(10)}, "accelerometer magnitude"),
        ({"clip": np.arange(2)}, "clip"),
        ({"label": np.array(["a"] * 4, object)}, "pickled"),
    ],
)
def test_bad_packs_are_refused(tmp_path, arrays, message):
    path = write_pack(tmp_path / "a.npz", people(2, 2), **arrays)
    with pytest.raises(PrimusError, match=message):
        list(Packs([path]))


def test_files_that_are_no_packs_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    for data in (b"", b"text", b"PK\x03\x04broken"):
        path.write_bytes(data)
        with pytest.raises(PrimusError, match=r"not an \.npz file"):
            list(Packs([path]))
    whole = write_pack(path, people(2, 2)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PrimusError, match=r"not an \.npz file"):
        list(Packs([path]))
    damaged = bytearray(whole)
    damaged[2000] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(PrimusError, match=r"not a readable \.npz"):
        list(Packs([path]))
    with pytest.raises(PrimusError, match="no such file"):
        Packs([tmp_path / "b.npz"])


def test_embeddings_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "e.npz"
    for arrays in (
        {"text": np.array(["a"]), "text_embedding": np.zeros((2, 4), np.float16)},
        {"text": np.array(["a"]), "text_embedding": np.full((1, 4), np.nan, np.float16)},
        {"mine_video_embedding": np.zeros(4, np.float16)},
        {"other": np.zeros(3)},
    ):
        np.savez(path, **arrays)
        with pytest.raises(PrimusError, match=r"e\.npz"):
            load_embeddings(path)
    pack = write_pack(tmp_path / "a.npz", people(2, 2))
    with pytest.raises(PrimusError, match="3 rows; the pack points at 3"):
        list(Packs([pack], Embeddings({}, {"mine": np.zeros((3, 4), np.float16)})))
