"""Large networks at 224 x 224, written here in plain torch with random weights: their shapes are the published ones.

ResNet-18 and -50 (He et al. 2016), MobileNetV2 (Sandler et al. 2018), EfficientNet-Lite0 (Google, 2020), ViT-tiny
(Touvron et al. 2021) and ConvNeXt-tiny (Liu et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSES, SIZE = 1000, 224


def conv_norm(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True) -> nn.Sequential:
    """A convolution with batch norm, and relu6 behind it unless it ends a block."""
    layers: list[nn.Module] = [nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False)]
    layers.append(nn.BatchNorm2d(cout))
    return nn.Sequential(*layers, *([nn.ReLU6()] if act else []))


class Residual(nn.Module):
    """relu(body(x) + shortcut(x))."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut, self.relu = body, shortcut, nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return y


def _plain(cin: int, cout: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(cout)]


def _basic(cin: int, width: int, stride: int) -> tuple[nn.Module, int]:
    return nn.Sequential(*_plain(cin, width, 3, stride), nn.ReLU(), *_plain(width, width, 3)), width


def _bottleneck(cin: int, width: int, stride: int) -> tuple[nn.Module, int]:
    layers = [*_plain(cin, width, 1), nn.ReLU(), *_plain(width, width, 3, stride), nn.ReLU()]
    return nn.Sequential(*layers, *_plain(width, 4 * width, 1)), 4 * width


def resnet(blocks: tuple[int, ...], block: Callable[[int, int, int], tuple[nn.Module, int]]) -> nn.Module:
    """ResNet with so many blocks a stage."""
    layers: list[nn.Module] = [*_plain(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    cin = 64
    for stage, count in enumerate(blocks):
        for n in range(count):
            stride = 2 if stage and not n else 1
            body, cout = block(cin, 64 << stage, stride)
            same = cin == cout and stride == 1
            layers.append(Residual(body, nn.Identity() if same else nn.Sequential(*_plain(cin, cout, 1, stride))))
            cin = cout
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(cin, CLASSES))


class Inverted(nn.Module):
    """An inverted bottleneck: expansion, depth-wise convolution, projection, and a shortcut where shapes allow one."""

    def __init__(self, cin: int, cout: int, expand: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = cin * expand
        first = [conv_norm(cin, inner, 1)] if expand > 1 else []
        last = conv_norm(inner, cout, 1, act=False)
        self.body = nn.Sequential(*first, conv_norm(inner, inner, kernel, stride, inner), last)
        self.same = stride == 1 and cin == cout

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.same else y


def inverted(stages: tuple[tuple[int, int, int, int, int], ...], last: int) -> nn.Module:
    """A network of stages (expansion, channels, blocks, stride, kernel)."""
    layers: list[nn.Module] = [conv_norm(3, 32, 3, 2)]
    cin = 32
    for expand, cout, count, stride, kernel in stages:
        for n in range(count):
            layers.append(Inverted(cin, cout, expand, kernel, 1 if n else stride))
            cin = cout
    return nn.Sequential(
        *layers, conv_norm(cin, last, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(last, CLASSES)
    )


MOBILENET_V2 = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 32, 3, 2, 3), (6, 64, 4, 2, 3), (6, 96, 3, 1, 3), (6, 160, 3, 2, 3),
    (6, 320, 1, 1, 3),
)  # fmt: skip
EFFICIENTNET_LITE0 = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)  # fmt: skip


class Attention(nn.Module):
    """Self-attention of so many heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        q, k, v = (
            self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        y: Tensor = self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))
        return y


class Layer(nn.Module):
    """A transformer layer, norms first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.attention = Attention(width, heads)
        self.ffn = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        y: Tensor = x + self.ffn(self.norm2(x))
        return y


class ViT(nn.Module):
    """A vision transformer with a class token."""

    def __init__(self, width: int = 192, depth: int = 12, heads: int = 3, patch: int = 16) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.places = nn.Parameter(0.02 * torch.randn(1, (SIZE // patch) ** 2 + 1, width))
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width, 1e-6), nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        y: Tensor = self.head(self.norm(self.layers(x))[:, 0])
        return y


class ChannelNorm(nn.Module):
    """Layer norm over the channels of a map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return y


class ConvNeXtBlock(nn.Module):
    """Depth-wise 7x7, norm, two dense layers on every pixel, a learnt scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spread = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, 1e-6)
        self.ffn = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.scale = nn.Parameter(0.5 * torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.ffn(self.norm(self.spread(x).permute(0, 2, 3, 1)))
        z: Tensor = x + (self.scale * y).permute(0, 3, 1, 2)
        return z


def convnext(depths: tuple[int, ...] = (3, 3, 9, 3), widths: tuple[int, ...] = (96, 192, 384, 768)) -> nn.Module:
    """ConvNeXt with so many blocks of these widths a stage."""
    layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, 4), ChannelNorm(widths[0])]
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        if stage:
            layers += [ChannelNorm(widths[stage - 1]), nn.Conv2d(widths[stage - 1], width, 2, 2)]
        layers += [ConvNeXtBlock(width) for _ in range(depth)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(widths[-1], 1e-6), nn.Linear(widths[-1], CLASSES)]
    return nn.Sequential(*layers, *head)


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": lambda: resnet((2, 2, 2, 2), _basic),
    "resnet50": lambda: resnet((3, 4, 6, 3), _bottleneck),
    "mobilenetv2": lambda: inverted(MOBILENET_V2, 1280),
    "efficientnet_lite0": lambda: inverted(EFFICIENTNET_LITE0, 1280),
    "vit_tiny": ViT,
    "convnext_tiny": convnext,
}


def built(name: str) -> nn.Module:
    """The network, in evaluation, with weights drawn from a fixed seed and batch norms that do something."""
    torch.manual_seed(0)
    module = BUILDERS[name]()
    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.5, 1.0)
            nn.init.uniform_(m.bias, -0.2, 0.2)
    return module.eval()
