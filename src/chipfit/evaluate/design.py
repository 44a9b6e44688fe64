"""From a priced and damaged menu to a design that holds its budget when it is *measured*.

The exact solver believes the tables, which are right to a few per cent on the whole but favour whatever they price too
low: it is optimistic by 1-5 %. So the chosen network is timed, the limit scaled by what was missed, and solved again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from chipfit.core.deadline import Deadline
from chipfit.core.errors import Infeasible
from chipfit.core.graph import Graph
from chipfit.core.types import Limit
from chipfit.evaluate.timing import Latencies
from chipfit.space import edits as on_graph
from chipfit.space.edits import sites_in
from chipfit.space.menu import Assignment, Menu, Term

ROUNDS = 9
"""Solves and timings at most until a design holds its latency limit."""

SLACK = 0.97
"""A design that uses less than this share of its budget is tried again with a wider limit."""

MARGIN = 0.99
"""What is aimed at, as a share of the limit, so that another sitting's final measurement does not break it."""

USED = SLACK / MARGIN
"""The first, as a share of what is aimed at."""

DOUBT = 0.05
"""A quick timing further than this from what the tables foretell is taken again, longer: either may have erred.

Where tables err by more as a rule, so does the doubt (`Pricing.error`).
"""

THRIFT = 1e-3
"""Nats that the whole latency budget is worth: breaks ties between options that harm (nearly) nothing."""

Solve = Callable[[Sequence[Limit]], Assignment]


@dataclass(frozen=True, slots=True)
class Design:
    """An assignment with its latency in ms, as predicted by the tables and as measured.

    On a device whose latencies are foretold both are the upper ends of intervals. `final`: measured as its file will
    be, not in a moment's look.
    """

    assignment: Assignment
    predicted_ms: float
    measured_ms: float
    final: bool = False

    @property
    def drift(self) -> float:
        """Measured over predicted: designs that are alike err alike."""
        return self.measured_ms / self.predicted_ms


def fitted(
    menu: Menu,
    graph: Graph,
    limits: Sequence[Limit],
    timing: Latencies,
    solve: Solve,
    prefer: Callable[[Assignment], float],
    *,
    table_error: float = 0.0,
    drift: float = 1.0,
    margin: float = MARGIN,
    deadline: Deadline | None = None,
) -> Design:
    """The design within the limits, as measured, that `prefer` (lower is better) likes best.

    `table_error` is what the tables err by, as a share; `drift` what a design like the one sought was measured to take
    over what they foretold of it. `margin` is the share of the latency limit that is aimed at; what lies between it
    and the limit is taken where nothing else is found. At the `deadline` the best of those tried by then is taken.

    Raises:
        Infeasible: the tables leave no assignment, or none of those tried holds the limit when measured.
    """
    latency = next((limit for limit in limits if limit.metric == "latency_ms"), None)
    if latency is None:
        return timed(menu, graph, solve(limits), timing)
    others = [limit for limit in limits if limit is not latency]
    doubt, until = max(DOUBT, 2 * table_error), deadline or Deadline.never()
    scale, tried, looked = margin / drift, dict[Assignment, Design](), set[float]()
    aimed_ms = latency.value * margin
    for _ in range(ROUNDS):
        if tried and until.passed():
            break
        try:
            a = solve([replace(latency, value=latency.value * scale), *others])
        except Infeasible as e:
            wider = _wider(scale, e.nearest.get(latency.metric, math.inf) / latency.value, bool(tried))
            held = any(d.measured_ms <= latency.value for d in tried.values())
            if held or wider in looked or not scale < wider <= 1 + doubt:
                if tried:
                    break
                raise
            scale = wider
            looked.add(wider)
            continue
        design = tried[a] = tried.get(a) or _checked(menu, graph, a, timing, drift, latency.value, doubt, aimed_ms)
        if not math.isfinite(design.measured_ms):  # it could not be timed: the next one may
            scale *= 0.98
            continue
        drift = design.drift
        holds = design.measured_ms <= aimed_ms
        if holds and design.measured_ms >= USED * aimed_ms:
            break
        step = aimed_ms / design.measured_ms
        # a miss shrinks the limit by 2 % at least: the next optimum is as likely to be priced too low as this one
        scale *= min(step, 1.25) if holds else min(max(step, 0.7), 0.98)
    return _held(menu, graph, tried, latency, timing, prefer, aimed_ms, until)


def _held(
    menu: Menu,
    graph: Graph,
    tried: Mapping[Assignment, Design],
    latency: Limit,
    timing: Latencies,
    prefer: Callable[[Assignment], float],
    aimed_ms: float,
    until: Deadline,
) -> Design:
    """The one of the designs tried that is preferred of those that hold the limit, also as their files will be timed.

    Raises:
        Infeasible: none does.
    """
    known = dict(tried)
    while within := [d for d in known.values() if d.measured_ms <= latency.value]:
        # what holds by less than the margin is only taken where nothing else holds
        best = min(within, key=lambda d: (d.measured_ms > aimed_ms, prefer(d.assignment)))
        sure = best.final or best.measured_ms <= latency.value * (1 - DOUBT)
        if sure or until.passed():
            return best
        known[best.assignment] = timed(menu, graph, best.assignment, timing, latency.value)
    nearest = min((d.measured_ms for d in known.values() if math.isfinite(d.measured_ms)), default=math.nan)
    raise Infeasible(
        f"no design within {latency} was found: the nearest takes {nearest:.4g} ms; relax the limit",
        {latency.metric: nearest},
    )


def _wider(scale: float, nearest: float, tried: bool) -> float:
    """The share of the limit to aim at where nothing is foretold within this one; `nearest` is what is, as a share.

    What is sought need not drift as what was measured before it did, and tables err: the nearest may hold the limit.
    It is what is left where others were `tried`.
    """
    return MARGIN if scale < MARGIN and not tried else nearest * (1 + 1e-6)


def _checked(
    menu: Menu,
    graph: Graph,
    a: Assignment,
    timing: Latencies,
    drift: float,
    limit_ms: float,
    doubt: float,
    aimed_ms: float,
) -> Design:
    """Timed quickly, and longer where that contradicts what was foretold: one bad moment must not cost a good design.

    Foretold is what the tables say, times how far off they were for the design before: neighbours err alike. One that
    would be taken, since it holds the limit by little, is timed as its file will be.
    """
    quick = timed(menu, graph, a, timing)
    foretold = drift * quick.predicted_ms
    doubtful = not abs(quick.measured_ms - foretold) <= doubt * foretold  # also where it is nan
    taken = USED * aimed_ms <= quick.measured_ms <= aimed_ms
    return timed(menu, graph, a, timing, limit_ms) if doubtful or taken else quick


def timed(menu: Menu, graph: Graph, a: Assignment, timing: Latencies, limit_ms: float | None = None) -> Design:
    """One assignment, predicted and measured: quickly, or until it is clear on which side of a limit it lies."""
    edited = on_graph.apply(graph, menu.edits(a))
    m = timing.graphs([edited], "quick")[0] if limit_ms is None else timing.decided(edited, limit_ms)
    return Design(a, menu.total("latency_ms", a), m.bound, final=limit_ms is not None)


def thrifty(menu: Menu) -> Menu:
    """The menu with a trace of latency in its damage.

    Where int8 harms nothing, the solver would else mix precisions at will, and leave no room for error in the tables.
    """
    whole = menu.total("latency_ms", menu.as_is)
    own = [t for t in menu.terms if t.metric == "damage"]
    trace = [
        replace(t, metric="damage", aspect="", table=t.table * THRIFT / whole)
        for t in menu.terms
        if t.metric == "latency_ms"
    ]
    return menu.priced([*own, *trace])


def lost_work(menu: Menu, nats: float) -> list[Term]:
    """Terms of damage for the share of multiply-accumulates that goes: `nats` where all go."""
    whole = menu.total("macs", menu.as_is)
    first = [(t, t.table[(0,) * t.table.ndim]) for t in menu.terms if t.metric == "macs"]
    return [replace(t, metric="damage", table=nats * (as_is - t.table) / whole) for t, as_is in first]


def slower_in_int8(menu: Menu, a: Assignment) -> dict[str, float]:
    """Site to ms more, of each site that an assignment leaves in float and that int8 alone would make slower."""
    found: dict[str, float] = {}
    for d, decision in enumerate(menu.decisions):
        for o, option in enumerate(decision.options):
            low = sites_in(option.edits, 8)
            if low and o != a[d]:
                more = menu.total("latency_ms", (*a[:d], o, *a[d + 1 :])) - menu.total("latency_ms", a)
                found |= dict.fromkeys(low, more) if more > 0 else {}
    return found
