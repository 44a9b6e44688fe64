"""Time that is left: handed to training, timing and solvers alike, so that `--time` is obeyed."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from chipfit.core.errors import BadInput
from chipfit.core.words import shown

Clock = Callable[[], float]
"""Seconds from any fixed moment; tests pass a simulated one."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on a clock. `Deadline.never()` has infinite time left.

    >>> now = [0.0]
    >>> d = Deadline.after(10.0, clock=lambda: now[0])
    >>> now[0] = 4.0
    >>> d.left(), d.share(0.5).left(), d.passed()
    (6.0, 3.0, False)
    >>> d.before(1.0).share(0.5).left()
    2.5
    """

    at: float
    clock: Clock = field(default=time.monotonic, compare=False)

    @classmethod
    def after(cls, seconds: float, clock: Clock = time.monotonic) -> Deadline:
        """The moment `seconds` from now."""
        return cls(clock() + seconds, clock)

    @classmethod
    def never(cls) -> Deadline:
        """A deadline that does not come."""
        return cls(math.inf)

    def left(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.at - self.clock())

    def passed(self) -> bool:
        """True when no time is left."""
        return self.clock() >= self.at

    def share(self, fraction: float) -> Deadline:
        """The moment at which `fraction` (0..1) of the time that is left now will have gone."""
        return self if math.isinf(self.at) else Deadline(self.clock() + fraction * self.left(), self.clock)

    def sooner(self, seconds: float) -> Deadline:
        """The earlier of this deadline and `seconds` from now."""
        return Deadline(min(self.at, self.clock() + seconds), self.clock)

    def before(self, seconds: float) -> Deadline:
        """The moment so many seconds earlier: what comes after needs them."""
        return Deadline(self.at - seconds, self.clock)

    @property
    def limited(self) -> bool:
        """False where it never comes."""
        return not math.isinf(self.at)


UNLIMITED = "none"
"""How a time without an end is written."""

LONGEST_S = 366 * 86400.0
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> float:
    """Seconds of "90s", "10m", "1.5h" or "1h30m"; of "none" infinitely many.

    >>> parse_duration("1h30m"), parse_duration("none")
    (5400.0, inf)

    Raises:
        BadInput: not a positive duration.
    """
    if text.strip() == UNLIMITED:
        return math.inf
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)([smh])", text.strip())
    if not parts or "".join(n + u for n, u in parts) != text.strip():
        unit = f"; {text.strip()}s, {text.strip()}m?" if re.fullmatch(r"\s*[0-9.]+\s*", text) else ""
        raise BadInput(f"time {shown(text)} is not a duration; write it like 90s, 10m or 1h30m{unit}")
    seconds = sum(float(n) * _UNITS[u] for n, u in parts)
    if seconds <= 0:
        raise BadInput(f"time {shown(text)} is not above zero; write it like 90s, 10m or 1h30m")
    if seconds > LONGEST_S:
        raise BadInput(f"time {shown(text)} is longer than a year; write it like 90s, 10m or 1h30m")
    return seconds
