"""What a Hugging Face folder says about its CLIP towers: `config.json`, `preprocessor_config.json`.

Missing values mean what `transformers` takes for them (`CLIPTextConfig`, `CLIPVisionConfig`).
"""

import dataclasses
import os
from pathlib import Path
from typing import Any

from primus_jax.errors import PrimusError
from primus_jax.files import read_json

ACTIVATIONS = ("quick_gelu", "gelu")
EXPECTED = (
    "Expected a folder in the layout of Hugging Face, with config.json and model.safetensors (or "
    "pytorch_model.bin)."
)
# Per-channel mean and standard deviation of the images that CLIP was trained on, values in 0..1.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_COMMON = {"num_hidden_layers": 12, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
DEFAULTS: dict[str, dict[str, Any]] = {
    "text": _COMMON
    | {
        "vocab_size": 49408,
        "hidden_size": 512,
        "intermediate_size": 2048,
        "projection_dim": 512,
        "num_attention_heads": 8,
        "max_position_embeddings": 77,
        "eos_token_id": 49407,
    },
    "vision": _COMMON
    | {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "projection_dim": 512,
        "num_attention_heads": 12,
        "num_channels": 3,
        "image_size": 224,
        "patch_size": 32,
    },
}


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
    """A stack of pre-norm transformer blocks, and the width of the projection after it."""

    width: int
    layers: int
    heads: int
    hidden: int  # of each block's two-layer network
    activation: str
    epsilon: float  # of layer normalisation
    projection: int


@dataclasses.dataclass(frozen=True)
class TextConfig(TransformerConfig):
    """CLIP's text tower. `eos` 2 stands for old folders: the largest id ends the sentence."""

    vocabulary: int
    positions: int
    eos: int


@dataclasses.dataclass(frozen=True)
class VisionConfig(TransformerConfig):
    """CLIP's image tower. `mean` and `std` are of pixel values in 0..1."""

    image: int
    patch: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def side(self) -> int:
        """Patches along one side of the image."""
        return self.image // self.patch


@dataclasses.dataclass(frozen=True)
class ClipConfig:
    """Both towers, or one; hashable, so that it can be a static argument of `jax.jit`."""

    text: TextConfig | None
    vision: VisionConfig | None


def read_config(folder: str | os.PathLike[str]) -> tuple[ClipConfig, set[str]]:
    """The towers that `config.json` describes, and those of them that the weights must hold.

    `CLIPModel` folders describe both under `text_config` and `vision_config`, with one
    `projection_dim` at the top; `CLIPTextModelWithProjection` and `CLIPVisionModelWithProjection`
    folders describe one at the top level, or both while holding one.

    Raises:
        PrimusError: no such file, another kind of model, or a value that this model cannot take.
    """
    path = Path(folder) / "config.json"
    values = _named_values(path)
    kind = values.get("model_type")
    pixels = _pixels(Path(folder) / "preprocessor_config.json")
    architectures = values.get("architectures") or ["CLIPModel"]
    if bare := {"CLIPTextModel", "CLIPVisionModel"} & set(architectures):
        raise PrimusError(
            f"{path}: a {min(bare)} is a tower without the projection that makes embeddings; "
            f"expected a CLIPModel or a {min(bare)}WithProjection."
        )
    if kind == "clip_text_model":
        return ClipConfig(_text(values, path), None), {"text"}
    if kind == "clip_vision_model":
        return ClipConfig(None, _vision(values, path, *pixels)), {"vision"}
    if kind != "clip":
        raise PrimusError(
            f"{path}: model_type is {kind!r}; expected clip, clip_text_model or clip_vision_model. "
            f"Other towers are used by storing their embeddings: `primus-jax prepare --embeddings`."
        )
    projection = {"projection_dim": values.get("projection_dim", 512)}
    text, vision = (_part(values, name) | projection for name in ("text", "vision"))
    config = ClipConfig(_text(text, path), _vision(vision, path, *pixels))
    held = {"text" for name in architectures if name.startswith("CLIPText")}
    held |= {"vision" for name in architectures if name.startswith("CLIPVision")}
    return config, held or {"text", "vision"}


def _part(values: dict[str, Any], name: str) -> dict[str, Any]:
    """One tower of a `CLIPModel` config; a `NAME_config_dict` (old folders) wins over the rest."""
    part = dict(values.get(f"{name}_config") or {})
    old = values.get(f"{name}_config_dict")
    return part if old is None else part | DEFAULTS[name] | old


def _text(values: dict[str, Any], path: Path) -> TextConfig:
    values = DEFAULTS["text"] | values
    _positive(values, path, "vocab_size", "max_position_embeddings")
    eos = values["eos_token_id"]
    if not isinstance(eos, int) or not (eos == 2 or 0 <= eos < values["vocab_size"]):
        raise PrimusError(
            f"{path}: eos_token_id is {eos!r}; expected one id below {values['vocab_size']}."
        )
    return TextConfig(
        **_transformer(values, path),
        vocabulary=values["vocab_size"],
        positions=values["max_position_embeddings"],
        eos=eos,
    )


def _vision(
    values: dict[str, Any], path: Path, mean: tuple[float, ...], std: tuple[float, ...]
) -> VisionConfig:
    values = DEFAULTS["vision"] | values
    for name in ("image_size", "patch_size"):
        if isinstance(values[name], list) and len(set(values[name])) == 1:
            values[name] = values[name][0]
    _positive(values, path, "image_size", "patch_size")
    if values["num_channels"] != 3 or values["patch_size"] > values["image_size"]:
        raise PrimusError(
            f"{path}: {values['num_channels']} channels, image_size {values['image_size']}, "
            f"patch_size {values['patch_size']}; expected 3 channels and patches within the image."
        )
    return VisionConfig(
        **_transformer(values, path),
        image=values["image_size"],
        patch=values["patch_size"],
        mean=mean,
        std=std,
    )


def _transformer(values: dict[str, Any], path: Path) -> dict[str, Any]:
    _positive(
        values, path, "hidden_size", "num_hidden_layers", "num_attention_heads",
        "intermediate_size", "projection_dim",
    )  # fmt: skip
    if values["hidden_size"] % values["num_attention_heads"]:
        raise PrimusError(
            f"{path}: hidden_size {values['hidden_size']} does not divide among "
            f"{values['num_attention_heads']} attention heads."
        )
    if values["hidden_act"] not in ACTIVATIONS:
        raise PrimusError(
            f"{path}: hidden_act is {values['hidden_act']!r}; expected one of {ACTIVATIONS}."
        )
    epsilon = values["layer_norm_eps"]
    if not isinstance(epsilon, float) or not 0 < epsilon < 1:
        raise PrimusError(f"{path}: layer_norm_eps is {epsilon!r}; expected between 0 and 1.")
    return {
        "width": values["hidden_size"],
        "layers": values["num_hidden_layers"],
        "heads": values["num_attention_heads"],
        "hidden": values["intermediate_size"],
        "activation": values["hidden_act"],
        "epsilon": epsilon,
        "projection": values["projection_dim"],
    }


def _positive(values: dict[str, Any], path: Path, *names: str) -> None:
    for name in names:
        value = values[name]
        if not isinstance(value, int) or value < 1:
            raise PrimusError(f"{path}: {name} is {value!r}; expected a whole number above 0.")


def _pixels(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the three channels; CLIP's where no file says otherwise."""
    if not path.is_file():
        return CLIP_MEAN, CLIP_STD
    values = _named_values(path)
    if not values.get("do_normalize", True):
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    found = values.get("image_mean", CLIP_MEAN), values.get("image_std", CLIP_STD)
    if abs(255 * values.get("rescale_factor", 1 / 255) - 1) > 1e-3:
        raise PrimusError(f"{path}: rescale_factor is {values['rescale_factor']}; expected 1/255.")
    for name, numbers in zip(("image_mean", "image_std"), found, strict=True):
        if len(numbers) != 3 or (name == "image_std" and min(numbers) <= 0):
            raise PrimusError(f"{path}: {name} is {numbers}; expected three numbers.")
    mean, std = (tuple(map(float, numbers)) for numbers in found)
    return mean, std


def _named_values(path: Path) -> dict[str, Any]:
    values = read_json(path, EXPECTED)
    if not isinstance(values, dict):
        raise PrimusError(f"{path} holds a {type(values).__name__}; expected named values.")
    return values
