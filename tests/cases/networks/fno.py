"""A Fourier neural operator of two dimensions: complex weights on the lowest modes."""

import torch
import torch.nn.functional as F
from torch import nn


class SpectralConv2d(nn.Module):
    def __init__(self, in_channels, out_channels, modes1, modes2):
        super().__init__()
        self.out_channels = out_channels
        self.modes1, self.modes2 = modes1, modes2
        self.scale = 1 / (in_channels * out_channels)
        shape = (in_channels, out_channels, modes1, modes2)
        self.weights1 = nn.Parameter(
            self.scale * torch.rand(*shape, dtype=torch.cfloat)
        )
        self.weights2 = nn.Parameter(
            self.scale * torch.rand(*shape, dtype=torch.cfloat)
        )

    def compl_mul2d(self, input, weights):
        return torch.einsum("bixy,ioxy->boxy", input, weights)

    def forward(self, x):
        batchsize = x.shape[0]
        x_ft = torch.fft.rfft2(x)
        out_ft = torch.zeros(
            batchsize, self.out_channels, x.size(-2), x.size(-1) // 2 + 1,
            dtype=torch.cfloat, device=x.device,
        )  # fmt: skip
        out_ft[:, :, : self.modes1, : self.modes2] = self.compl_mul2d(
            x_ft[:, :, : self.modes1, : self.modes2], self.weights1
        )
        out_ft[:, :, -self.modes1 :, : self.modes2] = self.compl_mul2d(
            x_ft[:, :, -self.modes1 :, : self.modes2], self.weights2
        )
        return torch.fft.irfft2(out_ft, s=(x.size(-2), x.size(-1)))


class FNO2d(nn.Module):
    def __init__(self, input_shape, num_outputs, modes=3, width=6, depth=2):
        super().__init__()
        self.padding = 2
        self.p = nn.Linear(input_shape[0] + 2, width)
        self.convs = nn.ModuleList(
            SpectralConv2d(width, width, modes, modes) for _ in range(depth)
        )
        self.ws = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(depth))
        self.norm = nn.InstanceNorm2d(width)
        self.q = nn.Linear(width, num_outputs)

    def get_grid(self, shape, device):
        b, size_x, size_y = shape[0], shape[1], shape[2]
        gridx = torch.linspace(0, 1, size_x, device=device)
        gridx = gridx.reshape(1, size_x, 1, 1).repeat([b, 1, size_y, 1])
        gridy = torch.linspace(0, 1, size_y, device=device)
        gridy = gridy.reshape(1, 1, size_y, 1).repeat([b, size_x, 1, 1])
        return torch.cat((gridx, gridy), dim=-1)

    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        x = torch.cat((x, self.get_grid(x.shape, x.device)), dim=-1)
        x = self.p(x).permute(0, 3, 1, 2)
        x = F.pad(x, [0, self.padding, 0, self.padding])
        for conv, w in zip(self.convs, self.ws, strict=True):
            x = F.gelu(self.norm(conv(self.norm(x))) + w(x))
        x = x[..., : -self.padding, : -self.padding]
        return self.q(x.permute(0, 2, 3, 1)).mean((1, 2))
