"""What a runtime executes as one kernel: in plain numbers (`Unit`), and as a function of decisions (`Kernel`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chipfit.core.graph import Attr
from chipfit.space.groups import Segment


@dataclass(frozen=True, slots=True)
class Unit:
    """One kernel: `cin` to `cout` channels on inputs of `size` (height, width; () for flat ones), in `bits`.

    `act` is the activation fused to it, "" for none. A depth-wise convolution has `groups` "dw". A product of a map
    and one value for each channel has `gate` 1; an addition that has such a product as an operand is `behind` "mul",
    and one that cannot fuse, as no operand is a convolution's own, is a "sum".
    """

    kind: str
    cin: int
    cout: int
    size: tuple[int, ...]
    bits: int
    act: str = ""
    attrs: tuple[tuple[str, Attr], ...] = ()

    def attr(self, name: str, default: Any = None) -> Any:
        """The value of an attribute."""
        return dict(self.attrs).get(name, default)

    @property
    def out_size(self) -> tuple[int, ...]:
        """(height, width) of the output; () for flat ones."""
        if self.kind == "global_pool":
            return (1, 1) if self.attr("keep") else ()
        kernel = self.attr("kernel")
        if not self.size or kernel is None:
            return self.size
        dilation, up = self.attr("dilation", (1, 1)), bool(self.attr("ceil", 0))
        geometry = zip(self.size, self.attr("padding"), dilation, kernel, self.attr("stride"), strict=True)
        spans = [(n + 2 * p - d * (k - 1) - 1, s) for n, p, d, k, s in geometry]
        return tuple((-(-span // s) if up else span // s) + 1 for span, s in spans)


@dataclass(frozen=True, slots=True)
class Channels:
    """A channel axis: `fixed` channels, and `groups`: width decision to the channels that each of its width makes."""

    fixed: int
    groups: Mapping[int, int]

    @classmethod
    def of(cls, segments: Sequence[Segment], decision: Mapping[str, int]) -> Channels:
        """The axis of these segments, `decision` giving that of a group's name where it can be decided."""
        fixed, groups = 0, dict[int, int]()
        for s in segments:
            if s.group in decision:
                groups[decision[s.group]] = groups.get(decision[s.group], 0) + s.repeat
            else:
                fixed += s.size * s.repeat
        return cls(fixed, groups)

    def total(self, widths: Mapping[int, float]) -> float:
        """Channels in sum."""
        return self.fixed + sum(each * widths[d] for d, each in self.groups.items())

    def only(self, group: int, fixed: bool) -> Channels:
        """The part of the axis that one group makes, with or without the fixed channels."""
        return Channels(self.fixed if fixed else 0, {d: each for d, each in self.groups.items() if d == group})


Make = Callable[[int, int, int, int], Unit | None]
"""(channels in, channels out, bits, readers' bits) to the unit of a kernel; None where that costs nothing."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel as a function of a menu's assignment.

    `bits` and `readers` are (decision or None, bits as they are). `block` are decisions of the block that it is in,
    which drop it together; where one of `without` takes 0 it is not there either.
    """

    make: Make
    ins: Channels
    outs: Channels
    bits: tuple[int | None, int]
    readers: tuple[int | None, int] = (None, 0)
    block: tuple[int, ...] = ()
    without: frozenset[int] = frozenset()

    @property
    def decisions(self) -> tuple[int, ...]:
        """All that its cost depends on, in order."""
        return self.over({*self.ins.groups, *self.outs.groups})

    def over(self, groups: Collection[int]) -> tuple[int, ...]:
        """These width groups, the precisions and what drops the kernel beside them, in order."""
        precisions = {d for d, _ in (self.bits, self.readers) if d is not None}
        return tuple(sorted({*groups, *precisions, *self.droppers(groups)}))

    def droppers(self, groups: Collection[int]) -> frozenset[int]:
        """The decisions that drop it: one of its block's, of these groups if it can be."""
        block = [d for d in self.block if d in groups][:1] or self.block[:1]
        return frozenset(block) | (self.without & set(groups))
