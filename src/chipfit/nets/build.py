"""A Graph becomes a torch module again: what is trained, scored and captured is exactly what is exported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chipfit.core.graph import Graph, Network, Op, Weights

Function = Callable[..., Tensor]


class Affine(nn.Module):
    """y = x · scale + shift for each channel: parameters where they are learnt, else buffers."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], learnt: bool) -> None:
        """`shapes` has those of "scale" and "shift" that there are."""
        super().__init__()
        self._roles = tuple(shapes)
        for role, shape in shapes.items():
            value = torch.ones(shape) if role == "scale" else torch.zeros(shape)
            if learnt:
                self.register_parameter(role, nn.Parameter(value))
            else:
                self.register_buffer(role, value)

    def forward(self, x: Tensor) -> Tensor:
        """The values (n, C, ...) scaled and shifted."""
        form = (-1, *(1,) * (x.ndim - 2))
        if "scale" in self._roles:
            x = x * getattr(self, "scale").view(form)  # noqa: B009  a tensor, which mypy would take for a module
        return x + getattr(self, "shift").view(form) if "shift" in self._roles else x  # noqa: B009


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
            function = self.layers[_key(o)] if o.weights else _FUNCTIONS[o.kind](o)
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
    return module.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _key(o: Op) -> str:
    """The layer's key in a ModuleDict, which takes no dot and no name of a method (`keys`, `pop`)."""
    return f"{o.weights.replace('.', '/')}/"


def _tie(layer: nn.Module, names: Mapping[str, str], arrays: dict[str, tuple[nn.Module, str]]) -> None:
    """Makes the arrays of a new layer (role -> name) those of the layers before it that have the same name."""
    for role, name in names.items():
        owner, of = arrays.setdefault(name, (layer, role))
        setattr(layer, role, getattr(owner, of))


def _layer(graph: Graph, o: Op) -> nn.Module:
    if o.kind == "conv":
        return nn.Conv2d(
            graph.in_shape(o)[0], o.shape[0], o["kernel"], o["stride"], o["padding"], o["dilation"], o["groups"],
            bool(o["bias"]),
        )  # fmt: skip
    if o.kind == "linear":
        return nn.Linear(graph.in_shape(o)[-1], o.shape[-1], bool(o["bias"]))
    if o.kind == "affine":
        return Affine(graph.roles(o), bool(o["learnt"]))
    if o.kind == "prelu":
        return nn.PReLU(1 if o["single"] else o.shape[0])
    norm = nn.BatchNorm2d if len(o.shape) == 3 else nn.BatchNorm1d
    return norm(o.shape[0], eps=o["eps"])


def _max_pool(o: Op) -> Function:
    return partial(
        F.max_pool2d, kernel_size=o["kernel"], stride=o["stride"], padding=o["padding"], ceil_mode=bool(o["ceil"])
    )


def _avg_pool(o: Op) -> Function:
    return partial(
        F.avg_pool2d, kernel_size=o["kernel"], stride=o["stride"], padding=o["padding"], ceil_mode=bool(o["ceil"]),
        count_include_pad=bool(o["count_include_pad"]),
    )  # fmt: skip


def _slice(o: Op) -> Function:
    index = (slice(None),) * (o["axis"] + 1) + (slice(o["start"], o["stop"], o["step"]),)
    return lambda x: x[index]


def _pad(o: Op) -> Function:
    pads = o["pads"]
    reverse = [v for i in range(len(pads) // 2 - 1, -1, -1) for v in pads[2 * i : 2 * i + 2]]
    return lambda x: F.pad(x, reverse)


_FUNCTIONS: dict[str, Callable[[Op], Function]] = {
    "relu": lambda o: torch.relu,
    "relu6": lambda o: F.relu6,
    "sigmoid": lambda o: torch.sigmoid,
    "hard_sigmoid": lambda o: F.hardsigmoid,
    "silu": lambda o: F.silu,
    "hard_swish": lambda o: F.hardswish,
    "tanh": lambda o: torch.tanh,
    "gelu": lambda o: F.gelu,
    "gelu_tanh": lambda o: partial(F.gelu, approximate="tanh"),
    "clip": lambda o: partial(torch.clamp, min=o["low"], max=o["high"]),
    "leaky_relu": lambda o: partial(F.leaky_relu, negative_slope=o["slope"]),
    "add": lambda o: torch.add,
    "sub": lambda o: torch.sub,
    "mul": lambda o: torch.mul,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "global_pool": lambda o: lambda x: x.mean((2, 3), keepdim=bool(o["keep"])),
    "global_max_pool": lambda o: lambda x: x.amax((2, 3), keepdim=bool(o["keep"])),
    "concat": lambda o: lambda *xs: torch.cat(xs, o["axis"] + 1),
    "flatten": lambda o: lambda x: x.flatten(1),
    "reshape": lambda o: lambda x: x.reshape(x.shape[0], *o["to"]),
    "transpose": lambda o: lambda x: x.permute(0, *(p + 1 for p in o["perm"])),
    "slice": _slice,
    "pad": _pad,
    "softmax": lambda o: lambda x: torch.softmax(x, o["axis"] + 1),
    "log_softmax": lambda o: lambda x: torch.log_softmax(x, o["axis"] + 1),
}


def function(o: Op) -> Function:
    """What an operator without weights computes, as a function of its inputs (each with a batch axis)."""
    return _FUNCTIONS[o.kind](o)


FUNCTIONS = frozenset(_FUNCTIONS)
"""Kinds that compute without arrays."""
