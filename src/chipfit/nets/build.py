"""A Graph becomes a torch module again: what is trained, scored and captured is exactly what is exported."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from chipfit.core.graph import Graph, Network, Op, Weights
from chipfit.nets.execute import layered, plain
from chipfit.nets.executors.forms import Function


class Layer(nn.Module):
    """An operator's arrays, as parameters where they are learnt, else as buffers, and what it computes of them."""

    def __init__(self, o: Op, shapes: Mapping[str, tuple[int, ...]], learnt: Collection[str]) -> None:
        """`shapes` by role, of which some are `learnt`; the arrays are zero until they are given."""
        super().__init__()
        self._function = layered(o)
        for role, shape in shapes.items():
            if role in learnt:
                self.register_parameter(role, nn.Parameter(torch.zeros(shape)))
            else:
                self.register_buffer(role, torch.zeros(shape))

    def forward(self, *inputs: Tensor) -> Tensor:
        """The operator's output for inputs that have a batch axis."""
        return self._function(partial(getattr, self), *inputs)


class GraphModule(nn.Module):
    """Runs a graph operator by operator; layers and single arrays are shared where the graph says so."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.layers = nn.ModuleDict()
        arrays: dict[str, tuple[nn.Module, str]] = {}
        place = {o.name: n for n, o in enumerate(graph)}
        self._plan: list[tuple[Function, tuple[int, ...]]] = []
        for o in graph.ops[1:]:
            if o.weights and (key := _key(o)) not in self.layers:
                self.layers[key] = _layer(graph, o)
                _tie(self.layers[key], {role: o.array(role) for role in graph.roles(o)}, arrays)
            function = self.layers[_key(o)] if o.weights else plain(o)
            self._plan.append((function, tuple(place[i] for i in o.inputs)))
        self._out = place[graph.output]
        last = {i: n for n, (_, inputs) in enumerate(self._plan) for i in inputs}
        self._free: list[list[int]] = [[] for _ in self._plan]
        for i, n in last.items():
            if i != self._out:
                self._free[n].append(i)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, classes) of inputs (n, C, H, W)."""
        values: list[Tensor | None] = [x]
        for (function, inputs), free in zip(self._plan, self._free, strict=True):
            values.append(function(*(values[i] for i in inputs)))
            for i in free:
                values[i] = None
        out = values[self._out]
        assert out is not None
        return out

    def capture(self, x: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """The outputs of the named operators for inputs (n, C, H, W)."""
        values = {o.name: y for o, y in self.walk(x)}
        return {n: values[n] for n in set(names)}

    def walk(self, x: Tensor) -> Iterator[tuple[Op, Tensor]]:
        """Each operator, the input first, and its output for inputs (n, C, H, W), computed when it is asked for."""
        values = {self.graph.ops[0].name: x}
        yield self.graph.ops[0], x
        for o, (function, _) in zip(self.graph.ops[1:], self._plan, strict=True):
            values[o.name] = function(*(values[i] for i in o.inputs))
            yield o, values[o.name]

    def layer(self, o: Op) -> nn.Module:
        """The torch layer of an operator with weights."""
        return self.layers[_key(o)]

    def network(self) -> Network:
        """The graph with the weights as they are now."""
        weights: Weights = {}
        for o in self.graph:
            if o.weights:
                state = self.layers[_key(o)].state_dict()
                weights |= {
                    o.array(role): state[role].detach().float().cpu().contiguous().numpy().copy()
                    for role in self.graph.roles(o)
                }
        return Network(self.graph, weights)


def build(network: Network) -> GraphModule:
    """A torch module in evaluation mode that computes the network, channels_last.

    Raises:
        ValueError: a weight is missing or has another shape than the graph says.
    """
    module = GraphModule(network.graph)
    with torch.no_grad():
        for o in network.graph:
            for role, shape in network.graph.roles(o).items():
                name = o.array(role)
                array = network.weights.get(name)
                if array is None or array.shape != shape:
                    have = "missing" if array is None else f"of shape {array.shape}"
                    raise ValueError(f"weight {name!r} is {have}; the graph says {shape}")
                target = getattr(module.layer(o), role)
                target.copy_(torch.from_numpy(array))
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.ndim == 4:  # the format is one of maps; arrays with more axes have none that kernels want
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return module.eval()


def _key(o: Op) -> str:
    """The layer's key in a ModuleDict, which takes no dot and no name of a method (`keys`, `pop`)."""
    return f"{o.weights.replace('.', '/')}/"


def _tie(layer: nn.Module, names: Mapping[str, str], arrays: dict[str, tuple[nn.Module, str]]) -> None:
    """Makes the arrays of a new layer (role -> name) those of the layers before it that have the same name."""
    for role, name in names.items():
        owner, of = arrays.setdefault(name, (layer, role))
        setattr(layer, role, getattr(owner, of))


def _layer(graph: Graph, o: Op) -> nn.Module:
    if o.kind != "batch_norm":
        roles, learnt = graph.roles(o), graph.learnt(o)
        return Layer(o, roles, [role for role in roles if o.array(role) in learnt])
    # torch's own, which keeps running statistics while it is trained
    norm = _BATCH_NORMS[min(len(o.shape), 4)]
    return norm(o.shape[0], eps=o["eps"])


_BATCH_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm1d, 3: nn.BatchNorm2d, 4: nn.BatchNorm3d}
"""By the number of axes behind the batch."""
