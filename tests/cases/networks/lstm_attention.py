"""A text classifier: an LSTM read in both directions, attention over its states."""

import torch
import torch.nn.functional as F
from torch import nn


class AttentionLSTM(nn.Module):
    def __init__(
        self, input_shape, num_outputs, vocab_size=20, embed_dim=8, hidden_size=6,
        dropout=0.3,
    ):  # fmt: skip
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embed_dim, padding_idx=0)
        self.lstm = nn.LSTM(embed_dim, hidden_size, bidirectional=True)
        self.w = nn.Parameter(torch.zeros(hidden_size * 2).normal_(0, 0.1))
        self.tanh = nn.Tanh()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2 * hidden_size, num_outputs)
        self.hidden_size = hidden_size

    def init_hidden(self, batch_size, device):
        shape = (2, batch_size, self.hidden_size)
        return torch.zeros(shape, device=device), torch.zeros(shape, device=device)

    def forward(self, text):
        embedded = self.dropout(self.embedding(text)).permute(1, 0, 2)
        output, (h_n, c_n) = self.lstm(
            embedded, self.init_hidden(len(text), text.device)
        )
        output = output.permute(1, 0, 2)
        scores = torch.matmul(self.tanh(output), self.w)
        scores = scores.masked_fill(text == 0, float("-inf"))
        alpha = F.softmax(scores, dim=1).unsqueeze(-1)
        context = torch.bmm(output.transpose(1, 2), alpha).squeeze(2)
        return self.fc(self.dropout(context + torch.cat([h_n[0], h_n[1]], dim=1)))
