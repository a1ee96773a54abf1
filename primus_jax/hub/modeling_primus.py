"""The inertial encoder of this folder in PyTorch; needs only torch and safetensors.

    from modeling_primus import PrimusEncoder
    encoder = PrimusEncoder.from_pretrained(".")  # this folder
    embeddings = encoder.embed(windows)  # float32 [batch, time, 6] -> [batch, width]

Windows hold accelerometer x, y, z in m/s^2 with gravity, then gyroscope x, y, z in rad/s, at the
rate and of about the length that `config.json` states. Outputs are not of unit length. Every
parameter is trainable. `encoder.save("tuned.safetensors")` keeps what is known of the windows
beside the weights, which `torch.save(encoder.state_dict(), ...)` does not. Licence of this file:
Apache-2.0; of the weights: see README.md.
"""

import functools
import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

SCALE = (9.80665, 9.80665, 9.80665, 2.0, 2.0, 2.0)
CHANNELS, BANDS, WIDTHS = 12, 12, (1.0, 1.5, 2.5)
STATISTICS = CHANNELS * (4 + BANDS)
# samples of a window that the motion trunk takes
SHORTEST = 32


class GroupNorm(nn.Module):
    """Group normalisation of `[batch, channels, time]`, as `nn.GroupNorm`.

    Moments are taken about the first step, so that a still window is not rounded away.
    """

    def __init__(self, groups: int, channels: int):
        super().__init__()
        self.groups = groups
        self.weight, self.bias = (
            nn.Parameter(torch.ones(channels)),
            nn.Parameter(torch.zeros(channels)),
        )

    def forward(self, x: Tensor) -> Tensor:
        first = x[..., :1].detach()
        mean = first + (x - first).mean(-1, keepdim=True)
        variance = (x - mean).square().mean(-1, keepdim=True)
        means, variances = (v.unflatten(1, (self.groups, -1)) for v in (mean, variance))
        centre = means.mean(2, keepdim=True)
        spread = (variances + (means - centre).square()).mean(2, keepdim=True)
        centre, spread = (v.expand_as(means).flatten(1, 2) for v in (centre, spread))
        x = (x - centre) * torch.rsqrt(spread + 1e-5)
        return x * self.weight[:, None] + self.bias[:, None]


class FixedScale(nn.Module):
    """Typical movement to about one, then a learned scale and offset per channel."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(6)), nn.Parameter(torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        return x / x.new_tensor(SCALE)[:, None] * self.weight[:, None] + self.bias[:, None]


class Block(nn.Module):
    """Dilated convolution over time, pooling, activation."""

    def __init__(self, fan_in: int, width: int, kernel: int, pool: nn.Module, activation: str):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(fan_in, width, kernel, dilation=2, bias=False),
            pool,
            nn.GELU() if activation == "gelu" else nn.Identity(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class MeanIntoBins(nn.Module):
    """Average time into `bins`; with `at_most`, shorter sequences stay as they are."""

    def __init__(self, bins: int, at_most: bool):
        super().__init__()
        self.bins, self.at_most = bins, at_most

    def forward(self, x: Tensor) -> Tensor:
        bins = min(self.bins, x.shape[-1]) if self.at_most else self.bins
        return functional.adaptive_avg_pool1d(x, bins)


class RootMeanSquareNorm(nn.Module):
    """Divide by the root mean square over dimension 1; a learned scale before or after."""

    def __init__(self, channels: int, first: bool = False):
        super().__init__()
        self.first, self.weight = first, nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.view(-1, *[1] * (x.ndim - 2))
        x = x * weight if self.first else x
        x = x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-3)
        return x if self.first else x * weight


class MotionTrunk(nn.Module):
    """`[batch, 6, time]` -> read-out: statistics and band powers of the input and every stage."""

    def __init__(self, width: int, blocks: int):
        super().__init__()
        self.blocks, self.widths = blocks, [int(width * factor) for factor in WIDTHS]
        self.stem = nn.Conv1d(CHANNELS, width, 7, stride=2, padding=3)
        before = width
        for stage, after in enumerate(self.widths):
            if stage:
                self.add_module(f"down{stage}", nn.Conv1d(before, after, 3, stride=2, padding=1))
            for block in range(blocks):
                name = f"block{stage}{block}"
                self.add_module(f"{name}_norm", RootMeanSquareNorm(after))
                self.add_module(f"{name}_conv0", nn.Conv1d(after, after, 5, padding=2))
                self.add_module(f"{name}_conv1", nn.Conv1d(after, after, 5, padding=2))
            before = after
        self.embedding_size = STATISTICS + 2 * sum(self.widths)
        self.readout_size = STATISTICS + 4 * sum(self.widths)
        self.feature_norm = RootMeanSquareNorm(self.readout_size, first=True)

    def forward(self, imu: Tensor) -> Tensor:
        x = imu / imu.new_tensor(SCALE)[:, None]
        x = torch.cat([x, orientation_free(x)], 1)
        features, ends = [level_and_spread(x), extremes(x), band_powers(x)], []
        h = self.stem(x)
        for stage in range(len(self.widths)):
            if stage:
                h = self.get_submodule(f"down{stage}")(functional.gelu(h))
            for block in range(self.blocks):
                layer = functools.partial("block{}{}_{}".format, stage, block)
                y = self.get_submodule(layer("norm"))(h)
                y = functional.gelu(self.get_submodule(layer("conv0"))(y))
                h = h + self.get_submodule(layer("conv1"))(y)
            features.append(level_and_spread(functional.gelu(h)))
            ends.append(extremes(functional.gelu(h)))
        return self.feature_norm(torch.cat(features + ends, -1))


class Projector(nn.Module):
    """Read-out -> what the heads see; the statistics go by unchanged."""

    def __init__(self, size: int, width: int):
        super().__init__()
        self.hidden = nn.Linear(size, width)
        self.out = nn.Linear(width, width - STATISTICS)
        self.skip = nn.Linear(size, width - STATISTICS)

    def forward(self, readout: Tensor) -> Tensor:
        learned = self.out(functional.gelu(self.hidden(readout))) + self.skip(readout)
        return torch.cat([learned, readout[:, :STATISTICS]], -1)


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
        channels = architecture["channels"]
        if architecture["kind"] == "motion":
            self.trunk = MotionTrunk(channels, architecture["blocks"])
            width = self.trunk.embedding_size
            if architecture["multihead"]:
                self.projector = Projector(self.trunk.readout_size, width)
        else:
            width = architecture["embed_dim"]
            self.trunk_name = "backbone" if architecture["multihead"] else "net"
            self.add_module(self.trunk_name, nn.Sequential(*released_layers(architecture)))
            if architecture["readout"] == "pool":
                self.pool = nn.Linear(4 * channels, width)
        if architecture["multihead"]:
            # Folders of before there was head_dim do not have it.
            sizes = width, architecture.get("head_dim") or width, architecture["head_layers"]
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
        tensors = {name: value.float().contiguous() for name, value in self.state_dict().items()}
        save_file(tensors, path, {"format": "pt", "primus_jax": json.dumps(about)})

    def embed(self, imu: Tensor) -> Tensor:
        """The output that the folder recommends, `[batch, time, 6]` -> `[batch, width]`.

        Raises:
            ValueError: another shape, or windows too short (or too long) for this encoder.
        """
        return self(imu)[self.head]

    def forward(self, imu: Tensor) -> dict[str, Tensor]:
        check_windows(imu.shape, self.architecture)
        motion = self.architecture["kind"] == "motion"
        x = imu.transpose(1, 2)
        if motion:
            readout = self.trunk(x)
            outputs = {"emb": readout[:, : self.trunk.embedding_size]}
        else:
            outputs = {"emb": self.read_out(getattr(self, self.trunk_name)[:5](x))}
        if self.architecture["multihead"]:
            shared = self.projector(readout) if motion else outputs["emb"]
            outputs |= {"ssl": self.ssl_head(shared), "mmcl": self.mmcl_head(shared)}
        return outputs

    def read_out(self, x: Tensor) -> Tensor:
        """`[batch, channels, bins]` -> `[batch, embed_dim]`."""
        if self.architecture["readout"] == "pool":
            return self.pool(torch.cat([level_and_spread(x), extremes(x)], -1))
        # The released encoder steps over channels: their time bins are the features of a step.
        steps = x if self.architecture["readout"] == "gru_channels" else x.transpose(1, 2)
        return getattr(self, self.trunk_name)[5](steps)[1][0]


def check_windows(shape: torch.Size, architecture: dict[str, Any]) -> None:
    """Raise ValueError unless the encoder can take windows of this shape."""
    if len(shape) != 3 or shape[-1] != 6:
        raise ValueError(
            f"windows of shape {list(shape)}; expected [batch, time, 6], acc x, y, z, gyro x, y, z "
            f"(one window alone: window[None])"
        )
    low, high = sample_range(architecture)
    if not low <= shape[1] <= high:
        limits = f"at least {low}" if high == math.inf else f"{low} to {high}"
        raise ValueError(f"windows of {shape[1]} samples; this encoder takes {limits}")


def sample_range(architecture: dict[str, Any]) -> tuple[int, float]:
    """Fewest and most samples of a window; only max-pooling before a GRU over channels has most."""
    if architecture["kind"] == "motion":
        return SHORTEST, math.inf
    pools = architecture["third_pool"] == "max"
    exact = pools and architecture["readout"] == "gru_channels"
    low = high = architecture["bins"] if exact else 1
    # from the last convolution back to the first
    for kernel, pooled in ((5, pools), (5, True), (10, True)):
        if pooled:
            low, high = 3 * low, 3 * high + 2
        low, high = low + 2 * (kernel - 1), high + 2 * (kernel - 1)
    return low, high if exact else math.inf


def released_layers(architecture: dict[str, Any]) -> list[nn.Module]:
    """Normalisation, three blocks, normalisation and, unless it pools, the GRU."""
    channels, bins, readout = (architecture[key] for key in ("channels", "bins", "readout"))
    # One group is layer, a group for each channel instance normalisation. Older folders have group.
    groups = {"group": (2, 4), "layer": (1, 1), "instance": (6, channels)}
    first, second = groups[architecture.get("norm", "group")]
    third: nn.Module = nn.MaxPool1d(3)
    if architecture["third_pool"] == "adaptive":
        third = nn.Identity() if readout == "pool" else MeanIntoBins(bins, readout == "gru_time")
    activation = architecture["activation"]
    layers: list[nn.Module] = [
        GroupNorm(first, 6) if architecture["input_norm"] == "group" else FixedScale(),
        Block(6, channels, 10, nn.MaxPool1d(3), activation),
        Block(channels, channels, 5, nn.MaxPool1d(3), activation),
        Block(channels, channels, 5, third, activation),
        GroupNorm(second, channels),
    ]
    if readout != "pool":
        features = bins if readout == "gru_channels" else channels
        layers.append(nn.GRU(features, architecture["embed_dim"], batch_first=True))
    return layers


def make_head(features: int, width: int, layers: int) -> nn.Module:
    """`[batch, features]` -> `[batch, width]`: one linear layer, or two with a GELU between."""
    if layers == 1:
        return nn.Linear(features, width)
    return nn.Sequential(nn.Linear(features, features), nn.GELU(), nn.Linear(features, width))


def orientation_free(x: Tensor) -> Tensor:
    """Per sensor: magnitude, part along gravity, magnitude of the rest; `[batch, 6, time]`."""
    up = x[:, :3].mean(-1, keepdim=True)
    up = up / length(up)
    parts = []
    for vector in (x[:, :3], x[:, 3:]):
        along = (vector * up).sum(1, keepdim=True)
        parts += [length(vector), along, length(vector - along * up)]
    return torch.cat(parts, 1)


def length(x: Tensor) -> Tensor:
    """Euclidean length over dimension 1, with a finite gradient at zero."""
    return (x.square().sum(1, keepdim=True) + 1e-6).sqrt()


def level_and_spread(x: Tensor) -> Tensor:
    """Mean and standard deviation over time: `[batch, c, time]` -> `[batch, 2 c]`."""
    return torch.cat([x.mean(-1), (x.var(-1, correction=0) + 1e-5).sqrt()], -1)


def extremes(x: Tensor) -> Tensor:
    """Maximum and minimum over time: `[batch, c, time]` -> `[batch, 2 c]`."""
    return torch.cat([x.max(-1).values, x.min(-1).values], -1)


def band_powers(x: Tensor) -> Tensor:
    """A quarter of the log power in every band: `[batch, c, time]` -> `[batch, c * BANDS]`."""
    transform, bands = (matrix.to(x) for matrix in band_matrices(x.shape[-1]))
    cosine, sine = ((x - x.mean(-1, keepdim=True)) @ transform).square().chunk(2, dim=-1)
    return (torch.log((cosine + sine) @ bands + 1e-4) / 4).flatten(1)


@functools.lru_cache(maxsize=8)
def band_matrices(time: int) -> tuple[Tensor, Tensor]:
    """Windowed cosines and sines `[time, 2 f]`, and the mean over each band `[f, BANDS]`."""
    double = torch.float64
    frequency = torch.arange(1, time // 2, dtype=double)
    window = torch.hann_window(time, periodic=False, dtype=double)
    angle = 2 * math.pi * torch.arange(time, dtype=double)[:, None] * frequency / time
    transform = torch.cat([angle.cos(), angle.sin()], 1) * (window / window.norm())[:, None]
    edges = [0.006 * (0.5 / 0.006) ** (band / BANDS) for band in range(BANDS + 1)]
    cycles, bands = frequency / time, torch.zeros(len(frequency), BANDS, dtype=double)
    for band in range(BANDS):
        low, high = edges[band], edges[band + 1]
        inside = (cycles >= low) & (cycles < high)
        if not inside.any():
            nearest = (cycles / math.sqrt(low * high)).log().abs().argmin()
            inside[nearest] = True
        bands[inside, band] = 1 / inside.sum()
    return transform, bands
