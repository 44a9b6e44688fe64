"""Where windows of convolutions and pools are: strides, dilations, and paddings in all the forms ONNX has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from torch import Tensor
from torch.nn import functional as F

from chipfit.nets.onnx.call import Call

LOWEST = -3.4028234663852886e38
"""What stands for nothing where a maximum is taken."""


@dataclass(frozen=True, slots=True)
class Window:
    """A window over some axes; `pads` are (before, ..., after, ...), `auto` one of ONNX's words for what they are."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto: str

    def amounts(self, sizes: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Places added before and behind each axis of an input of these sizes."""
        axes = len(self.kernel)
        if self.auto == "VALID":
            return (0,) * axes, (0,) * axes
        if self.auto not in ("SAME_UPPER", "SAME_LOWER"):
            return self.pads[:axes], self.pads[axes:]
        before, behind = [], []
        for size, kernel, stride, dilation in zip(sizes, self.kernel, self.strides, self.dilations, strict=True):
            reach = (ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1
            missing = max(reach - size, 0)
            smaller, larger = missing // 2, missing - missing // 2
            before.append(smaller if self.auto == "SAME_UPPER" else larger)
            behind.append(larger if self.auto == "SAME_UPPER" else smaller)
        return tuple(before), tuple(behind)


def window(call: Call, kernel: Sequence[int]) -> Window:
    """The window that a node's attributes say."""
    axes = len(kernel)
    auto = call.take("auto_pad", "NOTSET")
    if auto not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        call.refuse(f"with auto_pad={auto!r}")
    return Window(
        tuple(int(k) for k in kernel),
        tuple(call.take("strides", [1] * axes)),
        tuple(call.take("dilations", [1] * axes)),
        tuple(call.take("pads", [0] * 2 * axes)),
        auto,
    )


def kernel_of(call: Call) -> list[int]:
    """The attribute that says the size of a pool's window."""
    kernel: list[int] | None = call.take("kernel_shape")
    if not kernel:
        call.refuse("without kernel_shape")
    return kernel


def padded(x: Tensor, where: Window, value: float = 0.0) -> tuple[Tensor, tuple[int, ...]]:
    """The input, and the padding on both sides that is left for the window's own operator to add.

    What is larger on one side is added here.
    """
    before, behind = where.amounts(x.shape[2:])
    if before == behind:
        return x, before
    return F.pad(x, both_sides(before, behind), value=value), (0,) * len(before)


def both_sides(before: Sequence[int], behind: Sequence[int]) -> list[int]:
    """Amounts in torch's order: the last axis first, each with what is before and behind it."""
    pairs = list(zip(before, behind, strict=True))
    return [amount for pair in reversed(pairs) for amount in pair]
