"""Small networks as users write them, each with one awkward structure."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Concat(nn.Module):
    """Two branches side by side, read by one convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(3, 24, 1)
        self.norm = nn.BatchNorm2d(40)
        self.c = nn.Conv2d(40, 16, 3, padding=1)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm(torch.cat([self.a(x), self.b(x)], 1)))
        return self.head(F.relu(self.c(y)).mean((2, 3)))


class Shared(nn.Module):
    """One convolution used twice, with a batch norm of its own each time."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.twice = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(16) for _ in range(2))
        self.last = nn.Conv2d(16, 24, 1)
        self.head = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.stem(x))
        for norm in self.norms:
            y = F.relu(norm(self.twice(y)))
        return self.head(F.adaptive_avg_pool2d(F.relu(self.last(y)), 1).flatten(1))


class Grouped(nn.Module):
    """A grouped convolution between ordinary ones: what touches it stays, what does not can be narrowed."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.grouped = nn.Conv2d(16, 32, 3, padding=1, groups=4)
        self.free = nn.Conv2d(32, 24, 1)
        self.head = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.free(F.relu(self.grouped(F.relu(self.stem(x))))))
        return self.head(y.mean((2, 3)))


class Shuffle(nn.Module):
    """A channel shuffle, as ShuffleNet writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.mixed = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 1)
        self.free = nn.Conv2d(16, 24, 1)
        self.head = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.mixed(F.relu(self.stem(x))))
        n, c, h, w = y.shape
        y = y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.head(F.relu(self.free(y)).mean((2, 3)))


class SqueezeExcite(nn.Module):
    """A residual block whose body is gated by its own mean."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.up, self.down = nn.Conv2d(16, 32, 3, padding=1), nn.Conv2d(32, 16, 1)
        self.squeeze, self.excite = nn.Conv2d(32, 8, 1), nn.Conv2d(8, 32, 1)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        y = F.relu(self.up(x))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))))
        return self.head(F.relu(x + self.down(y * gate)).mean((2, 3)))


class Flat(nn.Module):
    """Convolution, flatten, two dense layers: each channel is many columns of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 5, stride=2, padding=2)
        self.hidden, self.head = nn.Linear(16 * 4 * 4, 24), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = F.max_pool2d(F.leaky_relu(self.conv(x), 0.1), 2)
        return self.head(F.hardswish(self.hidden(y.view(y.size(0), -1))))


class Split(nn.Module):
    """A stream cut into two fixed halves."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.part = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.free = nn.Conv2d(16, 24, 1)
        self.head = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        a, b = F.relu(self.stem(x)).chunk(2, 1)
        y = torch.cat([a, F.relu(self.part(b))], 1)
        return self.head(F.relu(self.free(y)).mean((2, 3)))


class Scaled(nn.Module):
    """Normalises its input, scales a branch before adding it (LayerScale), and ends in a maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.2, 0.3, 0.25]).view(3, 1, 1))
        self.stem, self.up, self.down = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 1), nn.Conv2d(32, 16, 1)
        self.slopes, self.gamma = nn.PReLU(32), nn.Parameter(torch.full((16, 1, 1), 0.5))
        self.shift = nn.Parameter(torch.linspace(-1, 1, 16)[:, None, None])
        self.last, self.head = nn.Conv2d(16, 24, 3, stride=2), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem((x - self.mean) / self.std)
        y = y + self.gamma * F.relu(self.down(self.slopes(self.up(y))))
        y = F.gelu(self.last(F.hardtanh(y - self.shift)), approximate="tanh")
        return self.head(y.amax((2, 3)) * 2)


class Tied(nn.Module):
    """Layers that share single arrays: a weight with other biases and dilations, and a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 24, 3, padding=1)
        self.b, self.c = nn.Conv2d(16, 24, 3, padding=2, dilation=2), nn.Conv2d(24, 16, 1)
        self.d = nn.Conv2d(16, 24, 3, padding=1, bias=False)
        self.b.weight = self.d.weight = self.a.weight
        self.c.bias = self.stem.bias
        self.norms = nn.ModuleList(nn.BatchNorm2d(24) for _ in range(2))
        self.last, self.head = nn.Conv2d(24, 32, 1), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.stem(x))
        y = F.relu(self.c(F.relu(self.norms[0](self.a(y)) + self.b(y))))
        return self.head(F.relu(self.last(self.norms[1](self.d(y)))).mean((2, 3)))


AWKWARD = {m.__name__: m for m in (Concat, Shared, Grouped, Shuffle, SqueezeExcite, Flat, Split, Scaled, Tied)}
INPUT_SHAPE = (3, 16, 16)
