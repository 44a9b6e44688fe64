"""The canaries of a device by family, in its format, and what they take: calibrated once, cached since."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from chipfit.core.graph import Graph
from chipfit.device import cache, canary
from chipfit.device.canary import BASE, Family, Rung
from chipfit.device.protocol import Block

ROUNDS, LINKS = 4, 8
"""Of the calibration of a family other than the base, and blocks that hold its scale against that one's."""


class Versus(Protocol):
    """One long block of a rung against another, run by run or each in its stride."""

    def __call__(self, a: Rung, b: Rung, *, settle: bool) -> Block: ...


class Ladders:
    """Ladders of canaries, each written and calibrated when it is first asked for.

    Args:
        write: makes a canary's file.
        versus: times one canary against another.
        folder: of the cache.
        mark: what the cache is kept for.
    """

    def __init__(self, write: Callable[[Graph], bytes], versus: Versus, folder: Path, mark: Callable[[], str]) -> None:
        self._write, self._versus, self._folder, self._mark = write, versus, folder, mark
        self._rungs: dict[Family, tuple[Rung, ...]] = {}
        self._ms: dict[Family, tuple[float, ...]] = {}

    def rungs(self, of: Family = BASE) -> tuple[Rung, ...]:
        """The canaries of a family, lightest first."""
        if of not in self._rungs:
            self._rungs[of] = canary.ladder(of, self._write)
        return self._rungs[of]

    def ms(self, of: Family = BASE) -> tuple[float, ...]:
        """Milliseconds of a family's canaries: from the cache, else calibrated now (a few seconds, once)."""
        if of not in self._ms:
            key = canary.VERSION if of == BASE else f"{canary.VERSION} {of.name}"
            self._ms[of] = cache.known(
                self._folder, self._mark(), key, _ladder_ms, lambda: {"ladder_ms": self._calibrated(of)}
            )
        return self._ms[of]

    def _calibrated(self, of: Family) -> tuple[float, ...]:
        rungs = self.rungs(of)

        def pair(upper: int, lower: int) -> tuple[float, float]:
            block = self._versus(rungs[upper], rungs[lower], settle=of.settled)
            return block.ratio, float(np.median(block.target)) / 1e6

        def home_ms(rung: int, own_ms: float) -> float:
            """Held against a rung of the base of about its size; each in its stride, as a user would run them."""
            scale = self.ms()
            base = canary.nearest(scale, own_ms)
            blocks = [self._versus(rungs[rung], self.rungs()[base], settle=True) for _ in range(LINKS)]
            return scale[base] * float(np.median([b.ratio for b in blocks]))

        return canary.calibrate(len(rungs), pair) if of == BASE else canary.calibrate(len(rungs), pair, home_ms, ROUNDS)


def _ladder_ms(data: Any) -> tuple[float, ...]:
    """Milliseconds of the rungs as the cache has them; a ladder has at least one."""
    ms = tuple(cache.positive(value) for value in data["ladder_ms"])
    if not ms:
        raise ValueError("a ladder without rungs")
    return ms
