"""Inverted residuals: widen, filter each channel by itself, narrow without an activation."""

import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, in_planes, out_planes, expansion, stride):
        super().__init__()
        self.stride = stride
        planes = expansion * in_planes
        self.conv1 = nn.Conv2d(in_planes, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(
            planes, planes, 3, stride=stride, padding=1, groups=planes, bias=False
        )
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out_planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_planes)
        self.shortcut = nn.Sequential()
        if stride == 1 and in_planes != out_planes:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_planes, out_planes, 1, bias=False),
                nn.BatchNorm2d(out_planes),
            )

    def forward(self, x):
        out = F.relu6(self.bn1(self.conv1(x)))
        out = F.relu6(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return out + self.shortcut(x) if self.stride == 1 else out


class MobileNetV2(nn.Module):
    # (expansion, out_planes, num_blocks, stride)
    cfg = ((1, 8, 1, 1), (3, 12, 2, 2), (3, 16, 1, 2))

    def __init__(self, input_shape, num_outputs, width=1.0, dropout=0.2):
        super().__init__()
        first = int(8 * width)
        self.conv1 = nn.Conv2d(input_shape[0], first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layers = self._make_layers(first, width)
        last = self.layers[-1].conv3.out_channels
        self.conv2 = nn.Conv2d(last, 4 * last, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * last)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(4 * last, num_outputs)
        )

    def _make_layers(self, in_planes, width):
        layers = []
        for expansion, out_planes, num_blocks, first_stride in self.cfg:
            out_planes = int(out_planes * width)
            for stride in [first_stride] + [1] * (num_blocks - 1):
                layers.append(Block(in_planes, out_planes, expansion, stride))
                in_planes = out_planes
        return nn.Sequential(*layers)

    def forward(self, x):
        out = F.relu6(self.bn1(self.conv1(x)))
        out = F.relu6(self.bn2(self.conv2(self.layers(out))))
        out = F.adaptive_avg_pool2d(out, 1).flatten(1)
        return self.classifier(out)
