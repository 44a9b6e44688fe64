"""Graph → menu without prices: every decision that can be taken, and what cannot be touched, with the reason."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from chipfit.core.graph import Graph
from chipfit.core.opaque import taken_as_they_are
from chipfit.space.apart import apart
from chipfit.space.edits import Precision, Skip, Width, drops, sites_in
from chipfit.space.groups import Block, ChannelGroup, Coupling, Site, channel_groups, residual_blocks, sites
from chipfit.space.knobs import Knobs
from chipfit.space.knobs import decisions as knob_decisions
from chipfit.space.knobs import untouched as locked
from chipfit.space.menu import Choice, Decision, Menu, Option
from chipfit.space.programmed import decisions as program_decisions
from chipfit.space.programmed import named_in
from chipfit.space.widths import narrows, offered_widths

LEAST_STEP = 8
"""Widths are offered in steps of at least this: finer ones buy little and quadruple the cost tables."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A menu and what stays out of it, as (layer, reason)."""

    menu: Menu
    untouched: tuple[tuple[str, str], ...]
    inner: Mapping[str, tuple[str, ...]]
    """Block name to the decisions one of whose options drops it."""


def offer(
    graph: Graph,
    block: Mapping[int, int],
    *,
    bits: Collection[int] = (32, 8),
    keep: Collection[str] = (),
    depth: bool = True,
    knobs: Mapping[str, Knobs] = {},
    widths: int | None = None,
    programs: Mapping[str, Sequence[str]] = {},
) -> Offer:
    """The menu of a graph for a device whose kernels step every `block[bits]` channels.

    Widths are multiples of the smallest block among `bits`; a width that another dominates costs as much and harms
    more, so that the exact solver never takes it. `keep` names layers (or prefixes of their names) to leave alone.
    `knobs` opens what may be done to the weights of layers, each by its name (`space.knobs`). With `widths` wide groups
    have no more than so many, from the full one to the narrowest. `programs` has, for each layer that others may
    compute, the texts of these (`space.programmed`).
    """
    coupling, blocks = apart(graph, channel_groups(graph)), _Blocks(graph, keep if depth else None)
    step = max(LEAST_STEP, min(block.get(b, LEAST_STEP) for b in bits))
    decisions, homes = _structure(coupling, blocks, keep, step, widths)
    if len(set(bits)) > 1:
        decisions += map(_precision, sites(graph))
    decisions += knob_decisions(graph, knobs, [o.name for o in graph if named_in(o.name, keep)])
    decisions += program_decisions(graph, programs, coupling, decisions)
    opaque = [(name, f"{what} is taken as it is: {why}") for name, what, why in taken_as_they_are(graph)]
    untouched = [*coupling.frozen, *opaque, *blocks.kept, *locked(graph, knobs), *_unchanged(coupling, keep, step)]
    menu = Menu(graph.key, tuple(decisions), ties=blocks.ties(decisions, homes))
    names = [d.name for d in decisions]
    inner = {block: tuple(map(names.__getitem__, at)) for block, at in homes.items()}
    return Offer(menu, tuple(untouched), inner)


def _structure(
    coupling: Coupling, blocks: _Blocks, keep: Collection[str], step: int, widths: int | None
) -> tuple[list[Decision], dict[str, list[int]]]:
    """The decisions on widths and on blocks, and for each block those among them that can drop it.

    A block is dropped by the widths inside it, or where none of these is free by a decision of its own.
    """
    homes: dict[str, list[int]] = {b.name: [] for b in blocks.free}
    block_of: dict[str, str] = {}
    for b in blocks.free:
        for group in _inner(b, coupling):
            block_of.setdefault(group, b.name)
    decisions: list[Decision] = []
    for g in coupling.groups:
        of = block_of.get(g.name)
        if _spared(g, keep) or (of is None and not narrows(g, step)):
            continue
        options = [_width(g, w) for w in _spread(offered_widths(g, step), widths)]
        if of is not None:
            options += blocks.ways_out(of)
            homes[of].append(len(decisions))
        decisions.append(Decision(g.name, "width", tuple(options)))
    for name, at in homes.items():
        if not at:
            at.append(len(decisions))
            decisions.append(Decision(name, "skip", (Option("keep"), *blocks.ways_out(name))))
    return decisions, homes


def _width(g: ChannelGroup, width: int) -> Option:
    """The first channels of a group; which are best, a profile knows."""
    return Option(str(width), () if width == g.size else (Width(g.name, tuple(range(width))),))


def _precision(site: Site) -> Decision:
    return Decision(f"bits:{site.name}", "precision", (Option("fp32"), Option("int8", (Precision(site.name, 8),))))


def _unchanged(coupling: Coupling, keep: Collection[str], step: int) -> list[tuple[str, str]]:
    """The layers of groups that are not narrowed, each with the reason: first those that were named to be kept."""
    kept: list[tuple[str, str]] = []
    narrow: list[ChannelGroup] = []
    elsewhere: set[str] = set()  # layers that make a group too which is told, or is on the menu
    for g in coupling.groups:
        reason = _spared(g, keep)
        kept += [(p, reason) for p in g.producers if reason]
        if reason or narrows(g, step):
            elsewhere.update(g.producers)
        else:
            narrow.append(g)
    too_few: dict[str, str] = {}
    for g in narrow:
        for p in g.producers:
            too_few.setdefault(p, _too_few(g, step))
    return kept + [(p, why) for p, why in too_few.items() if p not in elsewhere]


def sites_of(decision: Decision) -> frozenset[str]:
    """The precision sites whose numbers a decision sets, by the edits of its options."""
    return frozenset(site for option in decision.options for site in sites_in(option.edits))


class _Blocks:
    """The residual blocks that can be dropped, none where `keep` is None; one that is in another comes before it.

    A block that is dropped with one around it has an option that says so: whether a layer is
    there is then to be seen in any decision of the smallest block that it is in.
    """

    def __init__(self, graph: Graph, keep: Collection[str] | None) -> None:
        blocks = residual_blocks(graph) if keep is not None else ()
        self.free = [b for b in blocks if not named_in(b.name, keep or ())]
        self.kept: list[tuple[str, str]] = []
        for array, users in _users(graph).items():
            stays = self._parting(users)
            self.kept += [(b, f"'{array}' is used in other blocks too, one of which stays") for b in stays]
            self.free = [b for b in self.free if b.name not in stays]
        self.around = {b.name: self._with(b.name) for b in self.free}

    def _with(self, op: str) -> list[str]:
        """The free blocks that an operator is in the body of."""
        return [b.name for b in self.free if op in b.body]

    def _parting(self, users: Sequence[str]) -> set[str]:
        """The blocks that would take some users of an array away and leave others; none where one of them is within."""
        at = [set(self._with(user)) for user in users]
        fewest = min(at, key=len)
        within = all(fewest <= other for other in at)
        return set() if within else fewest.difference(fewest.intersection(*at))

    def ways_out(self, block: str) -> list[Option]:
        """The options of a decision that say that its block is dropped, alone or with one around it."""
        gone = [Option(f"skip with {a}", (Skip(a),)) for a in self.around[block]]
        return [Option("skip", (Skip(block),)), *gone]

    def ties(
        self, decisions: Sequence[Decision], homes: Mapping[str, Sequence[int]]
    ) -> tuple[tuple[Choice, Choice], ...]:
        """Dropping a block drops those inside it, and is said in all its decisions, which are at `homes`."""

        def choice(d: int, n: int) -> Choice:
            """The n-th way out of a decision."""
            return d, next(i for i, o in enumerate(decisions[d].options) if drops(o.edits)) + n

        found = []
        for b in reversed(self.free):
            for n, a in reversed(list(enumerate(self.around[b.name], 1))):
                found += [(choice(homes[a][0], 0), choice(d, n)) for d in homes[b.name]]
        for b in self.free:
            first, *others = homes[b.name]
            found += [(choice(first, 0), choice(d, 0)) for d in others]
        return tuple(found)


def _users(graph: Graph) -> dict[str, list[str]]:
    """Array to the operators that use it, of those that several do."""
    users: dict[str, list[str]] = defaultdict(list)
    for o in graph:
        for name in graph.weight_shapes(o):
            users[name].append(o.name)
    return {name: ops for name, ops in users.items() if len(ops) > 1}


def _spread(widths: Sequence[int], most: int | None) -> list[int]:
    """At most so many of some widths, the first and the last among them."""
    if most is None or len(widths) <= most:
        return list(widths)
    return [widths[n * (len(widths) - 1) // (most - 1)] for n in range(most)]


def _too_few(g: ChannelGroup, step: int) -> str:
    return f"its {g.size} channels are no more than one kernel block of {step}"


def _spared(g: ChannelGroup, keep: Collection[str]) -> str:
    layer = next((p for p in g.producers if named_in(p, keep)), None)
    return f"'{layer}' was named to be kept" if layer else ""


def _inner(block: Block, coupling: Coupling) -> tuple[str, ...]:
    """Groups that live inside the body of a block only."""
    return tuple(
        g.name for g in coupling.groups
        if set(g.producers) <= block.body and {c.op for c in g.consumers} <= block.body
    )  # fmt: skip
