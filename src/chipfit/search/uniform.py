"""The strongest trivial method: every width narrowed by one factor, nothing dropped, one precision throughout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chipfit.core.edits import Precision, Width
from chipfit.core.types import Limit
from chipfit.space.menu import Assignment, Decision, Menu, Option


def uniform_width(menu: Menu, limits: Sequence[Limit], bits: int) -> Assignment | None:
    """The least narrowing of all widths by one factor that holds the limits, or None where none does.

    Widths are rounded to those that the menu offers, as any other method's are; depth stays.
    """
    best: Assignment | None = None
    for candidate in narrowings(menu, bits):
        if all(limit.met(menu.total(limit.metric, candidate)) for limit in limits):
            best = candidate
    return best


def narrowings(menu: Menu, bits: int) -> list[Assignment]:
    """The menu's networks of uniform width in this precision, the narrowest first."""
    widths = [_widths(d) for d in menu.decisions if d.kind == "width"]
    factors = {channels / of[0] for of in widths for channels in of.values()}
    return list(dict.fromkeys(_narrowed(menu, factor, bits) for factor in sorted(factors)))


def _narrowed(menu: Menu, factor: float, bits: int) -> Assignment:
    chosen = []
    for d in menu.decisions:
        if d.kind == "width":
            chosen.append(_nearest(_widths(d), factor))
        else:
            chosen.append(next((o for o, option in enumerate(d.options) if _computed_in(option) == bits), 0))
    return tuple(chosen)


def _nearest(widths: Mapping[int, int], factor: float) -> int:
    """The option whose channels are nearest to this share of all; of equally near ones the wider."""
    return min(widths, key=lambda o: abs(widths[o] - factor * widths[0]))


def _widths(decision: Decision) -> dict[int, int]:
    """Option to the channels that it leaves, of those that drop nothing; the first leaves all that its label says."""
    narrower = {o: e for o, option in enumerate(decision.options) for e in option.edits if isinstance(e, Width)}
    return {0: int(decision.options[0].label)} | {o: len(e.keep) for o, e in narrower.items()}


def _computed_in(option: Option) -> int | None:
    return next((e.bits for e in option.edits if isinstance(e, Precision)), None)
