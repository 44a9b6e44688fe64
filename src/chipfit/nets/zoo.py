"""Six small families for 28x28 pictures, and the trained weights of each on Fashion-MNIST that ship with the package.

Every convolution is followed by batch norm and has no bias, LeNet5's excepted.
"""

from __future__ import annotations


from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import resources
from itertools import pairwise

import torch
from torch import Tensor, nn

from chipfit.core.errors import BadInput, did_you_mean


def conv_bn(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution, padded by half its kernel, and batch norm."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


def head(width: int, classes: int) -> list[nn.Module]:
    """Global mean, then a linear classifier."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2015); a 1x1 projection where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(*conv_bn(inputs, outputs, 3, stride), nn.ReLU(), *conv_bn(outputs, outputs))
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(*conv_bn(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class InvertedResidual(nn.Module):
    """1x1 expansion, 3x3 depth-wise, 1x1 projection; a shortcut where the shape is kept (Sandler et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int = 3) -> None:
        super().__init__()
        inner = inputs * expansion
        self.body = nn.Sequential(
            *conv_bn(inputs, inner, 1),
            nn.ReLU(),
            *conv_bn(inner, inner, 3, stride, groups=inner),
            nn.ReLU(),
            *conv_bn(inner, outputs, 1),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.residual else y


def lenet5(channels: int = 1, classes: int = 10) -> nn.Sequential:
    """LeNet5-16/32: two 5x5 convolutions with pools, two dense layers."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, classes),
    )  # fmt: skip


def dscnn(channels: int = 1, classes: int = 10, width: int = 32, depth: int = 4) -> nn.Sequential:
    """DS-CNN-32: a strided stem and four depth-wise separable blocks."""
    layers = [*conv_bn(channels, width, 3, 2), nn.ReLU()]
    for _ in range(depth):
        layers += [*conv_bn(width, width, 3, groups=width), nn.ReLU(), *conv_bn(width, width, 1), nn.ReLU()]
    return nn.Sequential(*layers, *head(width, classes))


def mobilenetv2(channels: int = 1, classes: int = 10) -> nn.Sequential:
    """MobileNetV2-tiny: six inverted residuals with expansion 3, then 1x1 to 128."""
    layers: list[nn.Module] = [*conv_bn(channels, 16, 3, 2), nn.ReLU()]
    plan = [(16, 1), (24, 2), (24, 1), (32, 2), (32, 1), (48, 1)]
    for (inputs, _), (outputs, stride) in pairwise([(16, 1), *plan]):
        layers.append(InvertedResidual(inputs, outputs, stride))
    return nn.Sequential(*layers, *conv_bn(48, 128, 1), nn.ReLU(), *head(128, classes))


def vgg6(channels: int = 1, classes: int = 10, width: int = 16) -> nn.Sequential:
    """VGG6: three pairs of 3x3 convolutions with max-pools between."""
    layers: list[nn.Module] = []
    for stage, outputs in enumerate((width, 2 * width, 4 * width)):
        inputs = channels if stage == 0 else outputs // 2
        layers += [nn.MaxPool2d(2)] if stage else []
        layers += [*conv_bn(inputs, outputs), nn.ReLU(), *conv_bn(outputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers, *head(4 * width, classes))


def resnet(blocks: int, channels: int = 1, classes: int = 10, width: int = 16) -> nn.Sequential:
    """CIFAR-style ResNet of depth 6*blocks + 2."""
    layers: list[nn.Module] = [*conv_bn(channels, width), nn.ReLU()]
    inputs = width
    for stage, outputs in enumerate((width, 2 * width, 4 * width)):
        for block in range(blocks):
            layers.append(BasicBlock(inputs, outputs, 2 if stage and not block else 1))
            inputs = outputs
    return nn.Sequential(*layers, *head(inputs, classes))


BUILDERS: dict[str, Callable[..., nn.Sequential]] = {
    "lenet5": lenet5,
    "dscnn": dscnn,
    "mobilenetv2": mobilenetv2,
    "vgg6": vgg6,
    "resnet8": partial(resnet, 1),
    "resnet20": partial(resnet, 3),
}
