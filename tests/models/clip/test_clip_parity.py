"""CLIP's towers against the PyTorch classes of `transformers`, with random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from primus_jax.models.clip.config import CLIP_MEAN, CLIP_STD
from primus_jax.models.clip.towers import embed_image, embed_text, embed_video, load_towers

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

# Unit vectors in bfloat16 differ from those in float32 by less; docs/towers.md states it.
BFLOAT16_BOUND = 0.02

text = jax.jit(embed_text, static_argnums=1, static_argnames="dtype")
image = jax.jit(embed_image, static_argnums=1, static_argnames="dtype")
video = jax.jit(embed_video, static_argnums=1, static_argnames="dtype")

SHAPES = {
    "quick": (
        {"vocab_size": 99, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3,
         "num_attention_heads": 4, "eos_token_id": 97, "hidden_act": "quick_gelu"},
        {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
         "num_attention_heads": 2, "image_size": 40, "patch_size": 12, "hidden_act": "gelu"},
        24,
    ),
    "legacy": (
        {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
         "num_attention_heads": 4, "eos_token_id": 2, "hidden_act": "gelu",
         "layer_norm_eps": 1e-3},
        {"hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 3,
         "num_attention_heads": 3, "image_size": 32, "patch_size": 8, "layer_norm_eps": 1e-6},
        40,
    ),
}  # fmt: skip


def random_model(text_values, vision_values, projection, seed=0):
    """A `CLIPModel` in which every bias and normalisation matters."""
    torch.manual_seed(seed)
    config = transformers.CLIPConfig(
        text_config=text_values, vision_config=vision_values, projection_dim=projection
    )
    model = transformers.CLIPModel(config).eval()
    with torch.no_grad():
        for value in model.parameters():
            value += 0.05 * torch.randn_like(value)
    return model


@pytest.fixture(scope="module", params=SHAPES)
def pair(request, tmp_path_factory):
    """A PyTorch model, our towers of the same weights, and the id that ends sentences."""
    model = random_model(*SHAPES[request.param])
    folder = tmp_path_factory.mktemp("clip") / request.param
    model.save_pretrained(folder)
    values = SHAPES[request.param][0]
    end = values["vocab_size"] - 1 if values["eos_token_id"] == 2 else values["eos_token_id"]
    return model, load_towers(folder), end


def sentences(end, pad, count=77):
    """Ids of sentences of 0 to 75 words, then one that fills the row with the end in last place."""
    rng = np.random.default_rng(0)
    rows = np.full((count, 77), pad, np.int32)
    for words, row in enumerate(rows):
        row[0] = 1
        row[1 : 1 + words] = rng.integers(3, end, words)
        row[min(1 + words, 76)] = end
    return rows


def images(towers, *shape, seed=1):
    size = towers.config.vision.image
    return np.random.default_rng(seed).integers(0, 256, (*shape, size, size, 3), dtype=np.uint8)


def pixel_values(frames):
    scaled = (frames / 255 - np.array(CLIP_MEAN)) / np.array(CLIP_STD)
    return torch.tensor(scaled.transpose(0, 3, 1, 2), dtype=torch.float32)


def text_reference(model, tokens, mask=None):
    mask = None if mask is None else torch.tensor(mask)
    with torch.no_grad():
        out = model.get_text_features(torch.tensor(tokens), attention_mask=mask)
    return out.pooler_output.numpy()


def image_reference(model, frames):
    with torch.no_grad():
        return model.get_image_features(pixel_values(frames)).pooler_output.numpy()


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_sentences_of_every_length_padded_either_way(pair):
    model, towers, end = pair
    by_padding = []
    for pad in (end, 0):
        tokens = sentences(end, pad)
        ours = np.asarray(text(towers.params, towers.config, tokens))
        assert np.abs(ours - text_reference(model, tokens)).max() < 1e-5
        by_padding.append(ours)
    np.testing.assert_array_equal(*by_padding)
    assert np.linalg.norm(by_padding[0], axis=1).min() > 0.1


def test_shorter_rows_and_attention_masks(pair):
    model, towers, end = pair
    tokens = sentences(end, 0, 12)[:, :14]
    after = np.arange(14) > (tokens == end).argmax(1)[:, None]
    holes = np.random.default_rng(5).random(tokens.shape) < 0.3
    for mask in (~after, ~holes):
        mask[:, 0] = True
        ours = text(towers.params, towers.config, tokens, mask)
        assert np.abs(ours - text_reference(model, tokens, mask.astype(int))).max() < 1e-5
    # Padding on the left: the first steps may look at nothing at all.
    left = np.stack([np.roll(row, n) for row, n in zip(tokens, after.sum(1), strict=True)])
    seen = np.arange(14) >= after.sum(1)[:, None]
    ours = text(towers.params, towers.config, left, seen)
    assert np.abs(ours - text_reference(model, left, seen.astype(int))).max() < 1e-5


def test_a_sentence_without_an_end_is_pooled_where_transformers_pools_it(pair):
    model, towers, end = pair
    tokens = np.random.default_rng(3).integers(3, end, (4, 9)).astype(np.int32)
    ours = text(towers.params, towers.config, tokens)
    assert np.abs(ours - text_reference(model, tokens)).max() < 1e-5


def test_images(pair):
    model, towers, _ = pair
    frames = images(towers, 7)
    frames[0], frames[1] = 0, 255
    ours = image(towers.params, towers.config, frames)
    assert np.abs(ours - image_reference(model, frames)).max() < 1e-5


def test_a_video_is_the_normalised_mean_of_its_normalised_frames(pair):
    model, towers, _ = pair
    frames = images(towers, 3, 5)
    rows = np.stack([unit(image_reference(model, one)) for one in frames])
    ours = video(towers.params, towers.config, frames)
    np.testing.assert_allclose(ours, unit(rows.mean(1)), atol=1e-5)


def test_bfloat16_stays_within_the_stated_bound(pair):
    _, towers, end = pair
    tokens, frames = sentences(end, end), images(towers, 6)
    for embed, rows in ((text, tokens), (image, frames)):
        exact = unit(np.asarray(embed(towers.params, towers.config, rows)))
        low = embed(towers.params, towers.config, rows, dtype=jnp.bfloat16)
        assert low.dtype == jnp.float32
        error = np.abs(unit(np.asarray(low)) - exact).max()
        assert 1e-5 < error < BFLOAT16_BOUND


@pytest.mark.parametrize("kind", ["Text", "Vision"])
def test_folders_of_one_tower(kind, tmp_path):
    values = SHAPES["quick"][kind == "Vision"] | {"projection_dim": 20}
    torch.manual_seed(4)
    config = getattr(transformers, f"CLIP{kind}Config")(**values)
    model = getattr(transformers, f"CLIP{kind}ModelWithProjection")(config).eval()
    model.save_pretrained(tmp_path / "one")
    towers = load_towers(tmp_path / "one")
    assert list(towers.params) == list(towers.digests) == [kind.lower()]
    with torch.no_grad():
        if kind == "Text":
            tokens = sentences(97, 97, 5)
            theirs = model(torch.tensor(tokens)).text_embeds.numpy()
            ours = text(towers.params, towers.config, tokens)
        else:
            frames = images(towers, 2)
            theirs = model(pixel_values(frames)).image_embeds.numpy()
            ours = image(towers.params, towers.config, frames)
    assert ours.shape[1] == 20
    assert np.abs(ours - theirs).max() < 1e-5


def test_every_way_of_storing_weights_gives_the_same_towers(pair, tmp_path):
    model, towers, _ = pair
    model.save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    pickled = tmp_path / "pickled"
    model.config.save_pretrained(pickled)
    torch.save(model.state_dict(), pickled / "pytorch_model.bin")
    # Old folders also hold the numbers of the positions.
    old = tmp_path / "old"
    model.config.save_pretrained(old)
    buffers = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    torch.save(dict(model.state_dict()) | buffers, old / "pytorch_model.bin")
    for folder in ("shards", "pickled", "old"):
        again = load_towers(tmp_path / folder)
        assert (again.digest, again.config) == (towers.digest, towers.config)
        jax.tree.map(np.testing.assert_array_equal, again.params, towers.params)
    half = tmp_path / "half"
    random_model(*SHAPES["quick"]).half().save_pretrained(half)
    leaves = jax.tree.leaves(load_towers(half).params)
    assert {leaf.dtype for leaf in leaves} == {np.dtype(np.float32)}


@pytest.mark.slow
def test_the_real_shapes_of_base_patch32(tmp_path):
    torch.manual_seed(0)
    model = transformers.CLIPModel(transformers.CLIPConfig()).eval()
    model.save_pretrained(tmp_path / "base")
    towers = load_towers(tmp_path / "base")
    assert sum(x.size for x in jax.tree.leaves(towers.params)) == 151_277_312
    tokens = sentences(49407, 49407)[[0, 1, 7, 40, 75, 76]]
    frames = images(towers, 3)
    cases = (text, tokens, text_reference), (image, frames, image_reference)
    for embed, rows, reference in cases:
        exact = np.asarray(embed(towers.params, towers.config, rows))
        assert np.abs(exact - reference(model, rows)).max() < 1e-5
        low = unit(np.asarray(embed(towers.params, towers.config, rows, dtype=jnp.bfloat16)))
        error = np.abs(low - unit(exact)).max()
        assert error < BFLOAT16_BOUND
