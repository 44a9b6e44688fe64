"""Opcodes without weights that look around in a map, or change its size."""

from __future__ import annotations

from chipfit.core.graph import Op
from chipfit.space.program.convolutions import WINDOW
from chipfit.space.program.opcode import Opcode, Slot, Step
from chipfit.space.program.place import Pair


def _pool(step: Step) -> Op:
    how, kernel = step.constants
    window, after = step.window(kernel)
    padding: Pair = window["padding"]
    if window.pop("dilation") != (1, 1):
        step.refuse("pools have no dilation, as the layer has")
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        step.refuse(f"a pool of {kernel[0]}x{kernel[1]} cannot be padded by {padding}")
    mean = {"count_include_pad": 0} if how == "avg" else {}
    return step.write(f"{how}_pool", step.reads, (step.channels, *after), ceil=0, **window, **mean)


def _down(step: Step) -> Op:
    """Means over windows side by side, the last of which may be smaller."""
    (by,) = step.constants
    channels, *sizes = step.map()
    if by < 2 or min(sizes) < by:
        step.refuse(f"a map of {sizes[0]}x{sizes[1]} cannot be {by} times smaller")
    after = (-(-sizes[0] // by), -(-sizes[1] // by))
    window = {"kernel": (by, by), "stride": (by, by), "padding": (0, 0)}
    return step.write("avg_pool", step.reads, (channels, *after), ceil=1, count_include_pad=0, **window)


def _up(step: Step) -> Op:
    """The nearest value, in the exact size that the layer makes."""
    channels, *_ = step.map()
    return step.write("resize", step.reads, (channels, *step.place.after[1:]), mode="nearest", align=0)


def _mean_hw(step: Step) -> Op:
    return step.write("global_pool", step.reads, (step.map()[0], 1, 1), keep=1)


SIZES = (
    Opcode(
        "pool", "mean or maximum around each place", 1, (Slot("how", ("avg", "max")), WINDOW), _pool,
        linear=True, bends=frozenset({"max"}), space="window",
    ),
    Opcode("down", "means, on a smaller map", 1, (Slot("by", (2,)),), _down, linear=True),
    Opcode("up", "nearest, as large as the layer's map", 1, (), _up, linear=True, space="up"),
    Opcode("mean_hw", "mean over the map", 1, (), _mean_hw, linear=True, space="whole"),
)  # fmt: skip
