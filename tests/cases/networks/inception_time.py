"""InceptionTime: kernels of several lengths side by side, a residual every third module."""

import torch
from torch import nn


class InceptionModule(nn.Module):
    def __init__(self, ni, nf, ks=20, bottleneck=True):
        super().__init__()
        ks = [ks // (2**i) for i in range(3)]
        ks = [k if k % 2 != 0 else k - 1 for k in ks]
        bottleneck = bottleneck if ni > 1 else False
        self.bottleneck = nn.Conv1d(ni, nf, 1, bias=False) if bottleneck else None
        self.convs = nn.ModuleList(
            [
                nn.Conv1d(nf if bottleneck else ni, nf, k, padding="same", bias=False)
                for k in ks
            ]
        )
        self.maxconvpool = nn.Sequential(
            nn.MaxPool1d(3, stride=1, padding=1), nn.Conv1d(ni, nf, 1, bias=False)
        )
        self.bn = nn.BatchNorm1d(nf * 4)
        self.act = nn.ReLU()

    def forward(self, x):
        input_tensor = x
        if self.bottleneck is not None:
            x = self.bottleneck(x)
        x = torch.cat([c(x) for c in self.convs] + [self.maxconvpool(input_tensor)], 1)
        return self.act(self.bn(x))


class InceptionTime(nn.Module):
    def __init__(self, input_shape, num_outputs, nf=2, depth=3, ks=12):
        super().__init__()
        c_in = input_shape[0]
        self.depth = depth
        self.inception, self.shortcut = nn.ModuleList(), nn.ModuleList()
        for d in range(depth):
            self.inception.append(InceptionModule(c_in if d == 0 else nf * 4, nf, ks))
            if d % 3 == 2:
                n_in, n_out = c_in if d == 2 else nf * 4, nf * 4
                self.shortcut.append(
                    nn.BatchNorm1d(n_in)
                    if n_in == n_out
                    else nn.Sequential(
                        nn.Conv1d(n_in, n_out, 1, bias=False), nn.BatchNorm1d(n_out)
                    )
                )
        self.act = nn.ReLU()
        self.gap, self.fc = nn.AdaptiveAvgPool1d(1), nn.Linear(nf * 4, num_outputs)

    def forward(self, x):
        res = x
        for d in range(self.depth):
            x = self.inception[d](x)
            if d % 3 == 2:
                res = x = self.act(torch.add(x, self.shortcut[d // 3](res)))
        return self.fc(self.gap(x).squeeze(-1))
