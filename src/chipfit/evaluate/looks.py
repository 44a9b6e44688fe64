"""What is looked at of a program that may compute layers of one kind: each look costs more than the one before it.

    work    valid at the place and in the files, and less work there than the layer (microseconds)
    error   of the layer's answers, fitted in closed form (`program_score`; milliseconds): how far it lies beyond the
            best trades of error and work, since what is rough may be cheap
    ms      of its kernels on the device, as a share of the layer's (some tenths of a second where they are new)
    front   how far it lies beyond the best trades of error and time seen so far, which is what is made least

The harm to the answers of the whole network, and whether the whole network becomes faster, are asked of the few that
are left (`grown`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chipfit.core.kernel import Kernel
from chipfit.evaluate.in_time import work
from chipfit.evaluate.program_score import Scores
from chipfit.evaluate.programs import in_place
from chipfit.export.formats import unwritable
from chipfit.search.evolve import Rung
from chipfit.space.program import Place, Program, alone

GAIN = 0.1
"""Share of a layer's time that a program has to save."""

KEPT_BY_WORK, KEPT_BY_ERROR = 0.7, 0.5
"""Shares of the candidates that go on from the first and the second look."""

HARMLESS = 1e-3
"""Errors below this are as good as none: repair makes them good, and their order is chance."""

WORTHLESS = 0.6
"""A program that misses more of what its layer makes is none: no repair brings that back."""


@dataclass(frozen=True, slots=True)
class Alike:
    """Layers that programs cannot tell apart, the slowest first, with the place and the kernel of that one.

    `share` is what they all take of the network's time.
    """

    layers: tuple[str, ...]
    place: Place
    kernel: Kernel
    share: float


@dataclass(slots=True)
class Looks:
    """The looks at candidates for one kind of layer; what was seen is remembered.

    Args:
        alike: the layers.
        scores: of programs at the network's layers.
        price: kernels -> their milliseconds together, in the precision that suits them.
        block: channels that a float kernel of the device works on.
        formats: of the devices' files, all of which have to have a form of a program's operators.
    """

    alike: Alike
    scores: Scores
    price: Callable[[Sequence[Kernel]], float]
    block: int
    formats: frozenset[str] = frozenset()
    seen: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Text of each program that was timed: its error, and its time as a share of the layer's."""
    roughly: dict[str, tuple[float, float]] = field(default_factory=dict)
    """The same of each that was scored, with its work in place of its time."""

    def rungs(self) -> tuple[Rung[Program], ...]:
        """The ladder that candidates climb."""
        return (
            Rung("work", self.work, KEPT_BY_WORK),
            Rung("error", self.rough_front, KEPT_BY_ERROR),
            Rung("front", self.front),
        )

    def work(self, program: Program) -> float | None:
        """Work of its kernels / work of the layer's; None for what does not fit or does as much."""
        kernels = self._kernels(program)
        if not kernels:
            return None
        share = sum(map(work, kernels)) / work(self.alike.kernel)
        return share if share < 1.0 else None

    def error(self, program: Program) -> float | None:
        """What it misses of the layer's answers; None for what cannot be made good."""
        missed = self.scores.error(self.alike.layers[0], program.text)
        return None if missed is None or missed > WORTHLESS else missed

    def rough_front(self, program: Program) -> float | None:
        """As `front`, with work in place of time: what is cheap and rough goes on, like what is dear and near."""
        missed, share = self.error(program), self.work(program)
        return None if missed is None or share is None else _beyond(self.roughly, program.text, (missed, share))

    def ms(self, program: Program) -> float:
        """Time of its kernels / time of the layer's."""
        whole = self.price((self.alike.kernel,))
        return self.price(self._kernels(program)) / whole if whole > 0 else math.inf

    def front(self, program: Program) -> float | None:
        """How far it is from being better than each program seen: below 0 where none is better in both respects.

        The least factor (as a logarithm) by which error or time would have to shrink to be no worse than the others.
        None where too little time is saved.
        """
        missed, ms = self.error(program), self.ms(program)
        if missed is None or ms > 1 - GAIN:
            return None
        return _beyond(self.seen, program.text, (missed, ms))

    def trades(self) -> tuple[str, ...]:
        """The programs seen that no other is better than in both respects, the fastest first."""
        ordered = sorted(self.seen, key=lambda text: (self.seen[text][1], self.seen[text][0]))
        kept: list[str] = []
        for text in ordered:
            if not kept or self.seen[text][0] < self.seen[kept[-1]][0]:
                kept.append(text)
        return tuple(kept)

    def kernels_of(self, text: str) -> tuple[Kernel, ...]:
        """The kernels of a program in the place of the layers' own.

        Raises:
            ValueError: it does not fit there.
        """
        return in_place(self.alike.kernel, text, self.block)

    def _kernels(self, program: Program) -> tuple[Kernel, ...]:
        """The same; none where it does not fit, or a device's files have no form of one of its operators."""
        try:
            found = self.kernels_of(program.text)
        except ValueError:
            return ()
        graph = alone(program, self.alike.place)
        return () if any(unwritable(graph, format) for format in self.formats) else found


def _beyond(seen: dict[str, tuple[float, float]], text: str, values: tuple[float, float]) -> float:
    """How far a program lies beyond the best trades seen, of two values of which less is better; it is seen then."""
    own = _logs(*values)
    gaps: list[float] = []
    for other_text, other_values in seen.items():
        if other_text != text:
            other = _logs(*other_values)
            gaps.append(min(own[0] - other[0], own[1] - other[1]))
    seen[text] = values
    return max(gaps, default=0.0)


def _logs(missed: float, ms: float) -> tuple[float, float]:
    return math.log(max(missed, HARMLESS)), math.log(max(ms, 1e-6))
