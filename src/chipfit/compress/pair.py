"""The original and the compressed network, walked side by side, so that each layer can be held against its model.

What an operator of the compressed network should compute is what the operator that it stands for computed in the
original, on the channels that are left of it (`core.edits.Edited`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

import torch
from torch import Tensor

from chipfit.compress.forward import Tensors, Walk, placed
from chipfit.compress.held import Grids
from chipfit.compress.moments import Moments, moments
from chipfit.core.channels import array_axis
from chipfit.core.edits import Edited, Same
from chipfit.core.graph import Graph, Network, Op


class Original:
    """The original's values on some inputs, computed in order as far as somebody asks."""

    def __init__(self, network: Network, inputs: Tensor) -> None:
        self.graph = network.graph
        self.inputs = inputs
        self._walk = Walk(network.graph, placed(network.weights), {network.graph.ops[0].name: inputs})
        self._next = 1
        self._noted: set[str] = set()
        self._moments: dict[str, Moments] = {}

    def want(self, values: Iterable[str], moments: Iterable[str] = ()) -> None:
        """Says whose values, and whose moments only, will be asked for; values stay until they are released."""
        self._walk.keep |= set(values)
        self._noted |= set(moments)

    def value(self, name: str) -> Tensor:
        """The output of an operator that was wanted."""
        while name not in self._walk.values:
            o = self.graph.ops[self._next]
            value = self._walk.step(o)
            if o.name in self._noted:
                self._moments[o.name] = moments(value, array_axis(o))
            self._next += 1
        return self._walk.values[name]

    def moments(self, name: str) -> Moments:
        """Mean and variance of each channel, or output of a dense layer (`core.channels`)."""
        if name not in self._moments:
            self._noted.add(name)
            value = self.value(name)
            if name not in self._moments:  # it was there before
                self._moments[name] = moments(value, array_axis(self.graph[name]))
        return self._moments[name]

    def release(self, name: str) -> None:
        """Frees a value as soon as nobody reads it."""
        self._walk.release(name)


class Pair:
    """One compressed network beside its original. `small` holds its values, op by op, and its weights.

    `made` explains its graph. Goals are released once they were used, unless the original is `shared` with other pairs.
    Only arrays of the operators `solved` may be changed, if they are named: the others are not copied.
    """

    def __init__(
        self,
        original: Original,
        small: Network,
        made: Edited,
        *,
        shared: bool = False,
        solved: Iterable[Op] | None = None,
    ) -> None:
        self.original = original
        self.graph = small.graph
        self.of = made.stands_for
        self.grids = Grids(small.graph)
        own = small.graph if solved is None else solved
        copied = {name for o in own for name in small.graph.weight_shapes(o)}
        self.weights: Tensors = {n: t.clone() if n in copied else t for n, t in placed(small.weights).items()}
        self.small = Walk(small.graph, self.weights, {small.graph.ops[0].name: original.inputs})
        self._channels = made.channels
        self._unused = None if shared else Counter(self.of.values())

    def goal(self, name: str) -> Tensor:
        """What the compressed network's operator should compute: the original's values on the kept channels."""
        value = self.original.value(self.of[name])
        for axis, places in self._channels.get(name, {}).items():
            value = value[(slice(None),) * (axis + 1) + (torch.tensor(places),)]
        return value

    def goal_moments(self, name: str) -> Moments:
        """Mean and variance of each channel of `goal`."""
        found, axis = self.original.moments(self.of[name]), array_axis(self.graph[name])
        places = self._channels.get(name, {}).get(axis)
        if places is None:
            return found
        rows = list(places)
        return Moments(found.mean[rows], found.var[rows])

    def done(self, o: Op) -> None:
        """Says that the goal of this operator will not be asked for again."""
        model = self.of.get(o.name)
        if self._unused is not None and model is not None:
            self._unused[model] -= 1
            if not self._unused[model]:
                self.original.release(model)

    def network(self) -> Network:
        """The compressed network with its weights as they are now, those in fixed point on their grid."""
        self.grids.settle(self.weights)
        return Network(self.graph, {name: w.numpy(force=True) for name, w in self.weights.items()})


def shortcuts_first(graph: Graph) -> list[Op]:
    """The graph's operators in an order in which a block's shortcut is computed before its body.

    The body's last layer can then make good what the shortcut does wrong.
    """
    depth: dict[str, int] = {}
    for o in graph:
        depth[o.name] = 1 + max((depth[i] for i in o.inputs), default=0)
    order: dict[str, Op] = {}
    stack = [(graph[graph.output], False)]
    while stack:
        o, ready = stack.pop()
        if ready:
            order[o.name] = o
        elif o.name not in order:
            stack.append((o, True))
            # the last pushed is visited first
            stack += [(graph[i], False) for i in sorted(set(o.inputs), key=lambda i: -depth[i])]
    return list(order.values())


def changed(original: Graph, made: Edited, more: Collection[str] = ()) -> frozenset[str]:
    """Operators of the compressed graph whose values will differ from the original's.

    By structure, by arrays, by goal, or because they are among `more`; and all that reads them.
    """
    found: set[str] = set()
    for o in made.graph:
        own = o != original.by_name.get(o.name) or made.stands_for.get(o.name) != o.name or o.name in more
        own = own or any(made.arrays[name] != Same(name) for name in made.graph.weight_shapes(o))
        if own or not found.isdisjoint(o.inputs):
            found.add(o.name)
    return frozenset(found)
