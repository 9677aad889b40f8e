"""Mamba, minimal: a selective scan, step by step in Python."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class ModelArgs:
    d_model: int
    n_layer: int
    vocab_size: int
    d_state: int = 4
    expand: int = 2
    dt_rank: int | str = "auto"
    d_conv: int = 4

    def __post_init__(self):
        self.d_inner = int(self.expand * self.d_model)
        if self.dt_rank == "auto":
            self.dt_rank = math.ceil(self.d_model / 16)


class RMSNorm(nn.Module):
    def __init__(self, d_model, eps=1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


class MambaBlock(nn.Module):
    def __init__(self, args: ModelArgs):
        super().__init__()
        self.args = args
        d_in = args.d_inner
        self.in_proj = nn.Linear(args.d_model, 2 * d_in, bias=False)
        self.conv1d = nn.Conv1d(
            d_in, d_in, args.d_conv, groups=d_in, padding=args.d_conv - 1
        )
        self.x_proj = nn.Linear(d_in, args.dt_rank + 2 * args.d_state, bias=False)
        self.dt_proj = nn.Linear(args.dt_rank, d_in)
        A = torch.arange(1, args.d_state + 1).repeat(d_in, 1)
        self.A_log = nn.Parameter(torch.log(A))
        self.D = nn.Parameter(torch.ones(d_in))
        self.out_proj = nn.Linear(d_in, args.d_model, bias=False)

    def forward(self, x):
        (b, L, d) = x.shape
        (x, res) = self.in_proj(x).split([self.args.d_inner, self.args.d_inner], dim=-1)
        x = self.conv1d(x.permute(0, 2, 1))[:, :, :L].permute(0, 2, 1)
        y = self.ssm(F.silu(x))
        return self.out_proj(y * F.silu(res))

    def ssm(self, x):
        (d_in, n) = self.A_log.shape
        A = -torch.exp(self.A_log.float())
        (delta, B, C) = self.x_proj(x).split([self.args.dt_rank, n, n], dim=-1)
        delta = F.softplus(self.dt_proj(delta))
        return self.selective_scan(x, delta, A, B, C, self.D.float())

    def selective_scan(self, u, delta, A, B, C, D):
        (b, L, d_in) = u.shape
        n = A.shape[1]
        deltaA = torch.exp(torch.einsum("bld,dn->bldn", delta, A))
        deltaB_u = torch.einsum("bld,bln,bld->bldn", delta, B, u)
        x = torch.zeros((b, d_in, n), device=deltaA.device)
        ys = []
        for i in range(L):
            x = deltaA[:, i] * x + deltaB_u[:, i]
            ys.append(torch.einsum("bdn,bn->bd", x, C[:, i, :]))
        y = torch.stack(ys, dim=1)
        return y + u * D


class ResidualBlock(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.mixer, self.norm = MambaBlock(args), RMSNorm(args.d_model)

    def forward(self, x):
        return self.mixer(self.norm(x)) + x


class Mamba(nn.Module):
    def __init__(self, input_shape, num_outputs, d_model=8, n_layer=2, d_state=4):
        super().__init__()
        args = ModelArgs(d_model, n_layer, num_outputs, d_state)
        if args.vocab_size % 4 != 0:
            args.vocab_size += 4 - args.vocab_size % 4
        self.args = args
        self.embedding = nn.Embedding(args.vocab_size, d_model)
        self.layers = nn.ModuleList([ResidualBlock(args) for _ in range(n_layer)])
        self.norm_f = RMSNorm(d_model)
        self.lm_head = nn.Linear(d_model, args.vocab_size, bias=False)
        self.lm_head.weight = self.embedding.weight
        self.num_outputs = num_outputs

    def forward(self, input_ids):
        x = self.embedding(input_ids)
        for layer in self.layers:
            x = layer(x)
        return self.lm_head(self.norm_f(x))[:, -1, : self.num_outputs]
