"""Small networks whose layers read many groups of channels, or stand in blocks that hold no width of their own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def block(cin: int, cout: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(cout), nn.ReLU())


class Headed(nn.Module):
    """A body of maps, their means, and a dense layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, 10)

    def body(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


class Ways(Headed):
    """Four branches side by side; `after` says what stands behind their concatenation."""

    def __init__(self, after: str = "") -> None:
        super().__init__(32)
        widths = (16, 24, 32, 16)
        self.after, total = after, sum(widths)
        self.stem = block(3, 16)
        self.ways = nn.ModuleList(block(16, w, 1 + 2 * (i % 2)) for i, w in enumerate(widths))
        if after == "depthwise":
            self.middle: nn.Module = block(total, total, 3, 2, total)
        elif after == "grouped":
            self.middle = block(total, total, 3, 1, 8)
        elif after == "gate":
            self.squeeze, self.excite = nn.Conv2d(total, 24, 1), nn.Conv2d(24, total, 1)
        elif after == "split":
            self.part = block(total // 2, total // 2)
        self.last = block(total + (48 if after == "nested" else 0), 32, 1)

    def body(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        ways = [way(x) for way in self.ways]
        y = torch.cat(ways, 1)
        if self.after == "nested":
            some = torch.cat(ways[1:2] + ways[:1], 1)
            y = torch.cat([some, torch.cat(ways[2:], 1), ways[1], ways[1]], 1)
        elif self.after in ("depthwise", "grouped"):
            y = self.middle(F.max_pool2d(y, 3, 1, 1))
        elif self.after == "gate":
            y = y * torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(y, 1)))))
        elif self.after == "split":
            a, b = y.chunk(2, 1)
            y = torch.cat([a, self.part(b)], 1)
        elif self.after == "shuffle":
            n, c, h, w = y.shape
            y = y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.last(y)


class FlatWays(nn.Module):
    """Four branches, flattened: each channel is several columns of a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = block(3, 16, stride=2)
        self.ways = nn.ModuleList(block(16, w, 1) for w in (16, 24, 32, 16))
        self.hidden, self.head = nn.Linear(88 * 4, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = F.max_pool2d(torch.cat([way(x) for way in self.ways], 1), 4)
        return self.head(F.relu(self.hidden(y.flatten(1))))


class Dense(Headed):
    """Each layer reads all before it, behind a batch norm of their concatenation."""

    def __init__(self) -> None:
        super().__init__(24 + 16 * 4)
        self.stem = nn.Conv2d(3, 24, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(24 + 16 * i) for i in range(5))
        self.convs = nn.ModuleList(nn.Conv2d(24 + 16 * i, 16, 3, padding=1) for i in range(4))

    def body(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm, conv in zip(self.norms, self.convs, strict=False):
            x = torch.cat([x, conv(F.relu(norm(x)))], 1)
        return F.avg_pool2d(F.relu(self.norms[-1](x)), 2)


class InBlocks(Headed):
    """Concatenations in residual blocks: one behind which a layer makes the stream, one that holds the stream itself,
    one that is added as it is."""

    def __init__(self) -> None:
        super().__init__(32)
        self.stem = block(3, 32)
        self.first = nn.ModuleList(block(32, w, 1) for w in (16, 24, 32, 16))
        self.out = nn.Conv2d(88, 32, 1)
        self.second = nn.ModuleList(block(32, w, 1) for w in (24, 16, 40))
        self.mixed = nn.Conv2d(112, 32, 1)
        self.third = nn.ModuleList(block(32, 16, k) for k in (1, 3))
        self.norm = nn.BatchNorm2d(32)

    def body(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(x + self.out(torch.cat([way(x) for way in self.first], 1)))
        x = x + F.relu(self.mixed(torch.cat([x, *(way(x) for way in self.second)], 1)))
        x = x + torch.cat([way(x) for way in self.third], 1)
        return F.relu(self.norm(x))


class OneConv(Headed):
    """Blocks of one convolution beside a projection: its two widths, its precision and the block are four decisions."""

    def __init__(self) -> None:
        super().__init__(48)
        self.stem = block(3, 16)
        self.convs = nn.ModuleList([nn.Conv2d(16, 32, 3, 2, 1), nn.Conv2d(32, 48, 3, 2, 1)])
        self.shortcuts = nn.ModuleList([nn.Conv2d(16, 32, 1, 2), nn.Conv2d(32, 48, 1, 2)])

    def body(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for conv, shortcut in zip(self.convs, self.shortcuts, strict=True):
            x = F.relu(F.relu(conv(x)) + shortcut(x))
        return x


class Nested(Headed):
    """Residual blocks within residual blocks within one more."""

    def __init__(self) -> None:
        super().__init__(32)
        self.stem = block(3, 32)
        inner = [nn.Sequential(block(32, 16 + 8 * i), nn.Conv2d(16 + 8 * i, 32, 1)) for i in range(3)]
        self.inner, self.outer = nn.ModuleList(inner), nn.ModuleList(nn.Conv2d(32, 32, 3, padding=1) for _ in range(2))
        self.around = nn.Conv2d(32, 32, 1)

    def body(self, x: Tensor) -> Tensor:
        start = x = self.stem(x)
        for group, last in zip(((0, 1), (2,)), self.outer, strict=True):
            y = x
            for i in group:
                y = y + self.inner[i](y)
            x = x + F.relu(last(y))
        return F.relu(start + F.relu(self.around(x)))


class Recurrent(Headed):
    """One layer in three blocks, with one batch norm or with one for each."""

    def __init__(self, norms: int = 1) -> None:
        super().__init__(32)
        self.stem = block(3, 32)
        self.conv = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(32) for _ in range(norms))

    def body(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for i in range(3):
            x = x + F.relu(self.norms[i % len(self.norms)](self.conv(x)))
        return x


class PreActivation(Headed):
    """A block that goes down, whose 1x1 shortcut reads the raw input."""

    def __init__(self) -> None:
        super().__init__(24)
        self.stem, self.norm = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.a, self.norm_a = nn.Conv2d(16, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24)
        self.b, self.shortcut = nn.Conv2d(24, 24, 3, padding=1), nn.Conv2d(16, 24, 1, 2)

    def body(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.b(F.relu(self.norm_a(self.a(F.relu(self.norm(x))))))
        return F.relu(y + self.shortcut(x))


class Pyramid(Headed):
    """Blocks that grow, with zero channels on shortcuts that go down by a mean pool or (`slices`) by every other
    pixel."""

    def __init__(self, slices: bool = False) -> None:
        super().__init__(40)
        self.slices, self.stem = slices, nn.Conv2d(3, 16, 3, padding=1)
        plan = ((16, 16, 1), (16, 24, 2), (24, 32, 1), (32, 40, 2))
        self.bodies = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(i), block(i, o, 3, s), nn.Conv2d(o, o, 3, padding=1)) for i, o, s in plan
        )

    def body(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for body in self.bodies:
            y = body(x)
            if y.shape[2] < x.shape[2]:
                x = x[:, :, ::2, ::2] if self.slices else F.avg_pool2d(x, 2)
            x = y + F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
        return F.relu(x)


class GroupedBottleneck(Headed):
    """Bottlenecks around grouped convolutions, as in RegNet."""

    def __init__(self) -> None:
        super().__init__(64)
        self.stem = block(3, 24, 3, 2)
        plan = ((24, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1))
        self.bodies = nn.ModuleList(
            nn.Sequential(block(i, o, 1), block(o, o, 3, s, o // 16), nn.Conv2d(o, o, 1)) for i, o, s in plan
        )
        self.shortcuts = nn.ModuleList(nn.Conv2d(i, o, 1, s) if s > 1 else nn.Identity() for i, o, s in plan)

    def body(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for body, shortcut in zip(self.bodies, self.shortcuts, strict=True):
            x = F.relu(body(x) + shortcut(x))
        return x


class PaddedMobile(Headed):
    """Inverted residuals whose padding is an operator of its own, as in EfficientNet-Lite."""

    def __init__(self) -> None:
        super().__init__(32)
        self.stem = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 16, 3, 2), nn.ReLU6())
        plan = ((16, 24, 2), (24, 24, 1), (24, 32, 2), (32, 32, 1))
        self.bodies = nn.ModuleList(self._inverted(i, o, s) for i, o, s in plan)

    @staticmethod
    def _inverted(cin: int, cout: int, stride: int) -> nn.Sequential:
        inner = 3 * cin
        pad = nn.ZeroPad2d((0, 1, 0, 1) if stride == 2 else 1)
        deep = nn.Conv2d(inner, inner, 3, stride, groups=inner, bias=False)
        narrow = (nn.Conv2d(inner, cout, 1, bias=False), nn.BatchNorm2d(cout))
        return nn.Sequential(*block(cin, inner, 1), pad, deep, nn.BatchNorm2d(inner), nn.ReLU6(), *narrow)

    def body(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for body in self.bodies:
            y = body(x)
            x = x + y if x.shape == y.shape else y
        return x


class Tokens(nn.Module):
    """Dense layers over tokens and over channels in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 4, 4)
        self.mix = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16))
        self.each = nn.Sequential(nn.Linear(24, 48), nn.ReLU(), nn.Linear(48, 24))
        self.head = nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x).flatten(2)
        y = (y + self.mix(y)).transpose(1, 2)
        y = (y + self.each(y)).transpose(1, 2)
        return self.head(y.reshape(len(x), 24, 4, 4).mean((2, 3)))


JOINED = {
    **{f"Ways {after}".strip(): lambda after=after: Ways(after)
       for after in ("", "nested", "depthwise", "grouped", "gate", "split", "shuffle")},
    **{m.__name__: m for m in (FlatWays, Dense, InBlocks, OneConv, Nested, Recurrent, PreActivation, Pyramid)},
    **{m.__name__: m for m in (GroupedBottleneck, PaddedMobile, Tokens)},
    "Recurrent with norms": lambda: Recurrent(3),
    "Pyramid of slices": lambda: Pyramid(slices=True),
}  # fmt: skip
