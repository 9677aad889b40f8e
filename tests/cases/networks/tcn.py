"""A temporal convolutional network: what a causal padding adds is chomped off again."""

from torch import nn
from torch.nn.utils import weight_norm as earlier_weight_norm
from torch.nn.utils.parametrizations import weight_norm


class Chomp1d(nn.Module):
    def __init__(self, chomp_size):
        super().__init__()
        self.chomp_size = chomp_size

    def forward(self, x):
        return x[:, :, : -self.chomp_size].contiguous()


class TemporalBlock(nn.Module):
    def __init__(self, n_inputs, n_outputs, kernel_size, dilation, dropout, norm):
        super().__init__()
        padding = (kernel_size - 1) * dilation
        self.conv1 = norm(
            nn.Conv1d(
                n_inputs, n_outputs, kernel_size, padding=padding, dilation=dilation
            )
        )
        self.chomp1, self.relu1 = Chomp1d(padding), nn.ReLU()
        self.dropout1 = nn.Dropout(dropout)
        self.conv2 = norm(
            nn.Conv1d(
                n_outputs, n_outputs, kernel_size, padding=padding, dilation=dilation
            )
        )
        self.chomp2, self.relu2 = Chomp1d(padding), nn.ReLU()
        self.dropout2 = nn.Dropout(dropout)
        self.net = nn.Sequential(
            self.conv1, self.chomp1, self.relu1, self.dropout1,
            self.conv2, self.chomp2, self.relu2, self.dropout2,
        )  # fmt: skip
        self.downsample = (
            nn.Conv1d(n_inputs, n_outputs, 1) if n_inputs != n_outputs else None
        )
        self.relu = nn.ReLU()
        self.init_weights()

    def init_weights(self):
        self.conv1.weight.data.normal_(0, 0.01)
        self.conv2.weight.data.normal_(0, 0.01)
        if self.downsample is not None:
            self.downsample.weight.data.normal_(0, 0.01)

    def forward(self, x):
        out = self.net(x)
        res = x if self.downsample is None else self.downsample(x)
        return self.relu(out + res)


class TCN(nn.Module):
    norm = staticmethod(weight_norm)

    def __init__(
        self, input_shape, num_outputs, channels=8, levels=3, kernel_size=3, dropout=0.2
    ):
        super().__init__()
        layers = []
        for i in range(levels):
            in_channels = input_shape[0] if i == 0 else channels
            layers += [
                TemporalBlock(
                    in_channels, channels, kernel_size, 2**i, dropout, self.norm
                )
            ]
        self.network = nn.Sequential(*layers)
        self.linear = nn.Linear(channels, num_outputs)
        self.linear.weight.data.normal_(0, 0.01)

    def forward(self, x):
        return self.linear(self.network(x)[:, :, -1])


class EarlierTCN(TCN):
    """With hooks that make the weight anew before each call, as torch had them first."""

    norm = staticmethod(earlier_weight_norm)
