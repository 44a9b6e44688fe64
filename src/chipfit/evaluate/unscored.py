"""Options whose damage there was no time to score: which ones are scored first, and what the others count as."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chipfit.compress.profile import key
from chipfit.core.edits import Edit, Width
from chipfit.space.edits import narrowed_to
from chipfit.space.menu import Choice, Menu

UNKNOWN = 10.0
"""Nats that an option counts where nothing of its kind was scored: it is not taken."""


def coarse_first(menu: Menu, singles: Mapping[Choice, Sequence[Edit]]) -> list[str]:
    """Keys of the options in the order in which they are worth scoring.

    First the ends of every decision (its narrowest width, being dropped, int8), which bound what lies between them;
    then the widths between, those in the middle first.
    """
    ranked: list[tuple[int, int, str]] = []
    by_decision: dict[int, list[int]] = {}
    for d, o in singles:
        by_decision.setdefault(d, []).append(o)
    for d, options in by_decision.items():
        left = {o: w for o in options if (w := narrowed_to(singles[d, o])) is not None}
        widths = sorted(left, key=left.__getitem__)
        for n, o in enumerate(_spread_out(len(widths))):
            ranked.append((n, d, key(singles[d, widths[o]])))
        ranked += [(0, d, key(singles[d, o])) for o in options if o not in widths]
    return [k for *_, k in sorted(ranked)]


def _spread_out(n: int) -> list[int]:
    """0..n-1 with the first one first, then always one that is farthest from those before it, and from the end.

    >>> _spread_out(5)
    [0, 2, 1, 3, 4]
    """
    done = [0] if n else []
    while len(done) < n:
        left = [i for i in range(n) if i not in done]
        done.append(max(left, key=lambda i: (min(abs(i - j) for j in (*done, n)), -i)))
    return done


def lost_shares(menu: Menu, sizes: Mapping[str, int]) -> dict[Choice, float]:
    """Of each option that narrows a group the share of its channels that go; `sizes` are those of the groups."""
    found: dict[Choice, float] = {}
    for d, decision in enumerate(menu.decisions):
        for o, option in enumerate(decision.options):
            narrowing = next((e for e in option.edits if isinstance(e, Width)), None)
            if narrowing is not None:
                found[d, o] = 1 - len(narrowing.keep) / sizes[narrowing.group]
    return found


def guessed(
    menu: Menu, missing: Sequence[Choice], found: Mapping[Choice, float], lost: Mapping[Choice, float]
) -> dict[Choice, float]:
    """Damages of the missing options that nothing of their own decision bounds: as the worst of their kind.

    Widths count as the worst that lose as large a share (`scaled`). A width of a decision with another width that was
    scored is left out: it follows from that.
    """
    known: dict[tuple[str, bool], float] = {}
    for (d, o), nats in found.items():
        kind, all_gone = _kind(menu, d, o), scaled(nats, lost.get((d, o), 1.0), 1.0)
        known[kind] = max(all_gone, known.get(kind, 0.0))
    bounded = {d for d, o in found if _kind(menu, d, o)[1]}
    return {
        (d, o): scaled(known.get(_kind(menu, d, o), UNKNOWN), 1.0, lost.get((d, o), 1.0))
        for d, o in missing if not (_kind(menu, d, o)[1] and d in bounded)
    }  # fmt: skip


POWER = 2.0
"""With which damage grows with the share of channels that go, where one width of a group is all that is known.

The best that can be left out goes first, so that it grows faster than the share.
"""


def scaled(nats: float, lost: float, to: float) -> float:
    """The damage of losing a share `to` of a group's channels by that of losing a share `lost`."""
    return float(nats * (to / lost) ** POWER)


def _kind(menu: Menu, d: int, o: int) -> tuple[str, bool]:
    """The decision's kind, and whether the option narrows a group: what drops a block in its place is another thing."""
    return menu.decisions[d].kind, narrowed_to(menu.decisions[d].options[o].edits) is not None
