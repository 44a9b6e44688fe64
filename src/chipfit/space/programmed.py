"""The layers of a menu that programs may compute, and those programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import prod

from chipfit.core.edits import Swap
from chipfit.core.graph import LAYERS, Graph, Op
from chipfit.space.edits.layer import alone
from chipfit.space.edits.swap import SWAP
from chipfit.space.edits.width import narrowed_to
from chipfit.space.groups import ChannelGroup, Coupling, channel_groups
from chipfit.space.knobs import AS_IS
from chipfit.space.menu import Decision, Menu, Option
from chipfit.space.program import Place, parse, place_of
from chipfit.space.program.lower import fits


@dataclass(frozen=True, slots=True)
class Programs:
    """The decision on what computes a layer: for each of its options the program, "" for the layer as it is."""

    decision: int
    texts: tuple[str, ...]


def programs_of(menu: Menu) -> dict[str, Programs]:
    """The layers of a menu that programs may compute."""
    found: dict[str, Programs] = {}
    for d, decision in enumerate(menu.decisions):
        swaps = [_swap_of(option) for option in decision.options]
        layers = {e.layer for e in swaps if e is not None}
        if len(layers) == 1:
            found[layers.pop()] = Programs(d, tuple(e.program if e is not None else "" for e in swaps))
    return found


def _swap_of(option: Option) -> Swap | None:
    return next((e for e in option.edits if isinstance(e, Swap)), None)


def without_programs(menu: Menu) -> Menu:
    """The menu where every layer stays as it is; its assignments are assignments of the whole menu, too."""
    fixed = {p.decision for p in programs_of(menu).values()}
    decisions = tuple(
        replace(d, options=d.options[:1]) if n in fixed else d for n, d in enumerate(menu.decisions)
    )  # fmt: skip
    terms = []
    for t in menu.terms:
        first = tuple(slice(0, 1) if d in fixed else slice(None) for d in t.on)
        terms.append(replace(t, table=t.table[first]))
    return replace(menu, decisions=decisions, terms=tuple(terms))


LEAST_FEATURES = 48
"""Channels that a dense layer, or a 1x1 convolution, reads and makes at least to be worth a program.

A launch costs as much as a small one.
"""


def replaceable(graph: Graph, keep: Collection[str] = ()) -> tuple[str, ...]:
    """The layers that programs may compute, in the graph's order; `keep` names layers to leave alone.

    Convolutions in one group and dense layers whose weights are their own, those of a single place with many channels
    alone. What a layer costs is then a table over one group of channels that it reads and one that it makes, so that
    those behind a concatenation and before a split are left out; so is what answers.
    """
    return tuple(name for name, why in refusals(graph, keep).items() if not why)


def refusals(graph: Graph, keep: Collection[str] = ()) -> dict[str, str]:
    """Why programs may not compute each layer, as what is said behind its name; empty where they may."""
    plain, answering = _of_one_group(channel_groups(graph)), _answering(graph)
    found: dict[str, str] = {}
    for o in (o for o in graph if o.kind in LAYERS):
        if named_in(o.name, keep):
            found[o.name] = "is kept as it is"
        elif o.name in answering:
            found[o.name] = "makes the answers"
        elif not alone(graph, o):
            found[o.name] = "shares its weights with another layer"
        else:
            coupled = "" if o.name in plain else COUPLED
            found[o.name] = _too_little(graph, o) or coupled
    return found


COUPLED = "reads or makes channels of several groups, as beside a grouped convolution, a concatenation or a split"
"""Why a layer is left out whose costs are no table over one group on either side."""


def _too_little(graph: Graph, o: Op) -> str:
    """Why others could not be cheaper than a layer; empty where they could."""
    small = f"reads or makes fewer than {LEAST_FEATURES} channels"
    if o.kind == "linear":
        return small if min(o.shape[-1], graph.in_shape(o)[-1]) < LEAST_FEATURES else ""
    if o.kind != "conv" or not len(o["kernel"]) == len(o["padding"]) == 2:
        return "is neither dense nor a convolution over a map"
    if o["groups"] != 1:
        return "is a grouped convolution"
    of_one_place = prod(o["kernel"]) == 1 and min(o.shape[0], graph.in_shape(o)[0]) < LEAST_FEATURES
    return small if of_one_place else ""


def _answering(graph: Graph) -> frozenset[str]:
    """The layer that answers, with what stands behind it."""
    found, o = {graph.output}, graph[graph.output]
    while o.kind not in LAYERS and len(o.inputs) == 1:
        o = graph[o.inputs[0]]
        found.add(o.name)
    return frozenset(found)


def _of_one_group(coupling: Coupling) -> frozenset[str]:
    """The layers that read, and that make, channels of one group at most."""
    read, made = Counter[str](), Counter[str]()
    for g in coupling.groups:
        read.update({c.op for c in g.consumers})
        made.update(set(g.producers))
    return frozenset(name for name in coupling.axes if read[name] <= 1 and made[name] <= 1)


def named_in(name: str, keep: Collection[str]) -> bool:
    """True for a layer that is named, or is within what is."""
    return any(name == k or name.startswith(f"{k}.") for k in keep)


def decisions(
    graph: Graph, programs: Mapping[str, Sequence[str]], coupling: Coupling, widths: Sequence[Decision]
) -> Iterator[Decision]:
    """A decision for each layer that programs are given for, in the graph's order; the first option changes nothing.

    Programs that fit a layer at some of its widths only, which `widths` decide, are left out.

    Raises:
        KeyError: programs for what is no layer.
        ValueError: what is given for one is no program.
    """
    if unknown := programs.keys() - graph.by_name.keys():
        raise KeyError(f"programs for {', '.join(sorted(unknown))}: no such layer")
    offered = _Widths(coupling, widths)
    for o in graph:
        if o.name in programs:
            places = offered.places(place_of(graph, o.name))
            fitting = [text for text in programs[o.name] if _fits_all(text, places)]
            if fitting:
                options = [Option(text, (Swap(o.name, text),)) for text in fitting]
                yield Decision(f"program:{o.name}", SWAP.name, (Option(AS_IS), *options))


class _Widths:
    """The channels that layers may have on each side, by the widths that their groups are offered."""

    def __init__(self, coupling: Coupling, widths: Sequence[Decision]) -> None:
        self._offered: dict[str, list[int]] = {}
        for decision in widths:
            left = [narrowed_to(option.edits) for option in decision.options]
            self._offered[decision.name] = [n for n in left if n is not None]
        self._read: dict[str, ChannelGroup] = {}
        self._made: dict[str, ChannelGroup] = {}
        for g in coupling.groups:
            self._read |= dict.fromkeys((c.op for c in g.consumers), g)
            self._made |= dict.fromkeys(g.producers, g)

    def places(self, place: Place) -> list[Place]:
        """A layer's place at each combination of its widths, whatever the layer is called."""
        ins, outs = place.channels
        before = self._channels(ins, self._read.get(place.name))
        after = self._channels(outs, self._made.get(place.name))
        return [_as_wide(place, c, m) for c, m in product(before, after)]

    def _channels(self, whole: int, group: ChannelGroup | None) -> list[int]:
        """The numbers of channels on one side of a layer."""
        if group is None:
            return [whole]
        return [whole, *(whole * width // group.size for width in self._offered.get(group.name, ()))]


def _fits_all(text: str, places: Sequence[Place]) -> bool:
    return all(_fits(text, place) for place in places)


def _as_wide(place: Place, before: int, after: int) -> Place:
    """The place with other channels, whatever it is called."""
    axis = place.axis
    read = (*place.before[:axis], before, *place.before[axis + 1 :])
    made = (*place.after[:axis], after, *place.after[axis + 1 :])
    return replace(place, name="layer", reads="x", weights="layer", before=read, after=made)


@lru_cache(maxsize=50_000)
def _fits(text: str, place: Place) -> bool:
    return fits(parse(text), place)
