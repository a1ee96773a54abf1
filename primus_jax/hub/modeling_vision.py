"""The vision encoder of this folder in PyTorch; needs only torch and safetensors.

    from modeling_vision import PrimusEncoder
    encoder = PrimusEncoder.from_pretrained(".")  # this folder
    embeddings = encoder.embed(windows)  # float32 [batch, time, 6] -> [batch, width]

Windows hold accelerometer x, y, z in m/s^2 with gravity, then gyroscope x, y, z in rad/s, at the
rate and of about the length that `config.json` states. A window becomes a spectrogram, and a
ResNet with torchvision's names sees it. Outputs are not of unit length.
`encoder.save("tuned.safetensors")` keeps what is known of the windows beside the weights. Licence
of this file: Apache-2.0; of the weights: see README.md.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

HEIGHT, WIDTH = 96, 128
PAPER_FLOOR, CLEAN_FLOOR, RANGE_FLOOR = 1e-16, 1e-10, 1e-6
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}


class PrimusEncoder(nn.Module):
    """Windows `[batch, time, 6]` -> {"emb", and "ssl", "mmcl" if it has heads}.

    Args:
        architecture: the entry "encoder" of `config.json`.
        head: the output that `embed` returns.

    Attributes:
        description: what `config.json` says, of an encoder `from_pretrained`; otherwise None.
    """

    description: dict[str, Any] | None = None

    def __init__(self, architecture: dict[str, Any], head: str = "emb"):
        super().__init__()
        self.architecture, self.head = dict(architecture), head
        gyroscope = architecture["gyroscope"]
        self.vision = ResNet(
            architecture["depth"], architecture["channels"], 6 if gyroscope == "channels" else 3
        )
        width = self.vision.features * (2 if gyroscope == "image" else 1)
        if architecture["multihead"]:
            sizes = width, architecture["head_dim"] or width, architecture["head_layers"]
            self.ssl_head, self.mmcl_head = (make_head(*sizes) for _ in range(2))

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "PrimusEncoder":
        """The encoder of a folder with `config.json` and `model.safetensors`, in eval mode."""
        description = json.loads((Path(folder) / "config.json").read_text())
        encoder = cls(description["encoder"], description["head"])
        encoder.load_state_dict(load_file(Path(folder) / "model.safetensors"))
        encoder.description = description
        return encoder.eval()

    def save(self, path: str | Path) -> None:
        """Write the weights as they are now as safetensors, with rate, window, head and origin.

        Raises:
            ValueError: an encoder that is not `from_pretrained`, of which these are not known.
        """
        if self.description is None:
            raise ValueError("rate and window are not known: only from_pretrained reads them")
        before = self.description
        about = {k: v for k, v in before.items() if k not in ("weights_sha256", "files")}
        origin = {"tuned_from": before.get("weights_sha256")}
        about |= {"head": self.head, "metrics": {}}
        about["provenance"] = before.get("provenance", {}) | origin
        tensors = {
            name: value.float().contiguous()
            for name, value in self.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        save_file(tensors, path, {"format": "pt", "primus_jax": json.dumps(about)})

    def embed(self, imu: Tensor) -> Tensor:
        """The output that the folder recommends, `[batch, time, 6]` -> `[batch, width]`.

        Raises:
            ValueError: another shape, or windows shorter than a frame of the spectrogram.
        """
        return self(imu)[self.head]

    def forward(self, imu: Tensor) -> dict[str, Tensor]:
        low = self.architecture["nfft"]
        if imu.dim() != 3 or imu.shape[-1] != 6:
            raise ValueError(
                f"windows of shape {list(imu.shape)}; expected [batch, time, 6], acc x, y, z, "
                f"gyro x, y, z (one window alone: window[None])"
            )
        if imu.shape[1] < low:
            raise ValueError(
                f"windows of {imu.shape[1]} samples; this encoder takes at least {low}"
            )
        images = spectrograms(imu, self.architecture)
        embedding = self.vision(standardise(images)).reshape(len(imu), -1)
        outputs = {"emb": embedding}
        if self.architecture["multihead"]:
            outputs |= {"ssl": self.ssl_head(embedding), "mmcl": self.mmcl_head(embedding)}
        return outputs


class Block(nn.Module):
    """Two convolutions of 3 x 3, or three of 1, 3 and 1, added to the input."""

    def __init__(self, before: int, width: int, stride: int, bottleneck: bool):
        super().__init__()
        after = 4 * width if bottleneck else width
        if bottleneck:
            self.conv1, self.bn1 = conv(before, width, 1), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
            self.conv3, self.bn3 = conv(width, after, 1), nn.BatchNorm2d(after)
        else:
            self.conv1, self.bn1 = conv(before, width, 3, stride), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)
        self.bottleneck = bottleneck
        self.downsample: nn.Module = nn.Identity()
        if before != after or stride != 1:
            self.downsample = nn.Sequential(conv(before, after, 1, stride), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.bottleneck:
            y = self.bn3(self.conv3(torch.relu(y)))
        return torch.relu(y + self.downsample(x))


class ResNet(nn.Module):
    """Images `[batch, channels, 96, 128]` -> `[batch, features]`, with torchvision's names."""

    def __init__(self, depth: int, width: int, channels: int):
        super().__init__()
        bottleneck = depth == 50
        self.conv1, self.bn1 = conv(channels, width, 7, 2), nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        before = width
        for stage, count in enumerate(BLOCKS[depth]):
            blocks = []
            for number in range(count):
                blocks.append(
                    Block(before, width << stage, 2 if stage and not number else 1, bottleneck)
                )
                before = (width << stage) * (4 if bottleneck else 1)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.features = before

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for stage in range(4):
            x = getattr(self, f"layer{stage + 1}")(x)
        return x.mean((2, 3))


def conv(before: int, after: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Square convolution without bias, padded by half its kernel."""
    return nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)


def spectrograms(imu: Tensor, architecture: dict[str, Any]) -> Tensor:
    """`[batch, time, 6]` -> images `[batch, channels, 96, 128]`, 0 to 1, two for each window where
    the gyroscope is an image of its own."""
    x = imu.transpose(1, 2)
    sensors = [picture(x[:, :3], architecture)]
    if architecture["gyroscope"] != "none":
        sensors.append(picture(x[:, 3:], architecture))
    if architecture["gyroscope"] == "image":
        return torch.stack(sensors, 1).flatten(0, 1)
    return torch.cat(sensors, 1)


def picture(signal: Tensor, architecture: dict[str, Any]) -> Tensor:
    """The image `[batch, 3, 96, 128]` of one sensor `[batch, 3, time]`."""
    form, nfft = architecture["form"], architecture["nfft"]
    power = power_spectra(signal, nfft, nfft - architecture["overlap"])
    if form == "released":
        levels = stretched(torch.log10(power), (2, 3), 0.0) * 255
        drawn = torch.floor(0.99 * torch.floor(levels + 0.5) + 0.5) / 255
        drawn = torch.cat([torch.zeros_like(drawn[:, :, :1]), drawn[:, :, 1:].flip(2)], 2)
        return functional.interpolate(drawn, (HEIGHT, WIDTH), mode="nearest-exact")
    if form == "paper":
        window = hann(nfft)
        factors = torch.full((nfft // 2 + 1, 1), 2.0, dtype=torch.float64)
        factors[0] = factors[-1] = 1.0
        power = (power * (factors / window.square().sum()).to(power)).clamp_min(PAPER_FLOOR)
    else:
        power = power.clamp_min(CLEAN_FLOOR)
    axes = (1, 2, 3) if architecture["joint"] else (2, 3)
    image = stretched(torch.log10(power), axes, RANGE_FLOOR).flip(2)
    return functional.interpolate(image, (HEIGHT, WIDTH), mode="bilinear", align_corners=False)


def stretched(levels: Tensor, axes: tuple[int, ...], floor: float) -> Tensor:
    """`levels` less their least, by their range or `floor`."""
    low, high = levels.amin(axes, keepdim=True), levels.amax(axes, keepdim=True)
    spread = high - low
    return (levels - low) / (spread.clamp_min(floor) if floor else spread)


def power_spectra(signal: Tensor, nfft: int, hop: int) -> Tensor:
    """`[batch, 3, time]` -> squared magnitudes `[batch, 3, nfft // 2 + 1, frames]`.

    The mean goes through the transform in closed form, so that gravity costs no digits.
    """
    steps = torch.arange(nfft, dtype=torch.float64)
    angle = (
        2 * math.pi * torch.outer(torch.arange(nfft // 2 + 1, dtype=torch.float64), steps) / nfft
    )
    transform = torch.cat([angle.cos(), angle.sin()]) * hann(nfft)
    mean = signal.mean(2, keepdim=True).detach()
    moving = (signal - mean).flatten(0, 1)[:, None]
    parts = functional.conv1d(moving, transform[:, None].to(moving), stride=hop)
    parts = parts.unflatten(0, signal.shape[:2])
    parts = parts + mean[..., None] * transform.sum(1)[:, None].to(moving)
    cosine, sine = parts.square().chunk(2, 2)
    return cosine + sine


def hann(size: int) -> Tensor:
    """The symmetric Hann window, float64."""
    return torch.hann_window(size, periodic=False, dtype=torch.float64)


def standardise(images: Tensor) -> Tensor:
    """Images `[batch, 3 n, height, width]` less ImageNet's mean, by its deviation."""
    copies = images.shape[1] // 3
    mean, deviation = (images.new_tensor(x * copies)[:, None, None] for x in (MEAN, DEVIATION))
    return (images - mean) / deviation


def make_head(features: int, width: int, layers: int) -> nn.Module:
    """`[batch, features]` -> `[batch, width]`: one linear layer, or two with a GELU between."""
    if layers == 1:
        return nn.Linear(features, width)
    return nn.Sequential(nn.Linear(features, features), nn.GELU(), nn.Linear(features, width))
