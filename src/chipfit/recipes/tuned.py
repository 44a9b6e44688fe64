"""What a fine-tune hands on: a network, and what its row in the report needs."""

from __future__ import annotations

from dataclasses import dataclass

from chipfit.core.graph import Network
from chipfit.core.types import Plain


@dataclass(frozen=True, slots=True)
class Tuned:
    """A design after training, with what its row in the report needs.

    `steps` are those of its training (done, planned), None where it had no training to do.
    """

    name: str
    role: str
    model: str
    budget: str
    network: Network
    edits: Plain
    choices: dict[str, str]
    predicted_ms: float | None
    damage: float
    steps: tuple[int, int] | None = None
