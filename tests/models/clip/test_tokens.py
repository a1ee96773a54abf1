"""CLIP token ids from the user's vocabulary."""

import gzip
import json

import numpy as np
import pytest

from primus_jax.errors import PrimusError
from primus_jax.models.clip.tokenizer import _read_merges, load_tokenizer

CAT = [49406, 320, 1125, 539, 320, 2368, 49407]


def test_the_real_vocabulary(shared_data, tmp_path):
    path = shared_data / "clip_bpe" / "bpe_simple_vocab_16e6.txt.gz"
    tokenizer = load_tokenizer(path)
    ids = tokenizer(["a photo of a cat", "A Photo of a CAT ", "", "walks " * 100])
    assert ids.shape == (4, 77)
    assert ids.dtype == np.int32
    assert ids[0].tolist() == CAT + [49407] * 70
    assert ids[1].tolist() == ids[0].tolist()
    assert ids[2].tolist() == [49406] + [49407] * 76
    assert ids[3, 0] == 49406
    assert ids[3, 76] == 49407
    assert (ids[3, 1:76] == ids[3, 1]).all()

    vocabulary, merges = _read_merges(path)
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (tmp_path / "merges.txt").write_text("\n".join(lines) + "\n")
    from_folder = load_tokenizer(tmp_path)
    np.testing.assert_array_equal(from_folder(["a photo of a cat"]), ids[:1])
    assert from_folder.digest == tokenizer.digest
    assert tokenizer([]).shape == (0, 77)


def test_wrong_vocabularies_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = tmp_path / "bpe.txt.gz"
    path.write_bytes(b"not gzip")
    with pytest.raises(PrimusError, match="not a gzip file"):
        load_tokenizer(path)
    with gzip.open(path, "wt") as file:
        file.write("#version\na b\n")
    with pytest.raises(PrimusError, match="48894 pairs"):
        load_tokenizer(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PrimusError, match=r"the folder has no vocab\.json"):
        load_tokenizer(tmp_path / "empty")
    for name in (tmp_path / "nothing", "bpe_simple_vocab_16e6.txt.gz", "./clip", "vocab.json"):
        with pytest.raises(PrimusError, match=r"no such file or folder\. Expected the file bpe"):
            load_tokenizer(name)


def test_a_name_that_cannot_be_loaded_fails_at_once(monkeypatch):
    """The hub's client would try again for minutes."""
    from huggingface_hub import constants

    asked = []

    def no_network(address, timeout):
        asked.append(address)
        raise OSError(113, "No route to host")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("socket.create_connection", no_network)
    for proxy in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    with pytest.raises(PrimusError, match=r"cannot be downloaded \(.*No route to host"):
        load_tokenizer("nobody/never-stored")
    assert len(asked) == 1
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(PrimusError, match="HF_HUB_OFFLINE is set"):
        load_tokenizer("nobody/never-stored")
    assert len(asked) == 1


def test_a_small_vocabulary_is_refused(tmp_path):
    words = {"a": 0, "<|startoftext|>": 1, "<|endoftext|>": 2}
    (tmp_path / "vocab.json").write_text(json.dumps(words))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(PrimusError, match="expected CLIP's 49408"):
        load_tokenizer(tmp_path)
