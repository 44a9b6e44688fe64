"""Small families for 28x28 pictures, and the trained weights of six on Fashion-MNIST that ship with the package.

Every convolution is followed by batch norm and has no bias, LeNet5's excepted. The seventh, a vision transformer, is
trained by whoever wants it (`chipfit zoo train vit`): its weights are too large to ship.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.graph import Network
from chipfit.nets.answers import Answers
from chipfit.nets.checkpoint import load_into
from chipfit.nets.faithful import traced
from chipfit.nets.vit import ViT

WEIGHTS = Path(__file__).with_name("weights")
"""Where the trained weights lie: `<name>.safetensors` for each record of `manifest.json`."""
INPUT_SHAPE = (1, 28, 28)
"""What every entry takes."""


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


def vit(channels: int = 1, classes: int = 10) -> nn.Module:
    """ViT-96/4: six blocks of width 96 with four heads, on patches of 4x4."""
    return ViT(channels=channels, classes=classes)


BUILDERS: dict[str, Callable[..., nn.Module]] = {
    "lenet5": lenet5,
    "dscnn": dscnn,
    "mobilenetv2": mobilenetv2,
    "vgg6": vgg6,
    "resnet8": partial(resnet, 1),
    "resnet20": partial(resnet, 3),
    "vit": vit,
}


@dataclass(frozen=True, slots=True)
class Record:
    """What `manifest.json`, a list of objects with these keys, says of one entry; accuracies as shares, 0..1."""

    name: str
    dataset: str
    validation_accuracy: float
    test_accuracy: float
    parameters: int
    macs: int
    seed: int
    epochs: int
    licence: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A trained network to start from: its name, where it comes from and under which licence.

    `answers` are those of the module that it was traced from: files of it are held against them. `accuracy` on
    validation is what its record says; None where nobody says. `notes` say how it was read, where that left a choice.
    """

    name: str
    network: Network
    licence: str
    source: str
    answers: Answers | None = field(default=None, compare=False, repr=False)
    accuracy: float | None = None
    notes: tuple[str, ...] = ()


def manifest() -> tuple[Record, ...]:
    """What the zoo holds, without loading it; empty where the package was built without weights."""
    path = WEIGHTS / "manifest.json"
    rows = json.loads(path.read_text()) if path.is_file() else []
    return tuple(Record(**{f.name: row[f.name] for f in fields(Record)}) for row in rows)


def find(name: str) -> tuple[Record, ...]:
    """The records of "fashion-mnist" (all trained on it) or "fashion-mnist/resnet8" (one).

    Raises:
        BadInput: no such data set or entry; proposes the closest.
    """
    known = manifest()
    if not known:
        raise BadInput("this installation of chipfit has no zoo weights; install it again, or give FILE.py:FUNCTION")
    dataset, _, entry = name.partition("/")
    of_set = [r for r in known if r.dataset == dataset]
    if not of_set:
        sets = sorted({r.dataset for r in known})
        raise BadInput(f"zoo {name!r} is unknown{did_you_mean(dataset, sets)}; known: {', '.join(sets)}")
    found = tuple(r for r in of_set if entry in ("", r.name))
    if not found:
        names = [r.name for r in of_set]
        raise BadInput(f"zoo entry {entry!r} is unknown{did_you_mean(entry, names)}; known: {', '.join(names)}")
    return found


def load_zoo(name: str) -> Entry:
    """The trained network named like "fashion-mnist/resnet8".

    Raises:
        BadInput: no such entry, or its weights are missing or not those that were recorded.
    """
    record, *more = find(name)
    if more:
        raise BadInput(f"zoo {name!r} has {1 + len(more)} entries; name one, like {name}/{record.name}")
    path = WEIGHTS / f"{record.name}.safetensors"
    if record.name not in BUILDERS or not path.is_file():
        raise BadInput(f"zoo entry {record.name!r} has no weights at {str(path)!r}; install chipfit again")
    if hashlib.sha256(path.read_bytes()).hexdigest() != record.sha256:
        raise BadInput(f"weights {str(path)!r} are not those of the manifest; install chipfit again")
    module = BUILDERS[record.name]()
    load_into(module, path)
    source = f"zoo:{record.dataset}/{record.name}"
    network, answers = traced(source, module, INPUT_SHAPE)
    return Entry(record.name, network, record.licence, source, answers, record.validation_accuracy)
