"""One change, three worlds: an edit does to weights what it says it does to the graph.

    trace(build(apply_network(network, edits))).graph  ==  apply_graph(network.graph, edits)

for every edit and every pair of edits. Nothing here imports a framework: the subclass brings the callables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

from chipfit.core.edits import Edit, Precision, from_plain, to_plain
from chipfit.core.graph import Graph, Network

Module = Any
"""Whatever `build` makes and `trace` reads, such as a torch module."""


class EditLaws:
    """Subclass as `Test...`; give a trained network, edits that fit it, and the four functions."""

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

    def apply_graph(self) -> Callable[[Graph, Sequence[Edit]], Graph]:
        """Edits a graph."""
        raise NotImplementedError

    def _cases(self) -> Iterator[tuple[Edit, ...]]:
        edits = tuple(self.edits())
        assert edits, "no edits were given"
        yield from ((e,) for e in edits)
        yield from combinations(edits, 2)

    def test_no_edits_change_nothing(self) -> None:
        network = self.network()
        assert self.apply_graph()(network.graph, ()).key == network.graph.key
        assert self.apply_network()(network, ()).digest() == network.digest()

    def test_graph_and_weights_agree(self) -> None:
        network, on_graph, on_network = self.network(), self.apply_graph(), self.apply_network()
        for case in self._cases():
            edited = on_network(network, case)
            assert edited.graph.key == on_graph(network.graph, case).key, f"{case}: the two graphs differ"
            wanted = {n: s for o in edited.graph for n, s in edited.graph.weight_shapes(o).items()}
            shapes = {n: w.shape for n, w in edited.weights.items()}
            assert shapes == wanted, (
                f"{case}: weights do not fit the graph: {set(shapes.items()) ^ set(wanted.items())}"
            )

    def test_what_is_built_traces_to_the_same_graph(self) -> None:
        network, on_graph = self.network(), self.apply_graph()
        trace, build, on_network = self.trace(), self.build(), self.apply_network()
        for case in self._cases():
            traced = trace(build(on_network(network, case)), network.graph.input_shape)
            want = on_graph(network.graph, case)
            assert traced.graph.key == want.key, f"{case}: built and traced, it is another graph"
            assert (traced.graph.total_macs, traced.graph.total_params) == (want.total_macs, want.total_params)

    def test_order_does_not_matter(self) -> None:
        network, on_graph, on_network = self.network(), self.apply_graph(), self.apply_network()
        for a, b in combinations(self.edits(), 2):
            assert on_graph(network.graph, (a, b)).key == on_graph(network.graph, (b, a)).key, f"{a}, {b}"
            assert on_network(network, (a, b)).digest() == on_network(network, (b, a)).digest(), f"{a}, {b}"

    def test_an_edit_changes_the_graph_and_costs_no_more(self) -> None:
        graph, on_graph = self.network().graph, self.apply_graph()
        for edit in self.edits():
            edited = on_graph(graph, (edit,))
            assert edited.key != graph.key, f"{edit} changes nothing"
            assert edited.total_macs <= graph.total_macs, f"{edit} adds MACs"
            assert edited.total_params <= graph.total_params, f"{edit} adds parameters"
            if isinstance(edit, Precision):
                assert edited.total_macs == graph.total_macs, f"{edit} changes MACs"
            assert edited.input_shape == graph.input_shape, f"{edit} changes the input"
            assert edited[edited.output].shape == graph[graph.output].shape, f"{edit} changes the answer's shape"

    def test_what_is_edited_stays_as_it_was(self) -> None:
        network, on_network = self.network(), self.apply_network()
        before = network.digest()
        for edit in self.edits():
            on_network(network, (edit,))
        assert network.digest() == before, "the network that was edited changed"

    def test_edits_can_be_written_and_read(self) -> None:
        graph, on_graph = self.network().graph, self.apply_graph()
        for case in self._cases():
            read = from_plain(to_plain(case))  # type: ignore[arg-type]
            assert set(read) == set(case), f"{case} reads back as {read}"
            assert on_graph(graph, read).key == on_graph(graph, case).key
