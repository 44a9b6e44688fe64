"""What the zoos of small networks share: a table of networks, and the layer that most of them have."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

Shape = tuple[int, ...] | tuple[str, ...]
Zoo = dict[str, tuple[Callable[[], nn.Module], Shape, str]]
"""Name -> what builds the module, the shape of one input or the inputs, and a category."""


def into(zoo: Zoo) -> Callable[..., Callable[[type[nn.Module]], type[nn.Module]]]:
    """What adds a class whose instances are a network to a zoo: its name, and its shape or its inputs."""

    def network(name: str, *shape: int | str) -> Callable[[type[nn.Module]], type[nn.Module]]:
        def add(made: type[nn.Module]) -> type[nn.Module]:
            zoo[name] = (made, shape, "handmade")  # type: ignore[assignment]
            return made

        return add

    return network


def conv(inner: int, outer: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """A convolution, its norm and a relu."""
    layer = nn.Conv2d(inner, outer, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outer), nn.ReLU(inplace=True))
