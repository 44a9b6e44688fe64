"""What each operator of a network takes where it stands, as the runtime itself tells it.

A runtime that is watched counts in whole microseconds and is slowed by it, so the shares of operators are taken from it
and their sum from the latency that was measured. Conversions between precisions are nodes of their own, named after
the operator whose output they convert. Changes of layout belong to no operator: those right before and behind a
conversion are for its sake, the others are in no operator's time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chipfit.core.graph import Graph
from chipfit.core.protocols import Device, Node, Observing
from chipfit.core.types import Artifact, Measurement
from chipfit.device.child import DeviceFailed
from chipfit.device.roofline import by_operator, owner

CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear"})
"""Nodes that bring a value from one precision to another."""

WATCHED_MS, FEWEST_RUNS, MOST_RUNS = 250.0, 8, 100
"""How long a network is watched, and how many runs at least and at most.

A kernel of a millisecond needs no hundred looks; one of some microseconds has its time only from a mean over many.
"""

OPERATORS = "operators, layouts of conversions apart"
"""How such a measurement is taken."""

CONVERTED, LAID_OUT = " converted", " laid out"
"""Behind an operator's number: the conversions of its output, and the changes of layout around them."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Milliseconds of a network (`whole`), of its operators, and of the conversions of their outputs, by name.

    And of the changes of `layouts` around those conversions.
    """

    whole: Measurement
    ops: Mapping[str, float]
    conversions: Mapping[str, float]
    layouts: Mapping[str, float]

    @classmethod
    def of(cls, graph: Graph, whole: Measurement, parts: Measurement) -> Observed:
        """From what `operators` found of a graph of this structure, whatever its names."""
        names = {str(n): o.name for n, o in enumerate(graph)}
        ops = {names[n]: ms for n, ms in parts.details.items() if n in names}
        conversions, layouts = (
            {names[n.removesuffix(what)]: ms for n, ms in parts.details.items() if n.endswith(what)}
            for what in (CONVERTED, LAID_OUT)
        )
        return cls(whole, ops, conversions, layouts)


def operators(device: Device, artifact: Artifact, whole: Measurement) -> Measurement | None:
    """What each operator of a file takes, by its number in the graph; None where the device cannot tell.

    The value is the sum of what is in no operator's time.
    """
    if not np.isfinite(whole.value):
        return None
    try:
        nodes = _nodes(device, artifact, whole.value)
    except (DeviceFailed, ValueError):
        return None
    scale = whole.value / (sum(us for *_, us in nodes) or 1.0)
    graph = artifact.graph
    place = {o.name: str(n) for n, o in enumerate(graph)}
    found: dict[str, float] = {}
    working, rest = [], 0.0
    for node, key in zip(nodes, _of_conversions(nodes, graph, place), strict=True):
        if key is None:
            working.append(node)
        else:
            found[key] = found.get(key, 0.0) + node[2] * scale
    for (name, _), us in by_operator(working, graph).items():
        if name in place:
            found[place[name]] = found.get(place[name], 0.0) + us * scale
        else:
            rest += us * scale
    return Measurement("latency_ms", rest, whole.provenance, whole.where, OPERATORS, 0.0, len(nodes), found)


def _of_conversions(nodes: Sequence[Node], graph: Graph, place: Mapping[str, str]) -> list[str | None]:
    """For each node what it is a conversion of, or a change of layout right beside one; None for all others."""
    owners = [owner(name, graph) for name, *_ in nodes]
    made = [place[of] if of is not None and kind in CONVERSIONS else None
            for of, (_, kind, _) in zip(owners, nodes, strict=True)]  # fmt: skip
    found = [None if number is None else number + CONVERTED for number in made]
    for n, number in enumerate(made):
        for beside in (n - 1, n + 1):
            if number is not None and 0 <= beside < len(nodes) and owners[beside] is None:
                found[beside] = found[beside] or number + LAID_OUT
    return found


def _nodes(device: Device, artifact: Artifact, whole_ms: float) -> Sequence[Node]:
    """The nodes that a device executes, watched for a moment where it can be."""
    if isinstance(device, Observing):
        runs = int(np.clip(WATCHED_MS / max(whole_ms, 1e-3), FEWEST_RUNS, MOST_RUNS))
        return device.observe(artifact, runs)
    return [(row.op, row.kind, 1e3 * row.ms) for row in device.profile(artifact)]
