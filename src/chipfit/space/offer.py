"""Graph → menu without prices: every decision that can be taken, and what cannot be touched, with the reason."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from chipfit.core.edits import Precision, Skip, Width
from chipfit.core.graph import Graph
from chipfit.space.groups import Block, ChannelGroup, Coupling, channel_groups, residual_blocks, sites
from chipfit.space.menu import Choice, Decision, Menu, Option

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
) -> Offer:
    """The menu of a graph for a device whose kernels step every `block[bits]` channels.

    Widths are multiples of the smallest block among `bits`; a width that another dominates costs as much and harms
    more, so that the exact solver never takes it. `keep` names layers (or prefixes of their names) to leave alone.
    """
    coupling, blocks = channel_groups(graph), residual_blocks(graph) if depth else ()
    step = max(LEAST_STEP, min(block.get(b, LEAST_STEP) for b in bits))
    spared = {g.name: _spared(g, keep) for g in coupling.groups}
    open_groups = [g for g in coupling.groups if not spared[g.name] and len(_widths(g, step)) > 1]
    inside = {b.name: _inner(b, coupling) for b in blocks if not _named(b.name, keep)}
    decisions: list[Decision] = []
    skips: dict[str, list[Choice]] = {name: [] for name in inside}
    for g in [g for g in coupling.groups if not spared[g.name]]:
        of = next((name for name, groups in inside.items() if g.name in groups), None)
        if of is None and g not in open_groups:
            continue
        options = [
            Option(str(w), w, () if w == g.size else (Width(g.name, tuple(range(w))),)) for w in _widths(g, step)
        ]
        if of is not None:
            first = not skips[of]
            skips[of].append((len(decisions), len(options)))
            options.append(Option("skip", 0, (Skip(of),) if first else ()))
        decisions.append(Decision(g.name, "width", tuple(options)))
    for name, choices in skips.items():
        if not choices:
            choices.append((len(decisions), 1))
            decisions.append(Decision(name, "depth", (Option("keep", 1), Option("skip", 0, (Skip(name),)))))
    if len(set(bits)) > 1:
        for s in sites(graph):
            options = [Option("fp32", 32), Option("int8", 8, (Precision(s.name, 8),))]
            decisions.append(Decision(f"bits:{s.name}", "precision", tuple(options)))
    ties = tuple((choices[0], other) for choices in skips.values() for other in choices[1:])
    untouched = list(coupling.frozen)
    untouched += [(p, reason) for g in coupling.groups if (reason := spared[g.name]) for p in g.producers]
    untouched += [
        (p, f"its {g.size} channels are no more than one kernel block of {step}")
        for g in coupling.groups if not spared[g.name] and g not in open_groups for p in g.producers
    ]  # fmt: skip
    inner = {name: tuple(decisions[d].name for d, _ in choices) for name, choices in skips.items()}
    return Offer(Menu(graph.key, tuple(decisions), ties=ties), tuple(untouched), inner)


def _widths(g: ChannelGroup, step: int) -> list[int]:
    """Full width first, then every smaller multiple of the step."""
    return [g.size, *range((g.size - 1) // step * step, 0, -step)]


def _named(name: str, keep: Collection[str]) -> bool:
    return any(name == k or name.startswith(f"{k}.") for k in keep)


def _spared(g: ChannelGroup, keep: Collection[str]) -> str:
    layer = next((p for p in g.producers if _named(p, keep)), None)
    return f"'{layer}' was named to be kept" if layer else ""


def _inner(block: Block, coupling: Coupling) -> tuple[str, ...]:
    """Groups that live inside the body of a block only."""
    return tuple(
        g.name for g in coupling.groups
        if set(g.producers) <= block.body and {c.op for c in g.consumers} <= block.body
    )  # fmt: skip
