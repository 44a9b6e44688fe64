"""Limits that hold together, as a report reads, says and judges them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from chipfit.core.errors import BadInput
from chipfit.core.metric import KNOWN
from chipfit.core.types import Limit
from chipfit.report.row import Row

ROUNDING = 5e-4
"""`str(Limit)` writes four digits: a limit may lie by this share from what was meant."""

UNITS = {"latency_ms": "ms", "size_mb": "MB", "peak_memory_mb": "MB"}
"""Metric to the unit that its name ends with."""


def _words(limit: Limit) -> str:
    name, sign = limit.metric, "≥" if limit.at_least else "≤"
    if (judged := KNOWN.get(name)) is not None:
        return f"{name} {sign} {judged.scale * limit.value:.4g} {judged.shown_unit}".rstrip()
    unit = UNITS.get(name, "")
    return f"{name.removesuffix(f'_{unit.lower()}').replace('_', ' ')} {sign} {limit.value:.4g} {unit}".rstrip()


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits that hold together, absolute; `rounding` is what `text` may have cut off them, as a share."""

    text: str
    limits: tuple[Limit, ...]
    rounding: float = ROUNDING

    @property
    def words(self) -> str:
        """The budget for a reader: "latency ≤ 0.42 ms"."""
        return ", ".join(_words(limit) for limit in self.limits)

    def verdict(self, row: Row) -> str:
        """Whether a row holds it, for a reader: "latency ≤ 0.42 ms: held"."""
        return f"{self.words}: {'held' if self.met(row) else 'not held'}"

    def excess(self, row: Row) -> float | None:
        """Largest share by which a row misses a limit: 0.07 is 7 % over, up to 0 is met; None if not measured.

        Of a predicted latency the upper end of its interval counts.
        """
        shares = []
        for limit in self.limits:
            if (m := row.metric(limit.metric)) is None:
                return None
            shares.append((limit.value - m.value if limit.at_least else m.bound - limit.value) / limit.value)
        return max(shares)

    def met(self, row: Row) -> bool:
        """True when every limit is measured and held (`Limit.held`), to the digits that the budget is written with."""
        against = [(limit, row.metric(limit.metric)) for limit in self.limits]
        return all(m is not None and limit.held(m, self.rounding) for limit, m in against)


def parse_budget(text: str, reference: Mapping[str, float]) -> Budget:
    """The budget of "latency_ms <= 0.42", or of several limits joined by ", "; `reference` resolves relative ones.

    Raises:
        BadInput: not a limit, or a relative one of a metric that the reference does not have.
    """
    limits = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\w+)\s*(<=|>=)\s*(\S+)\s*", part)
        if match is None:
            raise BadInput(f"budget {text!r} cannot be read; write it like 'latency_ms <= 0.42'")
        limit = Limit.parse(f"{match[1]}={match[3]}", at_least=match[2] == ">=")
        if limit.relative and limit.metric not in reference:
            raise BadInput(f"budget {text!r} is relative, but the run has no reference {limit.metric}")
        limits.append(limit.against(reference[limit.metric]) if limit.relative else limit)
    return Budget(text, tuple(limits))
