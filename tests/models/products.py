"""Networks whose channels stand within one another, or are cut and put together again."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv_norm(inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(outputs)
    )


class Net(nn.Module):
    """A stem, what is of interest, and a head."""

    def __init__(self, width: int, outputs: int | None = None) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, width, 3, padding=1), nn.Linear(outputs or width, 10)

    def middle(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(F.relu(self.stem(x))).mean((2, 3)))


class ResNeXt(Net):
    """A residual block with a convolution in 4 groups of 4 channels, gated."""

    def __init__(self) -> None:
        super().__init__(24)
        self.reduce, self.grouped, self.expand = conv_norm(24, 16), conv_norm(16, 32, 3, 4), conv_norm(32, 24)
        self.squeeze, self.excite = nn.Conv2d(32, 6, 1), nn.Conv2d(6, 32, 1)

    def middle(self, x: Tensor) -> Tensor:
        y = F.relu(self.grouped(F.relu(self.reduce(x))))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))))
        return F.relu(x + self.expand(y * gate))


class Csp(Net):
    """Half of the channels go past a residual block."""

    def __init__(self) -> None:
        super().__init__(32)
        self.a, self.b, self.out = conv_norm(16, 24), conv_norm(24, 16, 3), conv_norm(32, 24)
        self.head = nn.Linear(24, 10)

    def middle(self, x: Tensor) -> Tensor:
        past, y = x.split([16, 16], 1)
        y = y + F.relu(self.b(F.relu(self.a(y))))
        return F.relu(self.out(torch.cat([y, past], 1)))


class Res2(Net):
    """Four parts, each convolved with the result of the one before added."""

    def __init__(self) -> None:
        super().__init__(16)
        self.reduce, self.expand = conv_norm(16, 32), conv_norm(32, 16)
        self.parts = nn.ModuleList(conv_norm(8, 8, 3) for _ in range(3))

    def middle(self, x: Tensor) -> Tensor:
        first, *others = F.relu(self.reduce(x)).chunk(4, 1)
        made, last = [], None
        for part, y in zip(self.parts, others, strict=True):
            last = F.relu(part(y if last is None else y + last))
            made.append(last)
        return F.relu(x + self.expand(torch.cat([*made, first], 1)))


def shuffled(x: Tensor, groups: int) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class ShuffleUnits(Net):
    """Units that split, convolve one half, and shuffle (ShuffleNet v2); 12 channels in halves of halves."""

    def __init__(self) -> None:
        super().__init__(24)
        self.units = nn.ModuleList(
            nn.Sequential(conv_norm(12, 16), nn.ReLU(), conv_norm(16, 16, 3, 16), conv_norm(16, 12), nn.ReLU())
            for _ in range(3)
        )

    def middle(self, x: Tensor) -> Tensor:
        for unit in self.units:
            a, b = x.chunk(2, 1)
            x = shuffled(torch.cat([a, unit(b)], 1), 2)
        return x


class ShuffleGroups(Net):
    """Grouped pointwise convolutions with a shuffle between (ShuffleNet v1)."""

    def __init__(self) -> None:
        super().__init__(24)
        self.a, self.dw, self.b = conv_norm(24, 36, 1, 3), conv_norm(36, 36, 3, 36), conv_norm(36, 24, 1, 3)

    def middle(self, x: Tensor) -> Tensor:
        return F.relu(x + self.b(self.dw(shuffled(F.relu(self.a(x)), 3))))


class Ghost(Net):
    """Half of the channels are made cheaply of the other half, twice, with a shortcut."""

    def __init__(self) -> None:
        super().__init__(24)
        self.a, self.cheap = conv_norm(24, 20), conv_norm(20, 20, 3, 20)
        self.b, self.again = conv_norm(40, 12), conv_norm(12, 12, 3, 12)

    def middle(self, x: Tensor) -> Tensor:
        y = F.relu(self.a(x))
        y = self.b(torch.cat([y, F.relu(self.cheap(y))], 1))
        return x + torch.cat([y, self.again(y)], 1)


class Overlapping(Net):
    """What is put side by side from 16 and 8 channels is added to 8 and 16, and cut within a group."""

    def __init__(self) -> None:
        super().__init__(16)
        self.a, self.b, self.c = conv_norm(16, 8), conv_norm(16, 8), conv_norm(16, 16)
        self.d, self.head = conv_norm(20, 12), nn.Linear(16, 10)

    def middle(self, x: Tensor) -> Tensor:
        y = F.relu(torch.cat([x, self.a(x)], 1) + torch.cat([self.b(x), self.c(x)], 1))
        return torch.cat([F.relu(self.d(y[:, 2:22])), y[:, 20:]], 1)


class Tokens(Net):
    """A dense block on the pixels of a map, channels last, beside a depth-wise convolution (ConvNeXt without norm)."""

    def __init__(self) -> None:
        super().__init__(16)
        self.dw, self.up, self.down = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Linear(16, 32), nn.Linear(32, 16)

    def middle(self, x: Tensor) -> Tensor:
        return x + self.down(F.gelu(self.up(self.dw(x).permute(0, 2, 3, 1)))).permute(0, 3, 1, 2)


class Multiplied(Net):
    """Two maps of each channel, flattened with its pixels."""

    def __init__(self) -> None:
        super().__init__(12)
        self.many, self.deep = nn.Conv2d(12, 24, 4, 4, groups=12), nn.Linear(24 * 16, 20)
        self.head = nn.Linear(20, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.deep(F.relu(self.many(F.relu(self.stem(x)))).flatten(1))))


PRODUCTS = {
    m.__name__: m for m in (ResNeXt, Csp, Res2, ShuffleUnits, ShuffleGroups, Ghost, Overlapping, Tokens, Multiplied)
}
