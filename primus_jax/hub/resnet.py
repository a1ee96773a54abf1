"""ResNet weights of torchvision, timm, Hugging Face or MoCo <-> parameters, without PyTorch.

| torchvision, timm               | layout there         | here                                    |
|---------------------------------|----------------------|-----------------------------------------|
| conv1.weight                    | [out, in, 7, 7]      | conv1/kernel [7, 7, in, out]            |
| bn1.weight, .bias, .running_*   | [channels]           | bn1/scale, bias, running_*              |
| layerS.N.convK.*, .bnK.*        | likewise             | layerS_N/convK/kernel, bnK/*            |
| layerS.N.downsample.0.*, .1.*   | likewise             | layerS_N/downsample_0/*, downsample_1/* |
| fc.weight, .bias                | [classes, features]  | fc/kernel [features, classes], bias     |

Hugging Face's `ResNetForImageClassification` has other names for the same tensors. PyTorch's
num_batches_tracked is not read, and not written: a strict `load_state_dict` does without.
"""

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from primus_jax.errors import PrimusError
from primus_jax.hub.layout import resnet_layout
from primus_jax.hub.recognise import NOT_READ, Shapes, check_tensors
from primus_jax.hub.torch_names import to_our_axes, to_torch_axes
from primus_jax.models.vision.encoder import VisionConfig
from primus_jax.models.vision.resnet import ResNetConfig
from primus_jax.trees import Params
from primus_jax.weights.printable import shown
from primus_jax.weights.safetensors import open_safetensors
from primus_jax.weights.torch_file import open_torch_file

STEM = "conv1.weight"
# Of the two encoders in a checkpoint of MoCo, the trained one.
TRAINED = "encoder_q."
# Hugging Face's names -> torchvision's, in this order.
RENAMED = (
    (r"^resnet\.", ""),
    (r"^embedder\.embedder\.convolution\.", "conv1."),
    (r"^embedder\.embedder\.normalization\.", "bn1."),
    (r"^encoder\.stages\.(\d)\.layers\.", lambda found: f"layer{int(found[1]) + 1}."),
    (r"\.shortcut\.convolution\.", ".downsample.0."),
    (r"\.shortcut\.normalization\.", ".downsample.1."),
    (r"\.layer\.(\d)\.convolution\.", lambda found: f".conv{int(found[1]) + 1}."),
    (r"\.layer\.(\d)\.normalization\.", lambda found: f".bn{int(found[1]) + 1}."),
    (r"^classifier\.1\.", "fc."),
)


def read_resnet(path: str | os.PathLike[str]) -> tuple[Params, ResNetConfig]:
    """Weights of a ResNet-18 or -50 -> (parameters, architecture); nothing in the file is run.

    Of a checkpoint of MoCo the query encoder is read, without its projection head.

    Args:
        path: a file of `torch.save`, or a safetensors file.

    Raises:
        PrimusError: missing, damaged or unknown weights; a file that would run code in PyTorch;
            missing, unexpected, wrongly shaped or non-finite tensors, all listed.
    """
    path = Path(path)
    try:
        with (open_safetensors if path.suffix == ".safetensors" else open_torch_file)(path) as file:
            names = recognise_resnet(file.shapes)
            return from_torchvision({ours: file.read(theirs) for ours, theirs in names.items()})
    except PrimusError as error:
        message = str(error)
        raise PrimusError(message if str(path) in message else f"{path}: {message}") from error


def read_vision(
    path: str | os.PathLike[str], config: VisionConfig | None = None
) -> tuple[Params, VisionConfig]:
    """Weights of images -> (parameters, architecture) of a vision encoder that has them.

    The last layer of the file, of its own classes, is left out.

    Args:
        path: as of `read_resnet`.
        config: the spectrogram; depth and channels are those of the file. None: the paper's.

    Raises:
        PrimusError: as `read_resnet`; images of other channels than the spectrogram's; or heads,
            which no file of images has.
    """
    params, found = read_resnet(path)
    asked = VisionConfig() if config is None else config
    config = dataclasses.replace(asked, depth=found.depth, channels=found.width)
    config.validate()
    if found.channels != config.resnet.channels or config.multihead:
        raise PrimusError(
            f"{path} holds a ResNet of {found.channels} channels without heads; "
            f"spectrogram.gyroscope {config.gyroscope!r} gives {config.resnet.channels}, and "
            f"encoder.multihead is {config.multihead}. Set gyroscope to 'none' or 'image', and "
            f"multihead to False."
        )
    return {"vision": {name: x for name, x in params.items() if name != "fc"}}, config


def recognise_resnet(shapes: Shapes) -> dict[str, str]:
    """Return torchvision's names -> the file's, of the one ResNet among named tensors.

    Raises:
        PrimusError: no ResNet, or several.
    """
    plain = {_renamed(name): name for name in shapes}
    prefixes = sorted(
        name.removesuffix(STEM)
        for name in plain
        if name.endswith(STEM) and f"{name.removesuffix(STEM)}layer1.0.{STEM}" in plain
    )
    trained = [prefix for prefix in prefixes if prefix.endswith(TRAINED)]
    chosen = trained or prefixes
    if len(chosen) != 1:
        listed = ", ".join(map(shown, list(shapes)[:8])) or "nothing"
        raise PrimusError(
            f"it holds {len(chosen)} ResNets; found {listed}; expected one, with conv1.weight and "
            f"layer1.0.conv1.weight (torchvision, timm) or Hugging Face's names for them."
        )
    prefix = chosen[0]
    inner = {n.removeprefix(prefix): theirs for n, theirs in plain.items() if n.startswith(prefix)}
    head = () if trained else ("fc.weight", "fc.bias")
    return {
        name: theirs
        for name, theirs in inner.items()
        if not name.endswith(NOT_READ) and (not name.startswith("fc.") or name in head)
    }


def from_torchvision(tensors: Mapping[str, np.ndarray]) -> tuple[Params, ResNetConfig]:
    """Arrays by torchvision's names -> (parameters, float32; architecture).

    Raises:
        PrimusError: missing, unexpected, wrongly shaped or non-finite tensors, all of them listed.
    """
    config = guess_resnet({name: np.shape(value) for name, value in tensors.items()})
    table = resnet_layout(config)
    check_tensors(tensors, table)
    params = {
        path: np.ascontiguousarray(to_our_axes(np.asarray(tensors[name], np.float32)))
        for name, (path, _) in table.items()
    }
    return unflatten_dict(params), config


def to_torchvision(params: Params, config: ResNetConfig) -> dict[str, np.ndarray]:
    """Parameters -> float32 arrays by torchvision's names.

    Raises:
        PrimusError: the parameters are not those of `config`.
    """
    table, ours = resnet_layout(config), flatten_dict(params)
    known = {path: name for name, (path, _) in table.items()}
    tensors = {
        known.get(path, "/".join(path)): np.ascontiguousarray(
            to_torch_axes(np.asarray(value, np.float32))
        )
        for path, value in ours.items()
    }
    check_tensors(tensors, table)
    return {name: tensors[name] for name in table}


def guess_resnet(shapes: Shapes) -> ResNetConfig:
    """Return the architecture with tensors of these shapes, where most of them agree."""
    stem = shapes.get(STEM, ())
    width, channels = stem[:2] if len(stem) == 4 and all(stem) else (64, 3)
    fc = shapes.get("fc.weight", (0,))
    config = ResNetConfig(
        depth=50 if "layer1.0.conv3.weight" in shapes else 18,
        width=width,
        channels=channels,
        classes=fc[0] if fc else 0,
    )
    config.validate()
    return config


def _renamed(name: str) -> str:
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name
