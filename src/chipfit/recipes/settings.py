"""What a recipe is asked to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from chipfit.core.errors import BadInput
from chipfit.core.types import DeviceFacts, Limit
from chipfit.evaluate.screen import all_int8
from chipfit.nets.zoo import Entry

Progress = Callable[[str, str], None]
"""Called with (phase, what is happening)."""


def silent(phase: str, detail: str) -> None:
    """Progress that nobody follows."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A fit: its budgets and how far it may go.

    Each budget is a set of limits held at once; relative ones refer to the reference (the most accurate model, at the
    better of fp32 and int8). `epochs` fixes the fine-tune's length, which else takes the time that is left. `starts`
    is the number of models whose menus are opened, `finalists` the number of designs a budget that are fine-tuned at
    full length. `programs` says which other operators may compute layers: "none", "known" or "evolved" (`gos`).
    `time_s` is what the whole run was given, and `profile_s` what a menu should take, None for a share.
    `minimize` is the cost that is to be as small as `floor`, a limit on quality, allows: then the budgets are steps.
    """

    budgets: tuple[tuple[Limit, ...], ...]
    train: bool = True
    epochs: float | None = None
    bits: tuple[int, ...] = (32, 8)
    keep: tuple[str, ...] = ()
    starts: int = 3
    finalists: int = 1
    baselines: bool = True
    programs: str = "none"
    seed: int = 0
    time_s: float = math.inf
    profile_s: float | None = None
    minimize: str | None = None
    floor: Limit | None = None


def as_computed(settings: Settings, entries: Sequence[Entry], facts: DeviceFacts) -> tuple[Settings, tuple[Entry, ...]]:
    """The settings in the precisions that a device has, and the networks in int8 where it has no other.

    Raises:
        BadInput: it has none of those that were asked for.
    """
    bits = tuple(b for b in settings.bits if b in facts.bits)
    if not bits:
        has = ", ".join(map(str, facts.bits))
        raise BadInput(f"device {facts.name!r} computes in {has} bits only; give --bits {has}, or another --device")
    low = max(bits) == 8
    made = tuple(replace(e, network=all_int8(e.network)) if low else e for e in entries)
    return replace(settings, bits=bits), made


def budget_text(limits: Sequence[Limit]) -> str:
    """A budget as the report and the labels of trials write it."""
    return ", ".join(str(limit) for limit in limits)
