"""The original and the compressed network, walked side by side, so that each layer can be held against its model.

What should an operator of the compressed network compute? What the operator of the same name computed in the
original, on the channels that are left. Where blocks were skipped, more: users of the last skipped block now read what
stands in its place, so that this value should be what the skipped blocks made. Pushed back through the activation, it
becomes the goal of the layers before, which thus absorb the linear part of the skipped blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chipfit.compress.edit import kept
from chipfit.compress.forward import Tensors, Walk, tensors
from chipfit.core.edits import Edit, Skip, Width
from chipfit.core.graph import ACTIVATIONS, Graph, Network
from chipfit.space.groups import channel_groups, residual_blocks


def counterparts(original: Graph, small: Graph, edits: Sequence[Edit]) -> Mapping[str, str]:
    """For each operator of the compressed graph the operator of the original whose output it should have."""
    same = {o.name: o.name for o in small}
    shortcut = {b.name: b.shortcut for b in residual_blocks(original)}
    skipped = {e.block for e in edits if isinstance(e, Skip)}
    if not skipped:
        return same
    stands: dict[str, str] = {}  # original -> what its users read now
    for o in original:
        if o.name in skipped:
            stands[o.name] = stands[shortcut[o.name]]
        elif o.name in same:
            stands[o.name] = o.name
        elif o.kind == "relu" and stands.get(o.inputs[0], "") in same:
            stands[o.name] = stands[o.inputs[0]]  # a relu of a relu, which went with the block before it
    goal = same | {now: name for name, now in stands.items()}  # the last one
    for o in reversed(small.ops):
        model = original[goal[o.name]]
        if o.kind in ACTIVATIONS and model.kind == o.kind and small.users[o.inputs[0]] == (o.name,):
            goal[o.inputs[0]] = model.inputs[0]
    return goal


class Pair:
    """Both networks on the same inputs. `small` holds values of the compressed network, op by op, and its weights.

    The original runs ahead as far as `goal` asks, and keeps what is `wanted` until it was asked for.
    """

    def __init__(
        self, original: Network, small: Network, edits: Sequence[Edit], inputs: Tensor, wanted: Iterable[str]
    ) -> None:
        self.original = original.graph
        self.graph = small.graph
        self.of = counterparts(original.graph, small.graph, edits)
        self.weights: Tensors = {name: torch.from_numpy(a.copy()) for name, a in small.weights.items()}
        self.small = Walk(small.graph, self.weights, {small.graph.ops[0].name: inputs})
        wanted = frozenset(self.of[w] for w in wanted)
        self._walk = Walk(original.graph, tensors(original.weights), {original.graph.ops[0].name: inputs}, wanted)
        self._next = 1
        self._segments = channel_groups(original.graph).segments
        self._keep = {e.group: np.array(e.keep) for e in edits if isinstance(e, Width)}

    def goal(self, name: str) -> Tensor:
        """What the compressed network's operator should compute: the original's values on the kept channels."""
        source = self.of[name]
        while source not in self._walk.values:
            self._walk.step(self.original.ops[self._next])
            self._next += 1
        value = self._walk.values[source]
        rows = self.kept(name)
        return value if rows is None else value[:, torch.from_numpy(rows)]

    def kept(self, name: str) -> NDArray[np.intp] | None:
        """Channels of the original that the operator's output still has; None for all."""
        return kept(self._segments[self.of[name]], self._keep)

    def network(self) -> Network:
        """The compressed network with its weights as they are now."""
        return Network(self.graph, {name: w.numpy() for name, w in self.weights.items()})
