"""Folders of small CLIP towers with random weights, in Hugging Face's names and layouts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

TEXT = {
    "vocab_size": 49408,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 77,
    "eos_token_id": 49407,
}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 16,
}


def write_clip_folder(
    path: Path,
    *,
    dim: int = 16,
    seed: int = 0,
    text: dict[str, Any] | None = TEXT,
    vision: dict[str, Any] | None = VISION,
) -> Path:
    """Write config.json and model.safetensors, and return the folder.

    Args:
        path: the folder to make.
        dim: of the projection.
        seed: of the weights.
        text: values of the text tower's config, or None to leave the tower out.
        vision: of the image tower, likewise.
    """
    rng = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}

    def weight(name: str, *shape: int) -> None:
        tensors[name] = rng.normal(0, shape[-1] ** -0.5, shape).astype(np.float32)

    def norm(name: str, width: int) -> None:
        tensors[f"{name}.weight"] = rng.normal(1, 0.1, width).astype(np.float32)
        tensors[f"{name}.bias"] = rng.normal(0, 0.1, width).astype(np.float32)

    def linear(name: str, outputs: int, inputs: int) -> None:
        weight(f"{name}.weight", outputs, inputs)
        tensors[f"{name}.bias"] = rng.normal(0, 0.1, outputs).astype(np.float32)

    def blocks(name: str, values: dict[str, Any]) -> None:
        width, hidden = values["hidden_size"], values["intermediate_size"]
        for layer in range(values["num_hidden_layers"]):
            block = f"{name}.encoder.layers.{layer}"
            norm(f"{block}.layer_norm1", width)
            for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
                linear(f"{block}.self_attn.{part}", width, width)
            norm(f"{block}.layer_norm2", width)
            linear(f"{block}.mlp.fc1", hidden, width)
            linear(f"{block}.mlp.fc2", width, hidden)

    config: dict[str, Any] = {"model_type": "clip", "projection_dim": dim}
    if text is not None:
        width = text["hidden_size"]
        weight("text_model.embeddings.token_embedding.weight", text["vocab_size"], width)
        weight(
            "text_model.embeddings.position_embedding.weight",
            text["max_position_embeddings"],
            width,
        )
        blocks("text_model", text)
        norm("text_model.final_layer_norm", width)
        weight("text_projection.weight", dim, width)
        config["text_config"] = text
    if vision is not None:
        width, patch = vision["hidden_size"], vision["patch_size"]
        positions = (vision["image_size"] // patch) ** 2 + 1
        weight("vision_model.embeddings.class_embedding", width)
        weight("vision_model.embeddings.patch_embedding.weight", width, 3, patch, patch)
        weight("vision_model.embeddings.position_embedding.weight", positions, width)
        norm("vision_model.pre_layrnorm", width)
        blocks("vision_model", vision)
        norm("vision_model.post_layernorm", width)
        weight("visual_projection.weight", dim, width)
        config["vision_config"] = vision
    if text is None or vision is None:
        kind = "Vision" if text is None else "Text"
        config["architectures"] = [f"CLIP{kind}ModelWithProjection"]
    else:
        tensors["logit_scale"] = np.float32([2.6592]).reshape(())
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    save_file(tensors, path / "model.safetensors")
    return path
