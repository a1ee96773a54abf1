"""Where sentences happen in a recording."""

import warnings

import numpy as np
import pytest
from support.clip_folder import write_clip_folder
from support.clip_vocabulary import write_vocabulary
from support.user_files import moving, tiny_encoder

from primus_jax import SignalWarning
from primus_jax.errors import PrimusError
from primus_jax.recordings.search import peaks
from primus_jax.window import GRAVITY

# The tiny encoder states nothing about its training, which search warns of.
pytestmark = pytest.mark.filterwarnings("ignore:the encoder does not state its training")
SI = np.repeat([GRAVITY, np.pi / 180], 3)
TIMELINE = ("sit", "walk", "sit", "stairs", "sit", "walk")


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder()


@pytest.fixture(scope="module")
def recording():
    """20 s of each in turn."""
    parts = [moving(name, 20, 50, i) for i, name in enumerate(TIMELINE)]
    return np.concatenate(parts) * SI


def test_matches_lie_where_it_happens(encoder, recording):
    """The mean embedding of other people's windows, about the overall mean, stands for a text."""
    others = np.stack([moving(a, 3, 50, 99) for a in ("walk", "stairs", "sit")]) * SI
    means = encoder.encode(others, 50, head="mmcl")
    text = means - means.mean(0)
    found = encoder.search(
        ["walking", "climbing"], recording, rate_hz=50, text_embeddings=text[:2], top=3
    )
    assert list(found) == ["walking", "climbing"]
    best = found["climbing"][0]
    assert 59 <= best.start_seconds <= 79
    assert best.end_seconds == best.start_seconds + 3
    _, rows = encoder.embed_recording(recording, rate_hz=50, head="mmcl")
    row = rows[int(best.start_seconds)]
    cosine = row @ text[1] / np.linalg.norm(row) / np.linalg.norm(text[1])
    assert best.score == pytest.approx(cosine, abs=1e-5)
    for matches in found.values():
        starts = sorted(match.start_seconds for match in matches)
        assert len(starts) == 3
        assert np.diff(starts).min() >= 3
        scores = [match.score for match in matches]
        assert scores == sorted(scores, reverse=True)


def test_peaks_suppress_neighbours_and_keep_the_earlier_of_equals():
    times = np.arange(8.0)
    scores = np.array([0.1, 0.9, 0.8, 0.2, 0.7, 0.9, 0.3, 0.7])
    assert peaks(times, scores, 3.0, 9) == [1, 5]
    assert peaks(times, scores, 2.0, 9) == [1, 5, 7, 3]
    assert peaks(times, scores, 0.0, 2) == [1, 5]


def test_a_folder_of_towers_embeds_the_sentences(encoder, recording, tmp_path):
    towers = write_clip_folder(tmp_path / "towers", dim=encoder.config.embed_dim, vision=None)
    words = write_vocabulary(tmp_path / "words.gz")
    found = encoder.search(
        ["a person walks"], recording, rate_hz=50, towers=towers, tokenizer=words, top=1
    )
    assert -1 <= found["a person walks"][0].score <= 1
    with pytest.raises(PrimusError, match=r"no tokenizer: .* holds no vocab\.json"):
        encoder.search(["a person walks"], recording, rate_hz=50, towers=towers)


def test_an_encoder_of_unknown_training_is_searched_with_a_warning(encoder, recording):
    """Imported weights state nothing; those that were pretrained with text give no warning."""
    text = np.ones((1, encoder.config.embed_dim))
    options = {"rate_hz": 50, "text_embeddings": text}
    with pytest.warns(SignalWarning, match="does not state its training, so its head 'mmcl'"):
        encoder.search(["walks"], recording, **options)
    known = tiny_encoder()
    known.metadata = {"config": {"objective": {"multimodal": True, "targets": ["text"]}}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        known.search(["walks"], recording, **options)


def test_what_cannot_be_searched_is_said(encoder, recording):
    text = np.ones((1, encoder.config.embed_dim))

    def refused(message, sentences=("walks",), encoder=encoder, **options):
        with pytest.raises(PrimusError, match=message):
            encoder.search(sentences, recording, rate_hz=50, **options)

    refused("expected either text_embeddings")
    refused("expected either text_embeddings", text_embeddings=text, towers="clip")
    refused("one or more sentences", (), text_embeddings=text)
    refused("one or more sentences", "walks", text_embeddings=text)
    refused("top is 0", text_embeddings=text, top=0)
    refused(r"shape \(1, 3\) for 1 sentences .* head 'mmcl' has", text_embeddings=np.ones((1, 3)))
    refused("of shape .* for 2 sentences", ("a", "b"), text_embeddings=text)
    untrained = tiny_encoder()
    for metadata, message in (
        ({"random_seed": 0}, "never trained"),
        ({"config": {"objective": {"multimodal": False, "targets": ["text"]}}}, "did not compare"),
        ({"config": {"objective": {"multimodal": True, "targets": ["video"]}}}, "did not compare"),
        ({"config": {"objective": {"hidden": 256}}}, "did not compare"),
    ):
        untrained.metadata = metadata
        refused(message, encoder=untrained, text_embeddings=text)
