"""A transformer for tables: each column becomes a token."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def reglu(x):
    a, b = x.chunk(2, dim=-1)
    return a * F.relu(b)


class Tokenizer(nn.Module):
    def __init__(self, n_features, d_token):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_features + 1, d_token))
        self.bias = nn.Parameter(torch.empty(n_features, d_token))
        for parameter in (self.weight, self.bias):
            nn.init.kaiming_uniform_(parameter, a=math.sqrt(5))

    def forward(self, x_num):
        ones = torch.ones(len(x_num), 1, device=x_num.device)
        x_num = torch.cat([ones, x_num], dim=1)
        x = self.weight[None] * x_num[:, :, None]
        bias = torch.cat(
            [torch.zeros(1, self.bias.shape[1], device=x.device), self.bias]
        )
        return x + bias[None]


class MultiheadAttention(nn.Module):
    def __init__(self, d, n_heads, dropout):
        super().__init__()
        self.W_q, self.W_k, self.W_v = (nn.Linear(d, d) for _ in range(3))
        self.W_out = nn.Linear(d, d) if n_heads > 1 else None
        self.n_heads = n_heads
        self.dropout = nn.Dropout(dropout) if dropout else None
        for m in [self.W_q, self.W_k, self.W_v]:
            nn.init.xavier_uniform_(m.weight, gain=1 / math.sqrt(2))
            nn.init.zeros_(m.bias)

    def _reshape(self, x):
        batch_size, n_tokens, d = x.shape
        d_head = d // self.n_heads
        return (
            x.reshape(batch_size, n_tokens, self.n_heads, d_head)
            .transpose(1, 2)
            .reshape(batch_size * self.n_heads, n_tokens, d_head)
        )

    def forward(self, x_q, x_kv):
        q, k, v = self.W_q(x_q), self.W_k(x_kv), self.W_v(x_kv)
        batch_size, d_head_value = len(q), v.shape[-1] // self.n_heads
        n_q_tokens = q.shape[1]
        q, k = self._reshape(q), self._reshape(k)
        attention = F.softmax(q @ k.transpose(1, 2) / math.sqrt(k.shape[-1]), dim=-1)
        if self.dropout is not None:
            attention = self.dropout(attention)
        x = attention @ self._reshape(v)
        x = (
            x.reshape(batch_size, self.n_heads, n_q_tokens, d_head_value)
            .transpose(1, 2)
            .reshape(batch_size, n_q_tokens, self.n_heads * d_head_value)
        )
        return x if self.W_out is None else self.W_out(x)


class FTTransformer(nn.Module):
    def __init__(
        self, input_shape, num_outputs, *, n_layers=2, d_token=8, n_heads=2,
        attention_dropout=0.2, ffn_dropout=0.1, residual_dropout=0.05,
    ):  # fmt: skip
        super().__init__()
        self.tokenizer = Tokenizer(math.prod(input_shape), d_token)
        self.layers = nn.ModuleList([])
        for layer_idx in range(n_layers):
            layer = nn.ModuleDict(
                {
                    "attention": MultiheadAttention(
                        d_token, n_heads, attention_dropout
                    ),
                    "linear0": nn.Linear(d_token, 4 * d_token),
                    "linear1": nn.Linear(2 * d_token, d_token),
                    "norm1": nn.LayerNorm(d_token),
                }
            )
            if layer_idx:
                layer["norm0"] = nn.LayerNorm(d_token)
            self.layers.append(layer)
        self.last_normalization = nn.LayerNorm(d_token)
        self.ffn_dropout, self.residual_dropout = ffn_dropout, residual_dropout
        self.head = nn.Linear(d_token, num_outputs)

    def _start_residual(self, x, layer, norm_idx):
        norm_key = f"norm{norm_idx}"
        return layer[norm_key](x) if norm_key in layer else x

    def _end_residual(self, x, x_residual):
        if self.residual_dropout:
            x_residual = F.dropout(x_residual, self.residual_dropout, self.training)
        return x + x_residual

    def forward(self, x_num):
        x = self.tokenizer(x_num)
        for layer_idx, layer in enumerate(self.layers):
            is_last_layer = layer_idx + 1 == len(self.layers)
            x_residual = self._start_residual(x, layer, 0)
            x_residual = layer["attention"](
                x_residual[:, :1] if is_last_layer else x_residual, x_residual
            )
            if is_last_layer:
                x = x[:, : x_residual.shape[1]]
            x = self._end_residual(x, x_residual)
            x_residual = reglu(layer["linear0"](self._start_residual(x, layer, 1)))
            if self.ffn_dropout:
                x_residual = F.dropout(x_residual, self.ffn_dropout, self.training)
            x = self._end_residual(x, layer["linear1"](x_residual))
        x = F.relu(self.last_normalization(x[:, 0]))
        return self.head(x).squeeze(-1)
