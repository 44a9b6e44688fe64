"""How much is spent on the damages of a menu, so that they are known in the seconds that were planned for them.

Three things take the time: H of each layer and its factors (`compress.hessian`), the order in which groups give up
their channels (`compress.obs`), and the options, each of which is repaired and run from its first change on. All grow
with the network, the first two with the cube of its widths. What each takes is foreseen from the network's shapes and
the time of one pass; where all of it fits, nothing is left out. Else each part gets a share, and of the ladders below
the first step that fits: fewer widths of a group (those between lie on a line through the others), fewer inputs, and
repairs that solve for fewer and narrower layers and give the others their statistics back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import inf, prod
from typing import TypeVar

from chipfit.compress.hessian import MOST_ROWS, WIDEST, consumers, fan_in
from chipfit.compress.refit import Effort
from chipfit.core.edits import Edit
from chipfit.core.graph import Graph, Network, Op
from chipfit.evaluate.in_time import pass_s
from chipfit.evaluate.parts import WHOLE
from chipfit.space.edits import narrowed_to, structural
from chipfit.space.groups import channel_groups
from chipfit.space.menu import Menu

EFFORT = Effort(rows_per_column=10, rounds=1, honest=False)
"""Of a repair before a score."""

LAYERS = 12
"""Layers behind an option that are solved to score it; those behind them get their statistics back."""

WIDTHS = 7
"""Widths of one group that are scored."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How damages are measured, on so many calibration inputs.

    H rests on `rows_per_column`, groups are given up in `coarse` orders or exact ones; of a group so many `widths` are
    scored, each after a repair of this `effort` on `scored` inputs, on as many others.
    """

    inputs: int = WHOLE
    rows_per_column: int = 20
    coarse: bool = False
    widths: int = WIDTHS
    scored: int = 192
    effort: Effort = field(default_factory=lambda: replace(EFFORT, layers=LAYERS))

    @property
    def checked(self) -> Effort:
        """Of the repair of a whole design before it is scored."""
        return replace(EFFORT, widest=self.effort.widest)

    @property
    def shipped(self) -> Effort:
        """Of the repair of a design that is trained or shipped."""
        if self == WHOLE_PLAN:
            return Effort()
        return replace(Effort(), rows_per_column=self.rows_per_column, widest=max(SHIPPED, self.effort.widest or 0))


SHIPPED = 2400
"""Columns of the widest layer that is solved for where a design is shipped and time is short."""

WHOLE_PLAN = Plan()
"""What is done where there is time for all of it."""

PASSES_SHARE, HESSIAN_SHARE, ORDER_SHARE, SCORE_SHARE = 0.1, 0.25, 0.1, 0.65
"""Of the seconds for damages; the second holds the first, passes of all inputs."""

LEAST_INPUTS = 48
"""Calibration inputs that are taken whatever the time, where there are so many."""

ROWS = (20, 10, 5, 3)
"""Ladder of rows for each column of H."""

SCORES = (
    (WIDTHS, 192, LAYERS, None),
    (4, 128, LAYERS, 2400),
    (4, 64, 8, 1200),
    (3, 48, 4, 1200),
    (2, 48, 3, 600),
    (2, 32, 2, 600),
    (2, 24, 1, 600),
    (1, 16, 1, 600),
)
"""Ladder of (widths, inputs, layers, columns of the widest) for scores."""

DOUBLE = 4.0
"""How many times as long as in a pass an operation of the exact steps takes: double precision, from memory."""

BEHIND, QUANTISED = 0.6, 3.0
"""Of a pass: what an option runs anew of the network, and what int8 takes, which runs all of it with its rounding."""


def planned(network: Network, menu: Menu, available: int, seconds: float) -> Plan:
    """The plan for damages in so many seconds, on as many of the available calibration inputs as that allows."""
    if seconds == inf:
        return WHOLE_PLAN
    costs = _Costs.of(network, menu, available)
    if costs.whole_s <= seconds:
        return WHOLE_PLAN
    passes = int(PASSES_SHARE * seconds / costs.pass_s)
    costs = replace(costs, inputs=min(available, max(LEAST_INPUTS, passes)))
    rows = _first(ROWS, lambda r: costs.hessians_s(r) <= HESSIAN_SHARE * seconds)
    coarse = costs.orders_s > ORDER_SHARE * seconds
    plans = []
    for widths, scored, layers, widest in SCORES:
        effort = replace(EFFORT, layers=layers, widest=widest)
        plans.append(Plan(costs.inputs, rows, coarse, widths, scored, effort))
    return _first(plans, lambda plan: costs.scores_s(plan) <= SCORE_SHARE * seconds)


T = TypeVar("T")


def _first(ladder: Sequence[T], fits: Callable[[T], bool]) -> T:
    """The first step that fits, or the last."""
    return next((step for step in ladder if fits(step)), ladder[-1])


@dataclass(frozen=True, slots=True)
class _Costs:
    """What the parts of a menu's damages take, in seconds.

    `pass_s` is one input's way through the network, `mac_s` what a multiply-accumulate takes on it. `layers` has the
    columns and the output pixels of each layer that can be solved for, `readers` the columns and the channels of each
    that reads a group. Of options there are `widths` by decision, `others` that change the structure, and `coded` ones.
    """

    inputs: int
    pass_s: float
    mac_s: float
    layers: tuple[tuple[int, int], ...]
    readers: tuple[tuple[int, int], ...]
    widths: tuple[int, ...]
    others: int
    coded: int

    @classmethod
    def of(cls, network: Network, menu: Menu, inputs: int) -> _Costs:
        graph, took_s = network.graph, pass_s(network)
        widths, others, coded = [], 0, 0
        for decision in menu.decisions:
            kinds = [_kind(option.edits) for option in decision.options if option.edits]
            widths.append(kinds.count("width"))
            others += kinds.count("other")
            coded += kinds.count("coded")
        layers = tuple((fan_in(graph, o), _pixels(o)) for o in consumers(graph))
        mac_s = took_s / max(1, graph.total_macs)
        return cls(inputs, took_s, mac_s, layers, tuple(_readers(graph)), tuple(widths), others, coded)

    @property
    def whole_s(self) -> float:
        """Where nothing is left out."""
        return self.hessians_s(WHOLE_PLAN.rows_per_column) + self.orders_s + self.scores_s(WHOLE_PLAN)

    def hessians_s(self, rows_per_column: int) -> float:
        """Two passes of all inputs, and a product of each layer's patches."""
        products = 0.0
        for columns, pixels in self.layers:
            rows = min(rows_per_column * columns, MOST_ROWS, self.inputs * pixels)
            products += rows * float(columns) ** (2 if columns <= WIDEST else 1)
        return self.inputs * self.pass_s + self.mac_s * products

    @property
    def orders_s(self) -> float:
        """Exact orders: an inverse, and as many passes over it as a group has channels."""
        return DOUBLE * self.mac_s * sum(2.0 * columns**3 for columns, _ in self.readers)

    def scores_s(self, plan: Plan) -> float:
        """All options, each repaired and run from its first change on."""
        structural_options = sum(min(n, plan.widths) for n in self.widths) + self.others
        inputs = min(2 * plan.scored, self.inputs)
        run_s = BEHIND * inputs * self.pass_s
        solved = plan.effort.layers or 0
        repair_s = solved * self._mean_solution_s(plan, inputs // 2)
        return structural_options * (run_s + repair_s) + self.coded * QUANTISED * inputs * self.pass_s

    def _mean_solution_s(self, plan: Plan, inputs: int) -> float:
        """One layer of those that a repair may solve for."""
        found = []
        for columns, pixels in self.layers:
            if columns <= (plan.effort.widest or WIDEST):
                rows = min(plan.effort.rows_per_column * columns, inputs * pixels)
                found.append(rows * float(columns) ** 2 + DOUBLE * float(columns) ** 3 / 3)
        return self.mac_s * sum(found) / max(1, len(found))


def _kind(edits: Sequence[Edit]) -> str:
    """What an option is to a score: a width, another change of structure, or one of numbers alone."""
    if narrowed_to(edits) is not None:
        return "width"
    return "other" if structural(edits) else "coded"


def _pixels(o: Op) -> int:
    return prod(o.shape[1:]) if o.kind == "conv" else 1


def _readers(graph: Graph) -> Iterator[tuple[int, int]]:
    for group in channel_groups(graph).groups:
        for consumer in group.consumers:
            o = graph[consumer.op]
            if fan_in(graph, o) <= WIDEST:
                yield fan_in(graph, o), group.size
