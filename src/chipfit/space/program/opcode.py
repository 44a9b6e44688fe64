"""What an opcode is, and the pen with which one instruction is written as operators of a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from chipfit.core.graph import Op, op
from chipfit.core.kinds import KINDS, Shape
from chipfit.core.op import Attr
from chipfit.space.program.constants import Constant
from chipfit.space.program.place import Pair, Place


@dataclass(frozen=True, slots=True)
class Slot:
    """A constant of an opcode: what it is called, and the values that a search tries."""

    name: str
    values: tuple[Constant, ...]

    def takes(self, constant: Constant) -> bool:
        """True for a constant of the right type; a word has to be one of the values."""
        if isinstance(constant, str):
            return constant in self.values
        return type(constant) is type(self.values[0])

    def read(self, constant: Constant) -> Constant:
        """A constant as it was written: a whole number where a number belongs is that number."""
        if isinstance(self.values[0], float) and isinstance(constant, int):
            return float(constant)
        return constant


@dataclass(frozen=True, slots=True)
class _Along:
    """A window along one axis, and the size of a map behind it."""

    stride: int
    padding: int
    dilation: int
    after: int


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction at a place: what it reads, its constants in numbers, and where its operators are written.

    Attributes:
        place: the layer that the program stands in for.
        where: the instruction in words, for errors.
        reads: the operators that it reads.
        constants: shares as channels, windows as (rows, columns), others as they are.
        takes: for rows and columns, whether it is the instruction that has the replaced layer's stride and padding.
        bias: whether a layer that it writes has a bias.
        written: all operators of the program so far, to which it adds.
    """

    place: Place
    where: str
    reads: tuple[Op, ...]
    constants: tuple[Any, ...]
    takes: tuple[bool, bool]
    bias: bool
    written: list[Op]

    @property
    def shape(self) -> Shape:
        """The shape of the first that it reads."""
        return self.reads[0].shape

    @property
    def axis(self) -> int:
        """The channel axis, the batch axis not counted."""
        return 0 if self.place.kind == "conv" else len(self.shape) - 1

    @property
    def channels(self) -> int:
        """Channels of the first that it reads."""
        return self.shape[self.axis]

    def write(self, kind: str, reads: Sequence[Op], shape: Shape, **attrs: Attr) -> Op:
        """Adds an operator, named and numbered by the place, in int8 where the place is and the kind can be."""
        n, place, record = len(self.written), self.place, KINDS[kind]
        weights = f"{place.weights}#{n}" if record.arrays else ""
        bits = place.bits if record.int8 else 32
        names = tuple(o.name for o in reads)
        made = op(f"{place.name}#{n}", kind, names, shape, weights, bits, **attrs)
        self.written.append(made)
        return made

    def map(self) -> Shape:
        """The shape that it reads, which has to be a map (channels, rows, columns)."""
        if len(self.shape) != 3 or self.place.kind != "conv":
            self.refuse(f"reads {self.shape}, not a map (channels, rows, columns)")
        return self.shape

    def refuse(self, why: str) -> NoReturn:
        """Raises the ValueError of an ill-typed instruction."""
        raise ValueError(f"{self.where} of {self.place.name!r}: {why}")

    def window(self, kernel: Pair) -> tuple[dict[str, Pair], Pair]:
        """Attributes of a window on the map that it reads, and (rows, columns) of what comes out.

        The instruction that takes the layer's place along an axis has its stride, and its padding less what the window
        is narrower; any other keeps the size. A window as wide as the layer's has its dilation.
        """
        _, height, width = self.map()
        rows, columns = kernel
        down, across = self._along(0, rows, height), self._along(1, columns, width)
        if min(down.after, across.after) < 1:
            self.refuse(f"a {rows}x{columns} window finds no place on {height}x{width}")
        attrs = {
            "kernel": kernel,
            "stride": (down.stride, across.stride),
            "padding": (down.padding, across.padding),
            "dilation": (down.dilation, across.dilation),
        }
        return attrs, (down.after, across.after)

    def _along(self, axis: int, k: int, size: int) -> _Along:
        """A window of k places along an axis of a map that is so large."""
        place = self.place
        own, apart = place.kernel[axis], place.dilation[axis]
        dilation = apart if k == own and k > 1 else 1
        reach = dilation * (k - 1)
        if not self.takes[axis]:
            if reach % 2:
                self.refuse(f"a window of {k} places cannot keep the size of a map")
            return _Along(1, reach // 2, dilation, size)
        stride = place.stride[axis]
        # as much less padding in front as the window reaches less far: its centres stay where the layer's are
        padding = max(0, place.padding[axis] + (reach - apart * (own - 1)) // 2)
        after = (size + 2 * padding - reach - 1) // stride + 1
        return _Along(stride, padding, dilation, after)


@dataclass(frozen=True, slots=True)
class Opcode:
    """One kind of instruction.

    Attributes:
        name: as it is written.
        about: what it computes, in a few words.
        arity: how many values it reads.
        slots: its constants.
        lower: writes its operators and returns the last; raises ValueError (`Step.refuse`) where it fits nothing. What
            it costs and how it runs, is exported and rounded follows from the kinds of those operators.
        linear: each output is a weighted sum of what it reads, up to a constant; not so with constants in `bends`.
        learns: it has arrays; what it makes is linear in each of them.
        space: what it does to the size of a map: "window", it can have the layer's stride; "whole", what it makes has
            no size of its own; "up", what it makes has the size that the layer makes; "", nothing.
        commutes: the order of what it reads does not matter.
    """

    name: str
    about: str
    arity: int
    slots: tuple[Slot, ...]
    lower: Callable[[Step], Op]
    linear: bool = False
    bends: frozenset[Constant] = frozenset()
    learns: bool = False
    space: Literal["window", "whole", "up", ""] = ""
    commutes: bool = False
