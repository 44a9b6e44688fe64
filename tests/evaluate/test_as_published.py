"""The published loop runs from end to end, over programs of the 30 published instructions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from chipfit.core.graph import Graph, Network
from chipfit.data.load import load_data
from chipfit.evaluate.as_published import Clock, Effort, put, rounds, variation, worst
from chipfit.nets.build import build
from chipfit.nets.trace import trace
from chipfit.nets.zoo import conv_bn, head
from chipfit.search.grassroots import Grassroots, Published
from chipfit.space.program import Place, Program, alone, parse
from chipfit.space.program.opcodes import FAITHFUL
from chipfit.space.program.seeds import same
from chipfit.train.loop import Schedule, quality, train
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


BY_MACS = Clock(lambda graph: graph.total_macs, lambda graph: {o.name: graph.macs(o) for o in graph})


def net() -> torch.nn.Module:
    wide = [*conv_bn(1, 8), torch.nn.ReLU(), *conv_bn(8, 16, 3, 2), torch.nn.ReLU(), *conv_bn(16, 16), torch.nn.ReLU()]
    return torch.nn.Sequential(*wide, *head(16, 10))


def test_the_least_efficient_layers_that_were_not_touched_yet() -> None:
    graph = trace(net().eval(), (1, 8, 8)).graph
    names = [o.name for o in graph if o.kind == "conv"]
    ms = BY_MACS.operators(graph)
    assert worst(graph, ms, (), 2) == (names[2], names[1])
    assert worst(graph, ms, {names[2]}, 1) == (names[1],)


def test_what_keeps_its_shape_keeps_its_weights() -> None:
    network = trace(net().eval(), (1, 8, 8))
    layer = [o for o in network.graph if o.kind == "conv"][2]
    rng = np.random.default_rng(0)
    kept = put(network, (layer.name,), parse("conv(x, KxK, M)"), rng)
    assert kept.digest() == network.digest()
    other = put(network, (layer.name,), parse("conv(x, Kx1, M); relu(_); conv(_, 1xK, M)"), rng)
    assert other.weights.keys() - network.weights.keys() == {f"{layer.weights}#0.weight", f"{layer.weights}#0.bias"}
    assert all(other.weights[n] is w for n, w in network.weights.items() if n != layer.array("weight"))


def test_rounds_make_a_network_that_is_cheaper_and_still_answers() -> None:
    dataset = load_data("digits")
    torch.manual_seed(0)
    module = net()
    train(module, dataset, Schedule(100, 0.1, batch=64), np.random.default_rng(0))
    network = trace(module, dataset.input_shape)
    effort = Effort(together=1, steps=8, batch=32, judged=120)
    found = rounds(network, dataset, BY_MACS, 0, most=2, effort=effort, constants=Published(5, 3))
    assert len(found) == 2
    assert not set(found[0].layers) & set(found[1].layers)
    assert all(1 < each.looked_at <= 5 + 3 * 4 for each in found)
    graph: Graph = found[-1].network.graph
    assert graph.total_macs <= network.graph.total_macs
    assert quality(build(found[-1].network), dataset, dataset.validation) > 0.5
