"""The network of this folder in PyTorch: RelCon's encoder or its distance; needs torch alone.

    from modeling_relcon import RelConEncoder  # a folder of kind "resnet1d"
    embeddings = RelConEncoder.from_pretrained(".").embed(windows)  # [batch, time, 6] -> [batch, n]

    from modeling_relcon import MotifDist  # a folder of kind "motif"
    distances = MotifDist.from_pretrained(".").distance(anchors, candidates)  # [batch], both alike

Windows hold accelerometer x, y, z in m/s^2 with gravity, then gyroscope x, y, z in rad/s, at the
rate that `config.json` states; the last three are not read unless its `channels` is 6. Licence of
this file: Apache-2.0; of the weights: see README.md.
"""

import json
import math
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

STAGES = ((3, 3), (4, 4), (4, 6))  # kernel and blocks
KERNEL, EPSILON = 15, 1e-5
FEWEST = {"resnet1d": 11, "motif": KERNEL}
Self = TypeVar("Self", bound="Exported")


class Exported(nn.Module):
    """A network that a folder with `config.json` and `model.safetensors` describes."""

    architecture: dict[str, Any]
    description: dict[str, Any] | None = None

    @classmethod
    def from_pretrained(cls: type[Self], folder: str | Path) -> Self:
        """The network of a folder, in eval mode."""
        description = json.loads((Path(folder) / "config.json").read_text())
        network = cls(description["encoder"])
        network.load_state_dict(load_file(Path(folder) / "model.safetensors"))
        network.description = description
        return network.eval()

    def channels_first(self, imu: Tensor) -> Tensor:
        """`[batch, time, 6]` -> `[batch, channels, time]`.

        Raises:
            ValueError: another shape, or windows that are too short.
        """
        channels, fewest = self.architecture["channels"], FEWEST[self.architecture["kind"]]
        if imu.ndim != 3 or imu.shape[-1] not in (6, channels) or imu.shape[1] < fewest:
            raise ValueError(
                f"windows of shape {list(imu.shape)}; expected [batch, time, 6], or the first "
                f"{channels} channels, of at least {fewest} samples"
            )
        return imu[..., :channels].transpose(1, 2)


class Same(nn.Conv1d):
    """Convolution that keeps the length; an even kernel reaches further to the right."""

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__(inputs, outputs, kernel)

    def forward(self, x: Tensor) -> Tensor:
        reach = self.kernel_size[0] - 1
        return super().forward(functional.pad(x, (reach // 2, reach - reach // 2)))


class Block(nn.Module):
    """Twice normalisation, ReLU and convolution, beside a path that skips them."""

    def __init__(self, inputs: int, outputs: int, kernel: int):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm1d(inputs), Same(inputs, outputs, kernel)
        self.bn2, self.conv2 = nn.BatchNorm1d(outputs), Same(outputs, outputs, kernel)
        self.projection_conv = Same(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(torch.relu(self.bn1(x)))
        y = self.conv2(torch.relu(self.bn2(y)))
        return y + (x if self.projection_conv is None else self.projection_conv(x))


class RelConEncoder(Exported):
    """ResNet1D: windows `[batch, time, 6]` -> {"emb"} and the heads that the folder has."""

    def __init__(self, architecture: dict[str, Any]):
        super().__init__()
        self.architecture = dict(architecture)
        widths = [architecture[f"width{stage}"] for stage in (1, 2, 3)]
        self.first_block_conv = nn.Conv1d(architecture["channels"], widths[0], 7, stride=2)
        self.first_block_bn = nn.BatchNorm1d(widths[0])
        blocks, before = [], widths[0]
        for width, (kernel, count) in zip(widths, STAGES, strict=True):
            for _ in range(count):
                blocks.append(Block(before, width, kernel))
                before = width
        self.basicblock_list = nn.Sequential(*blocks)
        self.heads = ("ssl", "mmcl") if architecture["multihead"] else ()
        for head in self.heads:
            out, layers = architecture["head_dim"] or before, architecture["head_layers"]
            hidden = [nn.Linear(before, before), nn.GELU()] if layers == 2 else []
            last = nn.Linear(before, out)
            self.add_module(f"{head}_head", nn.Sequential(*hidden, last) if hidden else last)

    def forward(self, imu: Tensor) -> dict[str, Tensor]:
        x = torch.relu(self.first_block_bn(self.first_block_conv(self.channels_first(imu))))
        x = self.basicblock_list(functional.max_pool1d(x, 3, 2)).mean(-1)
        return {"emb": x, **{head: getattr(self, f"{head}_head")(x) for head in self.heads}}

    def embed(self, imu: Tensor) -> Tensor:
        """The output that the folder recommends, `[batch, time, 6]` -> `[batch, width]`."""
        return self(imu)["emb" if self.description is None else self.description["head"]]


class Layer(nn.Module):
    """A convolution over time under the published names, behind a narrow one where it has one."""

    def __init__(self, inputs: int, outputs: int, dilation: int = 1, narrow: int = 0):
        super().__init__()
        self.bottle = nn.Conv1d(inputs, narrow, 1) if narrow else None
        self.dilated_conv = nn.Conv1d(
            narrow or inputs, outputs, KERNEL, dilation=dilation, padding=dilation * (KERNEL // 2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.dilated_conv(x if self.bottle is None else self.bottle(x))


class Stack(nn.Module):
    """`[batch, channels, time]` -> features of every moment `[batch, features, time]`."""

    def __init__(self, channels: int, features: int, blocks: int):
        super().__init__()
        self.layer0 = Layer(channels, features)
        self.layers = nn.ModuleList(
            Layer(features, features, 2**block, features // 8) for block in range(blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        conv = self.layer0.dilated_conv
        taps = functional.conv1d(
            torch.ones_like(x[:1]), torch.ones_like(conv.weight[:1]), padding=KERNEL // 2
        )
        h = functional.conv1d(x, conv.weight, padding=KERNEL // 2)
        h = h * (KERNEL * x.shape[1] / (taps + 1e-8)) + cast(Tensor, conv.bias)[:, None]
        h = functional.instance_norm(functional.gelu(h))
        for layer in self.layers:
            h = functional.instance_norm(functional.gelu(layer(h) + h))
        return h


class RevIN(nn.Module):
    """A learned scale and offset of each channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.affine_weight = nn.Parameter(torch.ones(channels))
        self.affine_bias = nn.Parameter(torch.zeros(channels))


class MotifDist(Exported):
    """How well windows can be rebuilt from the motifs of others."""

    def __init__(self, architecture: dict[str, Any]):
        super().__init__()
        self.architecture = dict(architecture)
        channels, features = architecture["channels"], architecture["features"]
        self.revin = RevIN(channels)
        shape = channels, features, architecture["blocks"]
        self.q_func, self.k_func, self.v_func = (Stack(*shape) for _ in range(3))
        self.out_proj = nn.Linear(features, channels)

    def forward(self, anchor: Tensor, candidate: Tensor) -> Tensor:
        """The anchors as the candidates can tell them, `[batch, time, channels]`."""
        anchor, candidate = self.channels_first(anchor), self.channels_first(candidate)
        mean = candidate.mean(-1, keepdim=True).detach()
        variance = candidate.var(-1, keepdim=True, unbiased=False).detach()
        deviation = torch.sqrt(variance + EPSILON)
        scale, offset = self.revin.affine_weight[:, None], self.revin.affine_bias[:, None]
        x, y = ((w - mean) / deviation * scale + offset for w in (anchor, candidate))
        query, key, value = self.q_func(x), self.k_func(y), self.v_func(y)
        scores = query.transpose(1, 2) @ key / math.sqrt(key.shape[1])
        few = self.architecture["attention"] == "sparsemax"
        weights = sparsemax(scores) if few else scores.softmax(-1)
        told = self.out_proj(weights @ value.transpose(1, 2)).transpose(1, 2)
        plain = (told - offset) / (scale + EPSILON**2)
        return (plain * deviation + mean).transpose(1, 2)

    def distance(self, anchor: Tensor, candidate: Tensor) -> Tensor:
        """Squared error of the rebuilt anchors, `[batch]`; candidates of the same length."""
        channels = self.architecture["channels"]
        return (self(anchor, candidate) - anchor[..., :channels]).square().sum((1, 2))


def sparsemax(scores: Tensor) -> Tensor:
    """Rows projected onto the simplex (Martins and Astudillo 2016), by sorting."""
    ordered = scores.sort(-1, descending=True).values
    sums = ordered.cumsum(-1) - 1
    ranks = torch.arange(1, scores.shape[-1] + 1, dtype=scores.dtype, device=scores.device)
    support = (ranks * ordered > sums).sum(-1, keepdim=True)
    return (scores - sums.gather(-1, support - 1) / support).clamp(min=0)
