"""The encoder composed in PyTorch from the layer list, as an independent reference for tests."""

import torch
from torch import nn

SCALE = torch.tensor([9.80665] * 3 + [2.0] * 3, dtype=torch.float64)[:, None]


class FixedScale(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(6)), nn.Parameter(torch.zeros(6))

    def forward(self, x):
        return x / SCALE.to(x.dtype) * self.weight[:, None] + self.bias[:, None]


class Block(nn.Module):
    def __init__(self, fan_in, width, kernel, pool, activation):
        super().__init__()
        conv = nn.Conv1d(fan_in, width, kernel, dilation=2, bias=False)
        self.net = nn.Sequential(conv, pool, nn.GELU() if activation == "gelu" else nn.Identity())

    def forward(self, x):
        return self.net(x)


def norm(config, channels, groups):
    if config.norm == "instance":
        return nn.InstanceNorm1d(channels, affine=True)
    return nn.GroupNorm(1 if config.norm == "layer" else groups, channels)


class AtMostBins(nn.Module):
    def __init__(self, bins):
        super().__init__()
        self.bins = bins

    def forward(self, x):
        return nn.functional.adaptive_avg_pool1d(x, min(self.bins, x.shape[-1]))


class TorchEncoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        c, e = config.channels, config.embed_dim
        adaptive = {
            "gru_channels": nn.AdaptiveAvgPool1d(config.bins),
            "gru_time": AtMostBins(config.bins),
            "pool": nn.Identity(),
        }[config.readout]
        third = nn.MaxPool1d(3) if config.third_pool == "max" else adaptive
        layers = [
            norm(config, 6, 2) if config.input_norm == "group" else FixedScale(),
            Block(6, c, 10, nn.MaxPool1d(3), config.activation),
            Block(c, c, 5, nn.MaxPool1d(3), config.activation),
            Block(c, c, 5, third, config.activation),
            norm(config, c, 4),
        ]
        if config.readout == "pool":
            self.pool = nn.Linear(4 * c, e)
        else:
            features = config.bins if config.readout == "gru_channels" else c
            layers.append(nn.GRU(features, e, batch_first=True))
        setattr(self, "backbone" if config.multihead else "net", nn.Sequential(*layers))
        if config.multihead:
            self.ssl_head, self.mmcl_head = nn.Linear(e, e), nn.Linear(e, e)

    def forward(self, imu):
        """`[batch, time, 6]` -> the three outputs, or "emb" only."""
        trunk = self.backbone if self.config.multihead else self.net
        x = trunk[:5](imu.transpose(1, 2))
        if self.config.readout == "pool":
            deviation = (x.var(2, unbiased=False) + 1e-5).sqrt()
            emb = self.pool(torch.cat([x.mean(2), deviation, x.max(2).values, x.min(2).values], 1))
        else:
            steps = x.transpose(1, 2) if self.config.readout == "gru_time" else x
            emb = trunk[5](steps)[1][0]
        if not self.config.multihead:
            return {"emb": emb}
        return {"emb": emb, "ssl": self.ssl_head(emb), "mmcl": self.mmcl_head(emb)}
