"""The original and the compressed network, walked side by side, so that each layer can be held against its model.

What should an operator of the compressed network compute? What the operator of the same name computed in the
original, on the channels that are left. Where blocks were skipped, more: users of the last skipped block now read what
stands in its place, so that this value should be what the skipped blocks made. Pushed back through the activation, it
becomes the goal of the layers before, which thus absorb what they can of the skipped blocks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chipfit.compress.edit import kept
from chipfit.compress.forward import Tensors, Walk, placed
from chipfit.compress.moments import Moments, moments
from chipfit.core.channels import array_axis
from chipfit.core.edits import Edit
from chipfit.core.graph import ACTIVATIONS, Graph, Network, Op
from chipfit.space.edits import Skip, Width
from chipfit.space.groups import Coupling, channel_groups, residual_blocks


def counterparts(original: Graph, small: Graph, edits: Sequence[Edit]) -> dict[str, str]:
    """For each operator of the compressed graph the operator of the original whose output it should have."""
    same = {o.name: o.name for o in small}
    skipped = {e.block for e in edits if isinstance(e, Skip)}
    if not skipped:
        return same
    shortcut = {b.name: b.shortcut for b in residual_blocks(original)}
    stands: dict[str, str] = {}  # operator of the original -> what its users read now
    for o in original:
        if o.name in skipped:
            stands[o.name] = stands[shortcut[o.name]]
        elif o.name in same:
            stands[o.name] = o.name
        elif o.kind == "relu" and o.inputs[0] in stands:
            stands[o.name] = stands[o.inputs[0]]  # a relu of a relu, which went with the block before it
    goal = same | {now: name for name, now in stands.items()}  # the last one
    for o in reversed(small.ops):
        model = original[goal[o.name]]
        if o.kind in ACTIVATIONS and model.kind == o.kind and small.users[o.inputs[0]] == (o.name,):
            goal[o.inputs[0]] = model.inputs[0]
    return goal


class Original:
    """The original's values on some inputs, computed in order as far as somebody asks."""

    def __init__(self, network: Network, inputs: Tensor) -> None:
        self.graph = network.graph
        self.inputs = inputs
        self.coupling: Coupling = channel_groups(network.graph)
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

    Goals are released once they were used, unless the original is `shared` with other pairs.
    """

    def __init__(self, original: Original, small: Network, edits: Sequence[Edit], *, shared: bool = False) -> None:
        self.original = original
        self.graph = small.graph
        self.of = counterparts(original.graph, small.graph, edits)
        self.weights: Tensors = {name: t.clone() for name, t in placed(small.weights).items()}
        self.small = Walk(small.graph, self.weights, {small.graph.ops[0].name: original.inputs})
        self._keep = {e.group: np.array(e.keep) for e in edits if isinstance(e, Width)}
        self._unused = None if shared else Counter(self.of.values())

    def goal(self, name: str) -> Tensor:
        """What the compressed network's operator should compute: the original's values on the kept channels."""
        value, rows = self.original.value(self.of[name]), self._kept(name)
        return value if rows is None else value[:, torch.from_numpy(rows)]

    def goal_moments(self, name: str) -> Moments:
        """Mean and variance of each channel of `goal`."""
        found, rows = self.original.moments(self.of[name]), self._kept(name)
        return found if rows is None else Moments(found.mean[rows], found.var[rows])

    def done(self, o: Op) -> None:
        """Says that the goal of this operator will not be asked for again."""
        if self._unused is not None:
            self._unused[self.of[o.name]] -= 1
            if not self._unused[self.of[o.name]]:
                self.original.release(self.of[o.name])

    def _kept(self, name: str) -> NDArray[np.intp] | None:
        return kept(self.original.coupling.segments[self.of[name]], self._keep)

    def network(self) -> Network:
        """The compressed network with its weights as they are now."""
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


def changed(original: Graph, small: Graph, of: Mapping[str, str], more: Collection[str] = ()) -> frozenset[str]:
    """Operators of the compressed graph whose values will differ from the original's.

    By structure, by goal, or because they are among `more`; and all that reads them.
    """
    found: set[str] = set()
    for o in small:
        own = o != original.by_name.get(o.name) or of[o.name] != o.name or o.name in more
        if own or not found.isdisjoint(o.inputs):
            found.add(o.name)
    return frozenset(found)
