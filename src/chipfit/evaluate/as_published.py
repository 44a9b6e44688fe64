"""The published operator search (Benmeziane et al., arXiv 2309.11246) on a network, as the arm that others are held to.

Round by round: the least efficient operators of one kind are found, up to some number of them get one program together,
and `search.grassroots` looks for it. Every candidate is put into the network, fine-tuned for a fixed number of
steps, and worth its quality less a penalty on latency. The network with the best one goes into the next round.

As published: the first generation is the layer's own graph with changes by chance, children are the beginning of one
parent and the end of the other, each node of a child gets another instruction or another constant with .1, from the 30
published instructions and no others; what is new begins with random weights, what has the shape it had keeps its own.
What differs, and why: types are checked, since what is ill-typed cannot be run; widths are relative to the layer, as in
all programs here; batch norm is folded when latency is measured, since no delivered network has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from chipfit.core.data import Dataset
from chipfit.core.edits import Swap
from chipfit.core.graph import Graph, Network
from chipfit.core.kinds import Shape
from chipfit.nets.build import GraphModule, build
from chipfit.search.grassroots import PUBLISHED, Grassroots, Published, Variation, least_efficient
from chipfit.space.edits import apply
from chipfit.space.program import Place, Program, place_of
from chipfit.space.program.canonical import structural_hash
from chipfit.space.program.lower import fits
from chipfit.space.program.mutate import changed_by_node, crossed, mutated
from chipfit.space.program.opcodes import FAITHFUL
from chipfit.space.program.seeds import same
from chipfit.space.programmed import replaceable
from chipfit.train.loop import Schedule, quality, train


@dataclass(frozen=True, slots=True)
class Clock:
    """A device as this search sees it: milliseconds of a graph, and of its operators by name."""

    whole: Callable[[Graph], float]
    operators: Callable[[Graph], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Effort:
    """What the published description leaves open.

    Attributes:
        together: operators that are given one program in a round, at most.
        steps: of each candidate's fine-tuning.
        rate: the peak of its learning rate.
        batch: inputs of one of its steps.
        judged: validation inputs that it is judged by, at most.
        penalty: quality that all of the latency is worth: fitness = quality - penalty · ms / ms before.
    """

    together: int = 3
    steps: int = 20
    rate: float = 0.02
    batch: int = 64
    judged: int = 1000
    penalty: float = 0.3


EFFORT = Effort()


@dataclass(frozen=True, slots=True)
class Round:
    """What one round gave: the layers, the program that is in their place, candidates that were looked at."""

    layers: tuple[str, ...]
    program: Program
    looked_at: int
    network: Network


def rounds(
    network: Network,
    dataset: Dataset,
    clock: Clock,
    seed: int,
    *,
    most: int = 2,
    effort: Effort = EFFORT,
    constants: Published = PUBLISHED,
    done: Callable[[], bool] = lambda: False,
) -> list[Round]:
    """Up to so many rounds of the published search; the last one has the network that was made.

    `done` is asked between generations.
    """
    found: list[Round] = []
    rng = np.random.default_rng(seed)
    while len(found) < most and not done():
        touched = {layer for each in found for layer in each.layers}
        layers = worst(network.graph, clock.operators(network.graph), touched, effort.together)
        if not layers:
            break
        candidates = Candidates(network, layers, dataset, clock, effort, seed)
        place = place_of(network.graph, layers[0])
        key = structural_hash
        search = Grassroots(same(place), variation(place), candidates.fitness, rng, key, constants)
        program = search.run(done)
        network = candidates.made(program)
        found.append(Round(layers, program, len(search.looked_at), network))
    return found


def worst(graph: Graph, ms: Mapping[str, float], touched: Collection[str], most: int) -> tuple[str, ...]:
    """The least efficient convolutions that may be replaced and were not yet, by time and weights."""
    taken: dict[str, float] = {}
    weights: dict[str, int] = {}
    for name in replaceable(graph):
        if graph[name].kind == "conv" and name in ms and name not in touched:
            taken[name] = ms[name]
            weights[name] = math.prod(graph.roles(graph[name])["weight"])
    return least_efficient(taken, weights, most)


def variation(place: Place) -> Variation[Program]:
    """How candidates for a place come to be, as published."""
    original = same(place)

    def first(rng: np.random.Generator) -> Program | None:
        return mutated(original, place, rng, opcodes=FAITHFUL)

    def cross(a: Program, b: Program, rng: np.random.Generator) -> Program | None:
        return crossed(a, b, place, rng)

    def mutate(program: Program, rate: float, rng: np.random.Generator) -> Program | None:
        return changed_by_node(program, place, rate, rng, opcodes=FAITHFUL)

    return Variation(first, cross, mutate)


class Candidates:
    """Programs in the place of some layers of a network, each fine-tuned and judged when it is asked for."""

    def __init__(
        self, network: Network, layers: Sequence[str], dataset: Dataset, clock: Clock, effort: Effort, seed: int
    ) -> None:
        self._network, self._layers, self._dataset = network, layers, dataset
        self._clock, self._effort, self._seed = clock, effort, seed
        self._before = clock.whole(network.graph)
        self._judges = dataset.validation.take(slice(0, effort.judged))

    def fitness(self, program: Program) -> float | None:
        """Quality after fine-tuning less the penalty on latency; None where the program fits not all of the layers."""
        graph = self._network.graph
        if not all(fits(program, place_of(graph, layer)) for layer in self._layers):
            return None
        net = self._tuned(program)
        judged = quality(net, self._dataset, self._judges)
        worth = self._dataset.task.metric.worth(judged)
        ms = self._clock.whole(swapped(graph, self._layers, program))
        return worth - self._effort.penalty * ms / self._before

    def made(self, program: Program) -> Network:
        """The fine-tuned network with a program, the one that was judged."""
        return self._tuned(program).network()

    def _tuned(self, program: Program) -> GraphModule:
        rng = np.random.default_rng(self._seed)
        torch.manual_seed(self._seed)
        net = build(put(self._network, self._layers, program, rng))
        schedule = Schedule(self._effort.steps, self._effort.rate, self._effort.batch)
        train(net, self._dataset, schedule, rng)
        return net


def swapped(graph: Graph, layers: Sequence[str], program: Program) -> Graph:
    """The graph with a program in the place of each of these layers."""
    return apply(graph, [Swap(layer, program.text) for layer in layers])


def put(network: Network, layers: Sequence[str], program: Program, rng: np.random.Generator) -> Network:
    """The network with a program in the place of these layers: arrays that have the shape they had stay."""
    graph, weights = swapped(network.graph, layers, program), {}
    for o in graph:
        for role, shape in graph.roles(o).items():
            name = o.array(role)
            known = network.weights.get(name)
            weights[name] = known if known is not None and known.shape == shape else _random(role, shape, rng)
    return Network(graph, weights)


def _random(role: str, shape: Shape, rng: np.random.Generator) -> NDArray[np.float32]:
    """Kernels as large as keeps the size of values (He et al.), factors and variances of 1, offsets of 0."""
    values = np.zeros(shape)
    if role == "weight" and len(shape) > 1:
        values = rng.normal(size=shape) * (2.0 / math.prod(shape[1:])) ** 0.5
    elif role in ("weight", "scale", "running_var"):
        values = np.ones(shape)
    return values.astype(np.float32)
