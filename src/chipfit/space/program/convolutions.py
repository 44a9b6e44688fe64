"""Opcodes with kernels of weights on maps, and the values of each channel that scale or normalise them."""

from __future__ import annotations

import math

from chipfit.core.graph import Op
from chipfit.space.program.constants import Share, Window
from chipfit.space.program.opcode import Opcode, Slot, Step
from chipfit.space.program.place import Pair

WINDOW = Slot("window", (Window(), Window(3, 3), Window(0, 1), Window(1, 0), Window(5, 5)))
CHANNELS = Slot(
    "channels",
    (Share("M"), Share("M", 1, 2), Share("M", 1, 4), Share("M", 1, 8), Share("M", 3, 4), Share("C"), Share("C", 1, 2),
     Share("C", 1, 4), Share("C", 2)),
)  # fmt: skip
GROUPS = Slot("groups", (2, 4, 8))
DILATION = Slot("dilation", (2, 3))
_EPS = 1e-5


def _convolution(step: Step, kernel: Pair, channels: int, groups: int) -> Op:
    window, after = step.window(kernel)
    return step.write("conv", step.reads, (channels, *after), groups=groups, bias=int(step.bias), **window)


def _conv(step: Step) -> Op:
    kernel, channels = step.constants
    return _convolution(step, kernel, channels, 1)


def _pwconv(step: Step) -> Op:
    (channels,) = step.constants
    return _convolution(step, (1, 1), channels, 1)


def _dwconv(step: Step) -> Op:
    (kernel,) = step.constants
    return _convolution(step, kernel, step.channels, step.channels)


def _dilated(step: Step) -> Op:
    """A depth-wise window of its own dilation, which keeps the size of the map."""
    kernel, apart = step.constants
    rows, columns = kernel
    if rows % 2 == 0 or columns % 2 == 0:
        step.refuse(f"a window of {rows}x{columns} cannot keep the size of a map")
    padding = (apart * (rows // 2), apart * (columns // 2))
    window = {"kernel": kernel, "stride": (1, 1), "padding": padding, "dilation": (apart, apart)}
    shape, groups = step.map(), step.channels
    return step.write("conv", step.reads, shape, groups=groups, bias=int(step.bias), **window)


def _gconv(step: Step) -> Op:
    """As many groups as are wanted and divide the channels on both sides, so that one text fits every width."""
    kernel, channels, groups = step.constants
    return _convolution(step, kernel, channels, math.gcd(groups, step.channels, channels))


def _scale(step: Step) -> Op:
    values = {"scale": 1, "shift": int(step.bias), "single": 0, "learnt": 1}
    return step.write("affine", step.reads, step.shape, axis=step.axis, **values)


def _norm(step: Step) -> Op:
    step.map()
    return step.write("batch_norm", step.reads, step.shape, eps=_EPS)


CONVOLUTIONS = (
    Opcode(
        "conv", "convolution", 1, (WINDOW, CHANNELS), _conv,
        linear=True, learns=True, space="window",
    ),
    Opcode("pwconv", "1x1 convolution", 1, (CHANNELS,), _pwconv, linear=True, learns=True, space="window"),
    Opcode("dwconv", "depth-wise convolution", 1, (WINDOW,), _dwconv, linear=True, learns=True, space="window"),
    Opcode("dilated", "dilated depth-wise convolution", 1, (WINDOW, DILATION), _dilated, linear=True, learns=True),
    Opcode(
        "gconv", "convolution in groups", 1, (WINDOW, CHANNELS, GROUPS), _gconv,
        linear=True, learns=True, space="window",
    ),
    Opcode("scale", "a factor for each channel", 1, (), _scale, linear=True, learns=True),
    Opcode("norm", "batch norm", 1, (), _norm, linear=True, learns=True),
)  # fmt: skip
