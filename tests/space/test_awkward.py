"""Awkward structure is edited correctly or reported layer by layer; nothing is skipped silently."""

from __future__ import annotations

import pytest

from chipfit.nets.trace import trace
from chipfit.nets.zoo import BUILDERS
from chipfit.space.groups import channel_groups
from models.awkward import AWKWARD, INPUT_SHAPE

# network -> (groups that can be narrowed, layer -> part of the reason why not)
EXPECTED = {
    "Concat": ({"a", "b", "c"}, {"head": "answers"}),
    "Shared": ({"stem", "last"}, {"head": "answers"}),  # stem is tied to both uses of `twice`
    "Grouped": ({"stem/0", "stem/1", "grouped/1", "free"}, {"head": "answers"}),  # whole groups, or some of each
    "Shuffle": ({"stem", "mixed/0", "mixed/1", "free"}, {"head": "answers"}),
    "SqueezeExcite": ({"stem", "up", "squeeze"}, {"head": "answers"}),
    "Flat": ({"conv", "hidden"}, {"head": "answers"}),
    "Split": ({"stem/0", "stem/1", "part", "free"}, {"head": "answers"}),
    "Scaled": ({"stem", "up", "last"}, {"head": "answers"}),
    "Tied": ({"stem", "a", "last"}, {"head": "answers"}),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_every_layer_is_editable_or_reported(name: str) -> None:
    graph = trace(AWKWARD[name](), INPUT_SHAPE).graph
    coupling = channel_groups(graph)
    groups, frozen = EXPECTED[name]
    assert {g.name for g in coupling.groups} == groups
    assert dict(coupling.frozen).keys() == frozen.keys()
    for layer, reason in coupling.frozen:
        assert frozen[layer] in reason
    _everything_is_accounted_for(graph)


@pytest.mark.parametrize("name", BUILDERS)
def test_zoo_layers_are_accounted_for(name: str) -> None:
    _everything_is_accounted_for(trace(BUILDERS[name](), (1, 28, 28)).graph)


def _everything_is_accounted_for(graph: object) -> None:
    coupling = channel_groups(graph)  # type: ignore[arg-type]
    producers = {p for g in coupling.groups for p in g.producers}
    carriers = {c for g in coupling.groups for c, _ in g.carriers}
    frozen = {layer for layer, _ in coupling.frozen}
    layers = {o.name for o in graph if o.kind in ("conv", "linear")}  # type: ignore[attr-defined]
    assert layers <= producers | carriers | frozen
