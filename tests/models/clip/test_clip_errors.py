"""What a folder of towers may lack, and what is said about it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.clip_folder import TEXT, VISION, write_clip_folder

from primus_jax.errors import PrimusError
from primus_jax.models.clip.towers import embed_image, embed_text, embed_video, load_towers

SMALL = TEXT | {"vocab_size": 50, "eos_token_id": 49}


@pytest.fixture
def folder(tmp_path):
    return write_clip_folder(tmp_path / "towers", text=SMALL)


def change(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    for name, value in values.items():
        part = config[f"{name}_config"] if isinstance(value, dict) else config
        part.update(value if isinstance(value, dict) else {name: value})
    (folder / "config.json").write_text(json.dumps(config))


def rewrite(folder, **tensors):
    """Replace tensors of the weights; None removes one."""
    held = load_file(folder / "model.safetensors")
    held |= {name.replace("__", "."): value for name, value in tensors.items()}
    save_file({k: v for k, v in held.items() if v is not None}, folder / "model.safetensors")


def test_missing_unknown_and_misshapen_tensors_are_named_together(folder):
    rewrite(
        folder,
        text_model__final_layer_norm__bias=None,
        vision_model__pre_layrnorm__weight=np.ones(5, np.float32),
        vision_model__surprise=np.ones(1, np.float32),
    )
    with pytest.raises(PrimusError) as error:
        load_towers(folder)
    message = str(error.value)
    assert "missing: text_model.final_layer_norm.bias" in message
    assert "unknown: vision_model.surprise" in message
    assert "vision_model.pre_layrnorm.weight (5,), expected (16,)" in message
    assert "model.safetensors" in message


def test_many_missing_tensors_are_counted(folder):
    change(folder, text={"num_hidden_layers": 4})
    with pytest.raises(PrimusError, match=r"missing: text_model\.encoder\.layers\.2.* and 24 more"):
        load_towers(folder)


def test_another_image_size_is_explained(folder):
    change(folder, vision={"image_size": 64})
    with pytest.raises(
        PrimusError, match=r"image_size 64 and patch_size 16 make 4² \+ 1 positions"
    ):
        load_towers(folder)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"text": {"hidden_act": "relu"}}, "hidden_act is 'relu'; expected one of"),
        ({"vision": {"num_attention_heads": 3}}, "16 does not divide among 3 attention heads"),
        ({"text": {"eos_token_id": [1, 2]}}, "eos_token_id is"),
        ({"text": {"eos_token_id": 50}}, "one id below 50"),
        ({"text": {"layer_norm_eps": None}}, "layer_norm_eps is None"),
        ({"text": {"vocab_size": "many"}}, "vocab_size is 'many'"),
        ({"vision": {"num_channels": 4}}, "4 channels"),
        ({"vision": {"image_size": [32, 16]}}, r"image_size is \[32, 16\]"),
        ({"vision": {"patch_size": 33}}, "patches within the image"),
        ({"model_type": "siglip"}, "model_type is 'siglip'.*--embeddings"),
        ({"architectures": ["CLIPTextModel"]}, "without the projection.* or a CLIPTextModelWith"),
    ],
)
def test_configs_that_cannot_be_followed_are_refused(folder, values, words):
    change(folder, **values)
    with pytest.raises(PrimusError, match=words):
        load_towers(folder)


def test_defaults_and_old_configs_mean_what_they_mean_to_transformers(folder):
    config = json.loads((folder / "config.json").read_text())
    del config["text_config"]["num_attention_heads"]  # 8
    config["vision_config_dict"] = config["vision_config"]
    config["vision_config"] = {"hidden_size": 7}
    (folder / "config.json").write_text(json.dumps(config | {"architectures": None}))
    towers = load_towers(folder)
    assert towers.config.text.heads == 8
    assert towers.config.vision.width == 16


def test_a_config_of_two_towers_may_come_with_the_weights_of_one(folder):
    held = load_file(folder / "model.safetensors")
    keep = {k: v for k, v in held.items() if k.startswith("text_")}
    save_file(keep, folder / "model.safetensors")
    with pytest.raises(PrimusError, match=r"missing: vision_model"):
        load_towers(folder)
    change(folder, architectures=["CLIPTextModelWithProjection"])
    assert load_towers(folder).config.vision is None


def test_folders_without_files_or_with_damaged_ones(tmp_path):
    with pytest.raises(PrimusError, match=r"config\.json does not exist"):
        load_towers(tmp_path / "nowhere")
    folder = write_clip_folder(tmp_path / "towers", text=SMALL)
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(PrimusError, match="not a whole safetensors file"):
        load_towers(folder)
    weights.unlink()
    with pytest.raises(PrimusError, match="holds no weights"):
        load_towers(folder)
    index = folder / "model.safetensors.index.json"
    for text, words in (
        ("[]", "not a list of shards"),
        ('{"weight_map": {"a": "../a.safetensors"}}', "expected a file beside it"),
        ('{"weight_map": {"a": "a.safetensors"}}', r"cannot read .*a\.safetensors"),
    ):
        index.write_text(text)
        with pytest.raises(PrimusError, match=words):
            load_towers(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(PrimusError, match=r"config\.json is not JSON"):
        load_towers(folder)


def test_pixel_statistics_come_from_the_folder(folder):
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps({"image_mean": [0.5, 0.25, 0.1], "image_std": [0.5, 1, 2]}))
    towers = load_towers(folder)
    assert (towers.config.vision.mean, towers.config.vision.std) == ((0.5, 0.25, 0.1), (0.5, 1, 2))
    file.write_text(json.dumps({"do_normalize": False}))
    assert load_towers(folder).config.vision.std == (1, 1, 1)
    for values, words in (
        ({"rescale_factor": 1.0}, "rescale_factor is 1.0"),
        ({"image_std": [1, 0, 1]}, "image_std is"),
        ({"image_mean": [0.5]}, "image_mean is"),
    ):
        file.write_text(json.dumps(values))
        with pytest.raises(PrimusError, match=words):
            load_towers(folder)


def test_the_digest_is_of_one_towers_weights(folder, tmp_path):
    towers = load_towers(folder)
    weight = load_file(folder / "model.safetensors")["visual_projection.weight"]
    rewrite(folder, visual_projection__weight=weight + 1)
    other = load_towers(folder)
    assert other.digests["text"] == towers.digests["text"]
    assert other.digests["vision"] != towers.digests["vision"]
    assert other.digest != towers.digest
    assert load_towers(write_clip_folder(tmp_path / "again", text=SMALL)).digest == towers.digest


def test_rows_that_do_not_fit_are_refused(folder, tmp_path):
    towers = load_towers(folder)
    params, config = towers.params, towers.config
    with pytest.raises(PrimusError, match="time at most 77"):
        embed_text(params, config, jnp.zeros((1, 78), jnp.int32))
    with pytest.raises(PrimusError, match=r"takes uint8 \(32, 32, 3\)"):
        embed_image(params, config, jnp.zeros((1, 32, 24, 3), jnp.uint8))
    with pytest.raises(PrimusError, match="type float32"):
        embed_image(params, config, jnp.zeros((1, 32, 32, 3), jnp.float32))
    with pytest.raises(PrimusError, match=r"expected \[n, frames"):
        embed_video(params, config, jnp.zeros((1, 32, 32, 3), jnp.uint8))
    one = load_towers(write_clip_folder(tmp_path / "text", text=SMALL, vision=None))
    with pytest.raises(PrimusError, match="no vision tower"):
        embed_video(one.params, one.config, jnp.zeros((1, 2, 32, 32, 3), jnp.uint8))
    other = load_towers(write_clip_folder(tmp_path / "vision", text=None, vision=VISION))
    with pytest.raises(PrimusError, match="no text tower"):
        embed_text(other.params, other.config, jnp.zeros((1, 5), jnp.int32))


def test_a_word_outside_the_vocabulary_is_not_taken_for_another(folder):
    towers = load_towers(folder)
    rows = jnp.asarray([[1, 2, 49], [1, 50, 49]])
    out = jax.jit(embed_text, static_argnums=1)(towers.params, towers.config, rows)
    assert np.isfinite(out[0]).all()
    assert np.isnan(out[1]).all()
