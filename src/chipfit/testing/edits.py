"""One change, three worlds: an edit does to weights what it says it does to the graph, and says what that is.

    trace(build(apply_network(network, edits))).graph  ==  edited(network.graph, edits).graph

for every edit and every pair of edits, and the weights of the edited network are those of the original, as
`Edited.arrays` says. Nothing here imports a framework: the subclass brings the callables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chipfit.core.edits import Edit, Edited, Factor, Fitted, Masked, Padded, Rounded, Same, Source, Take
from chipfit.core.graph import STORED, Graph, Network, Op
from chipfit.core.types import Plain

Module = Any
"""Whatever `build` makes and `trace` reads, such as a torch module."""


class EditLaws:
    """Subclass as `Test...`; give a trained network, edits that fit it, and the functions that carry them out."""

    def network(self) -> Network:
        """The network that is edited, the same at every call."""
        raise NotImplementedError

    def edits(self) -> Sequence[Edit]:
        """Edits of the network, on different groups, blocks or sites."""
        raise NotImplementedError

    def trace(self) -> Callable[[Module, tuple[int, ...]], Network]:
        """Reads a module, given the shape of one input."""
        raise NotImplementedError

    def build(self) -> Callable[[Network], Module]:
        """Makes a module of a network."""
        raise NotImplementedError

    def apply_network(self) -> Callable[[Network, Sequence[Edit]], Network]:
        """Edits a network with its weights."""
        raise NotImplementedError

    def edited(self) -> Callable[[Graph, Sequence[Edit]], Edited]:
        """Edits a graph, and explains what comes of it."""
        raise NotImplementedError

    def to_plain(self) -> Callable[[Sequence[Edit]], Plain]:
        """Writes edits as JSON-ready values."""
        raise NotImplementedError

    def from_plain(self) -> Callable[[Any], Sequence[Edit]]:
        """Reads what `to_plain` wrote."""
        raise NotImplementedError

    def grows(self) -> Callable[[Edit], bool]:
        """Whether an edit may add MACs and parameters, as one that widens kernels does; by default none may."""
        return lambda edit: False

    def _cases(self) -> Iterator[tuple[Edit, ...]]:
        edits = tuple(self.edits())
        assert edits, "no edits were given"
        yield from ((e,) for e in edits)
        yield from combinations(edits, 2)

    def test_no_edits_change_nothing(self) -> None:
        network = self.network()
        assert self.edited()(network.graph, ()) == Edited.nothing(network.graph)
        assert self.apply_network()(network, ()).digest() == network.digest()

    def test_graph_and_weights_agree(self) -> None:
        network, on_graph, on_network = self.network(), self.edited(), self.apply_network()
        for case in self._cases():
            edited = on_network(network, case)
            assert edited.graph.key == on_graph(network.graph, case).graph.key, f"{case}: the two graphs differ"
            wanted = _shapes(edited.graph)
            shapes = {n: w.shape for n, w in edited.weights.items()}
            assert shapes == wanted, (
                f"{case}: weights do not fit the graph: {set(shapes.items()) ^ set(wanted.items())}"
            )

    def test_weights_are_what_is_said_of_the_arrays(self) -> None:
        network, on_graph, on_network = self.network(), self.edited(), self.apply_network()
        for case in self._cases():
            sources, weights = on_graph(network.graph, case).arrays, on_network(network, case).weights
            assert sources.keys() == weights.keys(), f"{case}: not explained, or not there: {sources.keys() ^ weights}"
            told = [name for name, source in sources.items() if not isinstance(source, Fitted)]
            for name in told:  # how a program is fitted is its own business
                array, said = weights[name], _said(sources[name], network.weights)
                assert _alike(array, said, sources[name]), f"{case}: array {name!r} is not {sources[name]}"

    def test_every_operator_stands_for_one_of_the_original(self) -> None:
        graph, on_graph = self.network().graph, self.edited()
        for case in self._cases():
            edited = on_graph(graph, case)
            new = edited.within.keys()
            known = edited.stands_for.keys() | new
            assert known == edited.graph.by_name.keys(), f"{case}: not every operator has a model, or is new in a layer"
            assert not new & (edited.stands_for.keys() | graph.by_name.keys()), f"{case}: {new} are not all new"
            assert set(edited.within.values()) <= edited.stands_for.keys(), f"{case}: {new} are in layers that are gone"
            for o in (edited.graph[name] for name in edited.stands_for):
                model = graph.by_name.get(edited.stands_for[o.name])
                assert model is not None, f"{case}: {o.name!r} stands for {edited.stands_for[o.name]!r}, not there"
                said = _held(model, edited.channels.get(o.name, {}))
                assert o.shape == said, f"{case}: {o.name!r} has the shape {o.shape}, what it stands for {said}"

    def test_what_is_built_traces_to_the_same_graph(self) -> None:
        network, on_graph = self.network(), self.edited()
        trace, build, on_network = self.trace(), self.build(), self.apply_network()
        for case in self._cases():
            traced = trace(build(on_network(network, case)), network.graph.input_shape).graph
            want = on_graph(network.graph, case).graph
            assert _as_traced(traced).key == _as_traced(want).key, f"{case}: built and traced, it is another graph"
            assert (traced.total_macs, traced.total_params) == (want.total_macs, want.total_params)

    def test_order_does_not_matter(self) -> None:
        network, on_graph, on_network = self.network(), self.edited(), self.apply_network()
        for a, b in combinations(self.edits(), 2):
            assert on_graph(network.graph, (a, b)) == on_graph(network.graph, (b, a)), f"{a}, {b}"
            assert on_network(network, (a, b)).digest() == on_network(network, (b, a)).digest(), f"{a}, {b}"

    def test_an_edit_changes_the_graph_and_costs_no_more(self) -> None:
        graph, on_graph, grows = self.network().graph, self.edited(), self.grows()
        for edit in self.edits():
            made = on_graph(graph, (edit,))
            edited = made.graph
            if made.arrays == Edited.nothing(graph).arrays:
                assert edited.total_macs == graph.total_macs, f"{edit} leaves all arrays, and changes MACs"
            assert edited.key != graph.key, f"{edit} changes nothing"
            if not grows(edit):
                assert edited.total_macs <= graph.total_macs, f"{edit} adds MACs"
                assert edited.total_params <= graph.total_params, f"{edit} adds parameters"
            assert edited.input_shape == graph.input_shape, f"{edit} changes the input"
            assert edited[edited.output].shape == graph[graph.output].shape, f"{edit} changes the answer's shape"

    def test_what_is_edited_stays_as_it_was(self) -> None:
        network, on_network = self.network(), self.apply_network()
        before = network.digest()
        for edit in self.edits():
            on_network(network, (edit,))
        assert network.digest() == before, "the network that was edited changed"

    def test_edits_can_be_written_and_read(self) -> None:
        graph, on_graph, write, read = self.network().graph, self.edited(), self.to_plain(), self.from_plain()
        for case in self._cases():
            again = tuple(read(write(case)))
            assert set(again) == set(case), f"{case} reads back as {again}"
            assert on_graph(graph, again) == on_graph(graph, case)


def _as_traced(graph: Graph) -> Graph:
    """The graph without bits and without what is said of values of weights, of which a module need not know."""
    ops = []
    for o in graph:
        known = tuple(attribute for attribute in o.attrs if attribute[0] not in STORED)
        ops.append(replace(o, bits=32, attrs=known))
    return Graph(tuple(ops), graph.output)


def _shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    return {name: shape for o in graph for name, shape in graph.weight_shapes(o).items()}


def _said(source: Source, weights: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The array that a source describes, made value by value."""
    if isinstance(source, Same | Take):
        array = weights[source.name]
        for axis, places in (source.axes if isinstance(source, Take) else {}).items():
            array = array.take(places, axis)
        return array
    inner = _said(source.of, weights)
    if isinstance(source, Padded):
        return _surrounded(inner, source)
    assert not isinstance(source, Fitted), "how a program is fitted is its own business"
    return _cut(inner, source) if isinstance(source, Masked) else _in_fixed_point(inner, source, weights)


def _surrounded(inner: NDArray[Any], source: Padded) -> NDArray[Any]:
    for axis, (before, after) in source.around.items():
        parts = [np.zeros((*inner.shape[:axis], n, *inner.shape[axis + 1 :]), inner.dtype) for n in (before, after)]
        inner = np.concatenate([parts[0], inner, parts[1]], axis)
    return inner


def _cut(inner: NDArray[Any], source: Masked) -> NDArray[Any]:
    kernels = inner.reshape(-1, inner.shape[-2] * inner.shape[-1])
    cut = np.zeros_like(kernels)
    for kernel, left in zip(kernels, cut, strict=True):
        sums = [float(np.square(kernel[list(pattern)].astype(float)).sum()) for pattern in source.patterns]
        best = list(source.patterns[sums.index(max(sums))])  # the first of equals
        left[best] = kernel[best]
    return cut.reshape(inner.shape)


def _in_fixed_point(inner: NDArray[Any], source: Rounded, weights: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    made = np.empty(inner.shape)
    factors = _factors(source.factor, len(inner), weights)
    for row, (values, factor) in enumerate(zip(inner, factors, strict=True)):
        if not factor:  # nothing of this row is left: it is stored as zeros, whatever it is here
            made[row] = values
            continue
        numbers = [_number(value * factor, source) for value in values.ravel().tolist()]
        made[row] = np.array(numbers).reshape(values.shape) / factor
    return made.astype(inner.dtype)


def _number(value: float, source: Rounded) -> float:
    """The fixed-point number nearest to a value, of halves the one above."""
    steps, half = 2.0**source.fraction, 2.0 ** (source.integer + source.fraction - 1)
    whole = math.floor(value * steps + 0.5)
    return min(max(whole, -half), half - 1) / steps


def _factors(factor: Factor | None, rows: int, weights: Mapping[str, NDArray[Any]]) -> list[float]:
    if factor is None:
        return [1.0] * rows
    scale = np.broadcast_to(_said(factor.scale, weights), rows).tolist()
    variance = [1.0] * rows if factor.variance is None else _said(factor.variance, weights).tolist()
    return [s / math.sqrt(v + factor.eps) for s, v in zip(scale, variance, strict=True)]


def _alike(array: NDArray[Any], said: NDArray[Any], source: Source) -> bool:
    """Equal to the last bit, or where they were rounded and divided again, as far as single precision tells."""
    if isinstance(source, Rounded) and source.factor is not None:
        return array.shape == said.shape and np.allclose(array, said, rtol=1e-6, atol=0.0)
    return np.array_equal(array, said)


def _held(model: Op, channels: Mapping[int, Sequence[int]]) -> tuple[int, ...]:
    """The shape of these places, by axis, of an operator's output."""
    return tuple(len(channels[n]) if n in channels else size for n, size in enumerate(model.shape))
