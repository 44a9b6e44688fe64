"""How far a long piece of work has come, told now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

EVERY_S = 15.0
"""Seconds between two lines: work that takes less says nothing."""


@dataclass
class Ticker:
    """Tells `what` was done of how much; `tell` takes a line. Each piece of work has its own."""

    tell: Callable[[str], None]
    what: str
    clock: Callable[[], float] = time.monotonic
    _last: float = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.clock()

    def __call__(self, done: int, of: int) -> None:
        """Says so, unless it was said a moment ago."""
        if self.clock() - self._last >= EVERY_S:
            self._last = self.clock()
            self.tell(f"{self.what}: {done} of {of}")


def quiet(line: str) -> None:
    """Tells nobody."""
