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
from math import inf
from typing import TypeVar

from chipfit.compress.hessian import MOST_ROWS, WIDEST, Forms, consumers, fan_in, taps
from chipfit.compress.refit import Effort
from chipfit.core.channels import array_axis
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

WHOLE_FORMS = Forms(WIDEST, WIDEST)
"""Of H where there is time: all of it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How damages are measured, on so many calibration inputs.

    H rests on `rows_per_column` in these `forms`, orders are `coarse` or exact; of a group so many `widths` are scored,
    each after a repair of this `effort` on `scored` inputs, on as many others.
    """

    inputs: int = WHOLE
    rows_per_column: int = 20
    coarse: bool = False
    widths: int = WIDTHS
    scored: int = 192
    effort: Effort = field(default_factory=lambda: replace(EFFORT, layers=LAYERS))
    forms: Forms = WHOLE_FORMS

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

PASSES_SHARE, PROFILE_SHARE, SCORE_SHARE = 0.1, 0.35, 0.65
"""Of the seconds for damages; the second, for H and orders, holds the first, passes of all inputs."""

LEAST_INPUTS = 48
"""Calibration inputs that are taken whatever the time, where there are so many."""

ROWS = (20, 10, 5, 3)
"""Ladder of rows for each column of H."""

MOMENTS = (
    (20, 1200, WIDEST),
    (10, 1200, WIDEST),
    (5, 1200, WIDEST),
    (5, 1200, 2400),
    (5, 1200, 1200),
    (5, 600, 600),
    (3, 600, 300),
)
"""The same where orders are coarse: rows, and the columns of the widest H over all taps and of the widest of any."""

SCORES = (
    (WIDTHS, 192, LAYERS, None),
    (4, 128, LAYERS, 2400),
    (4, 64, 8, 1200),
    (3, 48, 4, 1200),
    (2, 48, 3, 600),
    (2, 32, 2, 600),
    (2, 24, 1, 600),
    (1, 16, 1, 600),
    (1, 8, 1, 600),
)
"""Ladder of (widths, inputs, layers, columns of the widest) for scores."""

DOUBLE = 4.0
"""How many times as long as in a pass an operation of the exact steps takes: double precision, from memory."""

BEHIND, QUANTISED = 0.6, 1.6
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
    coarse = costs.hessians_s(ROWS[0]) + costs.orders_s > PROFILE_SHARE * seconds
    ladder = MOMENTS if coarse else [(rows, WIDEST, WIDEST) for rows in ROWS]

    def fits(step: tuple[int, int, int]) -> bool:
        rows, *wide = step
        at = replace(costs, forms=Forms(*wide))
        return at.hessians_s(rows) + at.orders_s <= PROFILE_SHARE * seconds

    rows, *wide = _first(ladder, fits)
    costs = replace(costs, forms=Forms(*wide))
    plans = []
    for widths, scored, layers, widest in SCORES:
        effort = replace(EFFORT, layers=layers, widest=widest)
        plans.append(Plan(costs.inputs, rows, coarse, widths, scored, effort, costs.forms))
    return _first(plans, lambda plan: costs.scores_s(plan) <= SCORE_SHARE * seconds)


T = TypeVar("T")


def _first(ladder: Sequence[T], fits: Callable[[T], bool]) -> T:
    """The first step that fits, or the last."""
    return next((step for step in ladder if fits(step)), ladder[-1])


@dataclass(frozen=True, slots=True)
class _Costs:
    """What the parts of a menu's damages take, in seconds.

    `pass_s` is one input's way through the network, `mac_s` what a multiply-accumulate takes on it. `layers` are those
    that can be solved for, `readers` the ones that read a group, for each. H has these `forms`. Of options there are
    `widths` by decision, `others` that change the structure, and `coded` ones.
    """

    inputs: int
    pass_s: float
    mac_s: float
    layers: tuple[Layer, ...]
    readers: tuple[Layer, ...]
    widths: tuple[int, ...]
    others: int
    coded: int
    forms: Forms = WHOLE_FORMS

    @classmethod
    def of(cls, network: Network, menu: Menu, inputs: int) -> _Costs:
        graph, took_s = network.graph, pass_s(network)
        widths, others, coded = [], 0, 0
        for decision in menu.decisions:
            kinds = [_kind(option.edits) for option in decision.options if option.edits]
            widths.append(kinds.count("width"))
            others += kinds.count("other")
            coded += kinds.count("coded")
        layers = tuple(Layer.of(graph, o) for o in consumers(graph))
        mac_s = took_s / max(1, graph.total_macs)
        return cls(inputs, took_s, mac_s, layers, tuple(_readers(graph)), tuple(widths), others, coded)

    @property
    def whole_s(self) -> float:
        """Where nothing is left out."""
        return self.hessians_s(WHOLE_PLAN.rows_per_column) + self.orders_s + self.scores_s(WHOLE_PLAN)

    def hessians_s(self, rows_per_column: int) -> float:
        """A pass of all inputs, and a product of each layer's patches."""
        products = 0.0
        for layer in self.layers:
            columns, shared = layer.form(self.forms)
            rows = shared * min(rows_per_column * columns, MOST_ROWS, self.inputs * layer.pixels)
            products += rows * float(columns) ** (2 if columns <= self.forms.widest else 1)
        return self.inputs * self.pass_s + self.mac_s * products

    @property
    def orders_s(self) -> float:
        """An inverse, and passes over it as channels of a group are given up."""
        every = (layer.form(self.forms)[0] for layer in self.readers)
        return DOUBLE * self.mac_s * sum(2.0 * columns**3 for columns in every if columns <= self.forms.widest)

    def scores_s(self, plan: Plan) -> float:
        """All options, each compensated, repaired and run from its first change on."""
        widths = sum(min(n, plan.widths) for n in self.widths)
        inputs = min(2 * plan.scored, self.inputs)
        run_s = BEHIND * inputs * self.pass_s
        solved = plan.effort.layers or 0
        repair_s = solved * self._mean_solution_s(plan, inputs // 2)
        structural_s = (widths + self.others) * (run_s + repair_s)
        coded_s = QUANTISED * inputs / 2 * self.pass_s
        return structural_s + widths * self._mean_compensation_s + self.coded * coded_s

    @property
    def _mean_compensation_s(self) -> float:
        """What all readers of a group do without some of its channels."""
        groups = sum(n > 0 for n in self.widths)
        total = 0.0
        for layer in self.readers:
            columns, shared = layer.form(self.forms)
            if columns <= self.forms.widest:
                total += float(columns) ** 3 / 3 + 2 * shared * layer.outputs * float(columns) ** 2
        return DOUBLE * self.mac_s * total / max(1, groups)

    def _mean_solution_s(self, plan: Plan, inputs: int) -> float:
        """One layer of those that a repair may solve for."""
        found = []
        for layer in self.layers:
            columns = layer.columns
            if columns <= (plan.effort.widest or WIDEST):
                rows = min(plan.effort.rows_per_column * columns, inputs * layer.pixels)
                found.append(rows * float(columns) ** 2 + DOUBLE * float(columns) ** 3 / 3)
        return self.mac_s * sum(found) / max(1, len(found))


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that can be solved for: columns and taps of its kernel, its outputs, and the places of each."""

    columns: int
    taps: int
    outputs: int
    pixels: int

    @classmethod
    def of(cls, graph: Graph, o: Op) -> Layer:
        """The layer of an operator."""
        axis = array_axis(o)
        return cls(fan_in(graph, o), taps(o), o.shape[axis], o.size // o.shape[axis])

    def form(self, forms: Forms) -> tuple[int, int]:
        """Columns of its H, and how many taps share it."""
        columns = forms.columns(self.columns, self.taps)
        return columns, self.columns // columns


def _kind(edits: Sequence[Edit]) -> str:
    """What an option is to a score: a width, another change of structure, or one of numbers alone."""
    if narrowed_to(edits) is not None:
        return "width"
    return "other" if structural(edits) else "coded"


def _readers(graph: Graph) -> Iterator[Layer]:
    for group in channel_groups(graph).groups:
        for consumer in group.consumers:
            o = graph[consumer.op]
            if fan_in(graph, o) <= WIDEST:
                yield Layer.of(graph, o)
