"""A grammar of ordinary PyTorch: small networks as people write them, drawn at random.

A network is a stem, some parts that each take and give a picture, and a head. Each part has one structure that public
code is full of. Names of layers are drawn too, `input` and `output` among them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from front_parts import PARTS, Function, Rng, choose
from torch import Tensor, nn
from torch.nn import functional as F

NAMES = (
    "input",
    "output",
    "x",
    "logits",
    "relu",
    "conv",
    "add",
    "weight_",
    "0",
    "concat",
    "conv@2",
    "Übergang",
    "slice",
)
"""Names of parts; one is drawn for each."""


class Head(nn.Module):
    """From a picture to classes, in the spellings that are about."""

    def __init__(self, rng: Rng, shape: tuple[int, ...], classes: int = 10) -> None:
        super().__init__()
        c, h, w = shape
        self.kind = choose(
            rng, "mean", "mean_keep", "module", "flatten", "view", "reshape", "amax", "one_by_one", "conv", "max",
            "unflatten", "squeeze", "twice",
        )  # fmt: skip
        self.end = choose(rng, "", "", "", "softmax", "log_softmax", "norm", "hidden", "scale")
        wide = c * h * w if self.kind in ("flatten", "view", "reshape", "unflatten") else c
        hidden = wide if self.end != "hidden" else 24
        self.pool, self.flat = nn.AdaptiveAvgPool2d(1), nn.Flatten()
        self.hidden, self.norm = nn.Linear(wide, 24), nn.BatchNorm1d(classes)
        self.fc, self.last = nn.Linear(hidden, classes), nn.Conv2d(c, classes, 1)

    def features(self, x: Tensor) -> Tensor:
        made: dict[str, Callable[[], Tensor]] = {
            "mean": lambda: x.mean((2, 3)), "mean_keep": lambda: x.mean([-2, -1], keepdim=True).flatten(1),
            "module": lambda: self.flat(self.pool(x)), "flatten": lambda: torch.flatten(x, 1),
            "view": lambda: x.reshape(x.size(0), -1), "reshape": lambda: x.reshape(len(x), x[0].numel()),
            "amax": lambda: x.amax((2, 3)), "one_by_one": lambda: F.avg_pool2d(x, x.shape[2:]).view(x.shape[0], -1),
            "conv": lambda: x, "max": lambda: F.adaptive_max_pool2d(x, 1).squeeze(3).squeeze(2),
            "unflatten": lambda: x.flatten(1).unflatten(1, (2, -1)).flatten(1),
            "squeeze": lambda: self.pool(x).squeeze(-1).squeeze(-1), "twice": lambda: x.mean(3).mean(2),
        }  # fmt: skip
        return made[self.kind]()

    def forward(self, x: Tensor) -> Tensor:
        y = self.features(x)
        if self.kind == "conv":
            return self.last(y).mean((2, 3))
        y = self.fc(self.hidden(y).relu() if self.end == "hidden" else y)
        ends: dict[str, Function] = {
            "softmax": lambda y: y.softmax(-1), "log_softmax": lambda y: F.log_softmax(y, dim=1), "norm": self.norm,
            "scale": lambda y: y / 0.07,
        }  # fmt: skip
        return ends.get(self.end, lambda y: y)(y)


class Net(nn.Module):
    """A stem, parts under drawn names, a head."""

    def __init__(self, stem: nn.Module, parts: dict[str, nn.Module], head: nn.Module | None) -> None:
        super().__init__()
        self.stem = stem
        self.order = list(parts)
        for name, part in parts.items():
            self.add_module(name, part)
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for name in self.order:
            x = getattr(self, name)(x)
        return x if self.head is None else self.head(x)


SHAPE = (3, 12, 12)
"""Of the inputs of all networks."""


def network(seed: int) -> tuple[nn.Module, str]:
    """The network of a seed, in training mode as it comes, and what it is made of.

    The first of a grammar are of one part each, so that a fault has a plain example.
    """
    rng = np.random.default_rng([seed, 7])
    torch.manual_seed(seed)
    single = seed < 8 * len(PARTS)
    makers = [PARTS[seed % len(PARTS)]] if single else [choose(rng, *PARTS) for _ in range(int(rng.integers(2, 5)))]
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
    names = [NAMES[i] for i in rng.permutation(len(NAMES))]
    parts: dict[str, nn.Module] = {}
    x = torch.zeros(2, 16, *SHAPE[1:])
    for make in makers:
        part = make(rng, x.shape[1])
        try:
            with torch.no_grad():
                y = part.eval()(x.clone())
        except RuntimeError:  # too small a picture for this part
            continue
        if y.ndim == 4 and min(y.shape[2:]) >= 3:
            parts[names.pop()], x = part, y
    head = Head(rng, tuple(x.shape[1:])) if not single else _plain_head(x.shape[1])
    net = Net(stem, parts, head)
    _lively(net, rng)
    kinds = "+".join(m.__name__ for m in makers) + ("" if single else f">{head.kind}{head.end and '.' + head.end}")
    return net.train(), kinds


def _plain_head(channels: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def _lively(net: nn.Module, rng: Rng) -> None:
    """Statistics and scales as training leaves them: not 0 and 1, which hide what is left out."""
    generator = torch.Generator().manual_seed(int(rng.integers(1 << 31)))
    for m in net.modules():
        if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) and m.running_mean is not None:
            m.running_mean.copy_(torch.randn(m.num_features, generator=generator) * 0.3)
            m.running_var.copy_(torch.rand(m.num_features, generator=generator) + 0.5)
            if m.affine:
                m.weight.data.copy_(torch.rand(m.num_features, generator=generator) + 0.5)
                m.bias.data.copy_(torch.randn(m.num_features, generator=generator) * 0.3)
