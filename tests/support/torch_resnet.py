"""ResNet-18 and -50 composed in PyTorch from the paper, with torchvision's names."""

import torch
from torch import nn


def conv(before, after, kernel, stride=1):
    return nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)


class Block(nn.Module):
    def __init__(self, before, width, stride, bottleneck):
        super().__init__()
        if bottleneck:
            layers = [(before, width, 1, 1), (width, width, 3, stride), (width, 4 * width, 1, 1)]
        else:
            layers = [(before, width, 3, stride), (width, width, 3, 1)]
        self.count = len(layers)
        for number, layer in enumerate(layers, 1):
            setattr(self, f"conv{number}", conv(*layer))
            setattr(self, f"bn{number}", nn.BatchNorm2d(layer[1]))
        after = layers[-1][1]
        self.downsample = nn.Identity()
        if before != after or stride != 1:
            self.downsample = nn.Sequential(conv(before, after, 1, stride), nn.BatchNorm2d(after))

    def forward(self, x):
        y = x
        for number in range(1, self.count + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = torch.relu(y) if number < self.count else y
        return torch.relu(y + self.downsample(x))


class TorchResNet(nn.Module):
    def __init__(self, config):
        super().__init__()
        before = config.width
        self.conv1 = nn.Conv2d(config.channels, before, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(before)
        self.pool = nn.MaxPool2d(3, 2, 1)
        blocks = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[config.depth]
        for stage, count in enumerate(blocks):
            layers = []
            for number in range(count):
                width, stride = config.width * 2**stage, 2 if stage and number == 0 else 1
                layers.append(Block(before, width, stride, config.depth == 50))
                before = width * (4 if config.depth == 50 else 1)
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        if config.classes:
            self.fc = nn.Linear(before, config.classes)

    def forward(self, x):
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        features = x.mean((2, 3))
        return features, self.fc(features) if hasattr(self, "fc") else None
