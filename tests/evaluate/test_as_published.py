"""The published loop runs from end to end over programs of the 30 published instructions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from chipfit.core.graph import Network
from chipfit.evaluate.as_published import variation
from chipfit.nets.build import build
from chipfit.search.grassroots import Grassroots
from chipfit.space.program import Place, Program, alone
from chipfit.space.program.opcodes import FAITHFUL
from chipfit.space.program.seeds import same
from program_places import PLACES

PENALTY = 0.5


def missed(program: Program, place: Place) -> float:
    """Mean square, as a share, that a program of random weights cannot be scaled to of a smooth target."""
    graph, rng = alone(program, place), np.random.default_rng(0)
    shapes = {name: shape for o in graph for name, shape in graph.weight_shapes(o).items()}
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    x = torch.from_numpy(rng.normal(size=(4, *place.before)).astype(np.float32))
    with torch.inference_mode():
        got = build(Network(graph, weights))(x).double().flatten()
        wanted = torch.nn.functional.avg_pool2d(x, 3, 1, 1).double().flatten()
    if not torch.isfinite(got).all():
        return float("nan")
    along = float(got @ wanted / got.norm() / wanted.norm()) if got.norm() else 0.0
    return 1 - along**2


def test_it_runs_from_end_to_end_and_never_loses_the_layer() -> None:
    place = PLACES["as wide"]

    def fitness(program: Program) -> float:
        return 1 - missed(program, place) - PENALTY * alone(program, place).total_macs / place.macs

    search = Grassroots(same(place), variation(place), fitness, np.random.default_rng(0))
    found = search.run()
    assert fitness(found) > fitness(same(place))
    assert alone(found, place).ops[-1].shape == place.after
    assert {row.opcode for row in found.instructions} <= set(FAITHFUL)
    assert len(search.looked_at) > 60  # children differ


@pytest.mark.parametrize("at", [name for name, place in PLACES.items() if place.kind == "conv"])
def test_candidates_are_of_published_instructions_and_fit(at: str) -> None:
    place, rng = PLACES[at], np.random.default_rng(0)
    ways = variation(place)
    first = [p for _ in range(20) if (p := ways.first(rng)) is not None]
    children = [p for a, b in pairwise(first) if (p := ways.cross(a, b, rng)) is not None]
    changed = [p for a in first if (p := ways.mutate(a, 0.1, rng)) is not None]
    assert len(first) == 20
    assert children
    assert changed
    for program in [*first, *children, *changed]:
        assert {row.opcode for row in program.instructions} <= set(FAITHFUL)
        assert alone(program, place).ops[-1].shape == place.after
