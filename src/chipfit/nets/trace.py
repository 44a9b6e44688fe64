"""A torch module becomes a Graph and a flat dict of weights, through `torch.export`.

Tracing runs the module on fake tensors, so shapes come from the real forward pass. Whatever has no rule is named in
the error: nothing is guessed. Two rewrites make what follows simpler, both exact:

* a strided spatial slice with zero channels padded around it (the option-A shortcut of He et al. 2015) becomes a 1x1
  convolution with a 0/1 weight, which kernels run faster and edits can narrow;
* dropout, identities and copies vanish.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from chipfit.core.errors import BadInput, Untraceable
from chipfit.core.graph import Network, Op, Weights, live, op
from chipfit.nets.rewrite import select_convolutions

_BATCH = 3
"""Batch size of the trace: unusual, so that an axis of this size is the batch."""


def trace(module: nn.Module, input_shape: tuple[int, ...]) -> Network:
    """The network that `module` computes in evaluation mode for inputs of `input_shape` (without batch axis).

    Raises:
        Untraceable: an operator without a rule, control flow on data, or an output that is not one tensor.
        BadInput: the module does not take an input of this shape.
    """
    was_training = module.training
    module.eval()
    x = torch.zeros(_BATCH, *input_shape)
    try:
        with torch.no_grad():
            module(x)
    except RuntimeError as e:
        raise BadInput(
            f"the model does not take an input of shape {input_shape}: {_first_line(e)}; give --input-shape C,H,W"
        ) from e
    try:
        program = torch.export.export(module, (x,))
    except Exception as e:
        raise Untraceable(f"the model cannot be traced by torch.export: {_first_line(e)}") from e
    finally:
        module.train(was_training)
    tracer = _Tracer(program)
    for node in program.graph.nodes:
        tracer.visit(node)
    ops, weights = select_convolutions(tracer.ops, tracer.weights)
    graph = live(tuple(ops), tracer.output)
    used = {name for o in graph for name in graph.weight_shapes(o)}
    return Network(graph, {n: w for n, w in weights.items() if n in used})


def _first_line(e: BaseException) -> str:
    return (str(e).strip().splitlines() or [type(e).__name__])[0][:200]


@dataclass
class _Tracer:
    """Walks the exported program node by node."""

    program: torch.export.ExportedProgram
    ops: list[Op] = field(default_factory=list)
    weights: Weights = field(default_factory=dict)
    output: str = ""
    value: dict[str, str] = field(default_factory=dict)  # fx node -> operator that holds its value
    parts: dict[str, list[str]] = field(default_factory=dict)  # fx node of a split -> operators of its parts
    tensors: dict[str, str] = field(default_factory=dict)  # fx placeholder -> name in the state dict
    taken: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        signature = self.program.graph_signature
        self.tensors = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        self.state = {**self.program.constants, **self.program.state_dict}

    def visit(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            if node.name not in self.tensors:
                if self.ops:
                    raise Untraceable(f"the model has a second input {node.name!r}; one input is supported")
                self.value[node.name] = "input"
                self.ops.append(op("input", "input", (), self.shape(node)))
        elif node.op == "output":
            outputs = node.args[0]
            if not isinstance(outputs, tuple) or len(outputs) != 1 or not isinstance(outputs[0], fx.Node):
                raise Untraceable("the model returns more than one tensor; return the logits alone")
            self.output = self.value[outputs[0].name]
        elif node.op == "call_function":
            self.call(node)
        else:
            raise Untraceable(f"the model cannot be traced: {node.op} {node.target}")

    def call(self, node: fx.Node) -> None:
        if node.target is operator.getitem:
            source, index = node.args
            assert isinstance(source, fx.Node)
            assert isinstance(index, int)
            self.value[node.name] = self.parts[source.name][index]
            return
        name = _aten(node)
        rule = _RULES.get(name)
        if rule is None:
            where = self.path(node) or "the model"
            raise Untraceable(f"operator '{name}' (in '{where}') has no rule; known: {_known()}")
        rule(self, node)

    # what rules ask

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        shape = tuple(int(s) for s in node.meta["val"].shape)
        if not shape or shape[0] != _BATCH:
            raise Untraceable(f"'{node.name}' mixes the batch axis with others (shape {shape} for a batch of {_BATCH})")
        return shape[1:]

    def path(self, node: fx.Node) -> str:
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        return str(stack[-1][0]) if stack else ""

    def source(self, node: fx.Node, i: int = 0) -> str:
        arg = node.args[i]
        if not isinstance(arg, fx.Node) or arg.name not in self.value:
            raise Untraceable(
                f"operator '{_aten(node)}' (in '{self.path(node)}') takes a constant; give it tensors only"
            )
        return self.value[arg.name]

    def argument(self, node: fx.Node, i: int, name: str, default: Any) -> Any:
        return node.args[i] if len(node.args) > i else node.kwargs.get(name, default)

    def parameter(self, node: fx.Node, i: int) -> tuple[str, np.ndarray[Any, Any]] | None:
        arg = node.args[i] if len(node.args) > i else None
        if arg is None:
            return None
        assert isinstance(arg, fx.Node)
        if arg.name not in self.tensors:
            raise Untraceable(f"operator '{_aten(node)}' (in '{self.path(node)}') computes its own weights")
        name = self.tensors[arg.name]
        return name, np.ascontiguousarray(self.state[name].detach().float().cpu().numpy())

    def fresh(self, wish: str) -> str:
        n = self.taken[wish] = self.taken.get(wish, 0) + 1
        return wish if n == 1 else self.fresh(f"{wish}@{n}")

    def add(self, node: fx.Node, kind: str, inputs: tuple[str, ...], weights: str = "", **attrs: Any) -> str:
        leaf = weights or self.path(node)
        module = list((node.meta.get("nn_module_stack") or {"": ("", "")}).values())[-1][1]
        whole = bool(weights) or "torch.nn.modules" in str(module)
        name = self.fresh(leaf if leaf and whole else f"{leaf}.{kind}" if leaf else kind)
        self.ops.append(op(name, kind, inputs, self.shape(node), weights, **attrs))
        self.value[node.name] = name
        return name


Rule = Callable[[_Tracer, fx.Node], None]


def _aten(node: fx.Node) -> str:
    """The operator's bare name: conv2d of aten.conv2d.default, relu of aten.relu_.default."""
    return str(node.target).removeprefix("aten.").split(".")[0].rstrip("_")


def _known() -> str:
    return ", ".join(sorted(_RULES))


def _pair(value: Any, default: int = 0) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    values = [int(v) for v in value] or [default]
    return (values[0], values[-1])


def _conv(t: _Tracer, node: fx.Node) -> None:
    weight, bias = t.parameter(node, 1), t.parameter(node, 2)
    assert weight is not None
    name, array = weight
    kernel = (int(array.shape[2]), int(array.shape[3]))
    dilation = _pair(t.argument(node, 5, "dilation", 1))
    padding = t.argument(node, 4, "padding", 0)
    if padding == "same":
        if any((d * (k - 1)) % 2 for d, k in zip(dilation, kernel, strict=True)):
            raise Untraceable(f"convolution '{name}' pads an even kernel to 'same'; give it symmetric padding")
        padding = [d * (k - 1) // 2 for d, k in zip(dilation, kernel, strict=True)]
    prefix = name.removesuffix(".weight")
    t.weights[f"{prefix}.weight"] = array
    if bias is not None:
        t.weights[f"{prefix}.bias"] = bias[1]
    t.add(
        node, "conv", (t.source(node),), prefix, kernel=kernel, stride=_pair(t.argument(node, 3, "stride", 1)),
        padding=(0, 0) if padding == "valid" else _pair(padding), dilation=dilation,
        groups=int(t.argument(node, 6, "groups", 1)), bias=int(bias is not None),
    )  # fmt: skip


def _linear(t: _Tracer, node: fx.Node) -> None:
    weight, bias = t.parameter(node, 1), t.parameter(node, 2)
    assert weight is not None
    prefix = weight[0].removesuffix(".weight")
    t.weights[f"{prefix}.weight"] = weight[1]
    if bias is not None:
        t.weights[f"{prefix}.bias"] = bias[1]
    t.add(node, "linear", (t.source(node),), prefix, bias=int(bias is not None))


def _batch_norm(t: _Tracer, node: fx.Node) -> None:
    mean, variance = t.parameter(node, 3), t.parameter(node, 4)
    if mean is None or variance is None:
        raise Untraceable(f"batch norm '{t.path(node)}' keeps no running statistics; set track_running_stats=True")
    prefix = mean[0].removesuffix(".running_mean")
    weight, bias = t.parameter(node, 1), t.parameter(node, 2)
    t.weights[f"{prefix}.weight"] = np.ones_like(mean[1]) if weight is None else weight[1]
    t.weights[f"{prefix}.bias"] = np.zeros_like(mean[1]) if bias is None else bias[1]
    t.weights[f"{prefix}.running_mean"], t.weights[f"{prefix}.running_var"] = mean[1], variance[1]
    t.add(node, "batch_norm", (t.source(node),), prefix, eps=float(t.argument(node, 7, "eps", 1e-5)))


def _activation(kind: str) -> Rule:
    def rule(t: _Tracer, node: fx.Node) -> None:
        t.add(node, kind, (t.source(node),))

    return rule


def _leaky_relu(t: _Tracer, node: fx.Node) -> None:
    t.add(node, "leaky_relu", (t.source(node),), slope=float(t.argument(node, 1, "negative_slope", 0.01)))


def _hardtanh(t: _Tracer, node: fx.Node) -> None:
    low, high = t.argument(node, 1, "min_val", -1), t.argument(node, 2, "max_val", 1)
    if (low, high) != (0, 6):
        raise Untraceable(
            f"operator 'hardtanh' ({low}, {high}) in '{t.path(node)}' has no rule; only (0, 6), ReLU6, has"
        )
    t.add(node, "relu6", (t.source(node),))


def _binary(kind: str) -> Rule:
    def rule(t: _Tracer, node: fx.Node) -> None:
        if t.argument(node, 2, "alpha", 1) != 1:
            raise Untraceable(f"operator '{kind}' with alpha (in '{t.path(node)}') has no rule")
        t.add(node, kind, (t.source(node, 0), t.source(node, 1)))

    return rule


def _pool(kind: str) -> Rule:
    def rule(t: _Tracer, node: fx.Node) -> None:
        kernel = _pair(node.args[1])
        stride = _pair(t.argument(node, 2, "stride", []) or kernel)
        padding = _pair(t.argument(node, 3, "padding", 0))
        extra: dict[str, Any]
        if kind == "max_pool":
            if _pair(t.argument(node, 4, "dilation", 1)) != (1, 1):
                raise Untraceable(f"dilated max-pool (in '{t.path(node)}') has no rule")
            extra = {"ceil": int(t.argument(node, 5, "ceil_mode", False))}
        else:
            extra = {
                "ceil": int(t.argument(node, 4, "ceil_mode", False)),
                "count_include_pad": int(t.argument(node, 5, "count_include_pad", True)),
            }
        t.add(node, kind, (t.source(node),), "", kernel=kernel, stride=stride, padding=padding, **extra)

    return rule


def _adaptive_avg_pool(t: _Tracer, node: fx.Node) -> None:
    if _pair(node.args[1]) != (1, 1):
        raise Untraceable(f"adaptive average pool to {node.args[1]} (in '{t.path(node)}') has no rule; only to 1x1")
    t.add(node, "global_pool", (t.source(node),), keep=1)


def _mean(t: _Tracer, node: fx.Node) -> None:
    rank = len(node.args[0].meta["val"].shape)  # type: ignore[union-attr]
    axes = sorted(int(a) % rank for a in t.argument(node, 1, "dim", []))
    if rank != 4 or axes != [2, 3]:
        raise Untraceable(f"mean over axes {axes} (in '{t.path(node)}') has no rule; only over the two spatial axes")
    t.add(node, "global_pool", (t.source(node),), keep=int(t.argument(node, 2, "keepdim", False)))


def _concat(t: _Tracer, node: fx.Node) -> None:
    parts = node.args[0]
    assert isinstance(parts, list | tuple)
    rank = len(node.meta["val"].shape)
    axis = int(t.argument(node, 1, "dim", 0)) % rank - 1
    if axis < 0:
        raise Untraceable(f"concatenation along the batch (in '{t.path(node)}') has no rule")
    t.add(node, "concat", tuple(t.value[p.name] for p in parts if isinstance(p, fx.Node)), axis=axis)


def _reshape(t: _Tracer, node: fx.Node) -> None:
    shape = t.shape(node)
    before = tuple(int(s) for s in node.args[0].meta["val"].shape[1:])  # type: ignore[union-attr]
    if shape == before:
        _nothing(t, node)
    elif len(shape) == 1:
        t.add(node, "flatten", (t.source(node),))
    else:
        t.add(node, "reshape", (t.source(node),), to=shape)


def _transpose(t: _Tracer, node: fx.Node) -> None:
    rank = len(node.meta["val"].shape)
    if _aten(node) == "permute":
        order = [int(a) % rank for a in node.args[1]]  # type: ignore[union-attr,arg-type]
    else:
        order = list(range(rank))
        a, b = (int(i) % rank for i in node.args[1:3])  # type: ignore[arg-type]
        order[a], order[b] = order[b], order[a]
    if order[0] != 0:
        raise Untraceable(f"a transpose that moves the batch axis (in '{t.path(node)}') has no rule")
    t.add(node, "transpose", (t.source(node),), perm=tuple(o - 1 for o in order[1:]))


def _slice(t: _Tracer, node: fx.Node) -> None:
    shape = [int(s) for s in node.args[0].meta["val"].shape]  # type: ignore[union-attr]
    axis = int(t.argument(node, 1, "dim", 0)) % len(shape)
    size = shape[axis]
    bounds = (t.argument(node, 2, "start", None), t.argument(node, 3, "end", None), t.argument(node, 4, "step", 1))
    start, stop, step = slice(*bounds).indices(size)
    if (start, stop, step) == (0, size, 1):
        _nothing(t, node)
        return
    if axis == 0:
        raise Untraceable(f"a slice of the batch (in '{t.path(node)}') has no rule")
    t.add(node, "slice", (t.source(node),), axis=axis - 1, start=start, stop=stop, step=step)


def _split(t: _Tracer, node: fx.Node) -> None:
    """chunk, split and split_with_sizes: one slice a part."""
    outputs = node.meta["val"]
    whole = [int(s) for s in node.args[0].meta["val"].shape]  # type: ignore[union-attr]
    axis = int(t.argument(node, 2, "dim", 0)) % len(whole)
    if axis == 0:
        raise Untraceable(f"a split of the batch (in '{t.path(node)}') has no rule")
    names, start, path = [], 0, t.path(node)
    for part in outputs:
        stop = start + int(part.shape[axis])
        name = t.fresh(f"{path}.slice" if path else "slice")
        shape = tuple(int(s) for s in part.shape[1:])
        t.ops.append(op(name, "slice", (t.source(node),), shape, axis=axis - 1, start=start, stop=stop, step=1))
        names.append(name)
        start = stop
    t.parts[node.name] = names


def _pad(t: _Tracer, node: fx.Node) -> None:
    amounts = [int(a) for a in node.args[1]]  # type: ignore[union-attr,arg-type]
    mode, value = t.argument(node, 2, "mode", "constant"), t.argument(node, 3, "value", None)
    rank = len(node.meta["val"].shape)
    if mode != "constant" or value not in (None, 0, 0.0) or len(amounts) > 2 * (rank - 1):
        raise Untraceable(f"a pad that is not zeros around one input (in '{t.path(node)}') has no rule")
    pads = [(0, 0)] * (rank - 1)
    for i in range(len(amounts) // 2):  # torch counts from the last axis
        pads[rank - 2 - i] = (amounts[2 * i], amounts[2 * i + 1])
    t.add(node, "pad", (t.source(node),), pads=tuple(v for pair in pads for v in pair))


def _softmax(t: _Tracer, node: fx.Node) -> None:
    rank = len(node.meta["val"].shape)
    t.add(node, "softmax", (t.source(node),), axis=int(node.args[1]) % rank - 1)  # type: ignore[arg-type]


def _nothing(t: _Tracer, node: fx.Node) -> None:
    t.value[node.name] = t.source(node)


def _check(t: _Tracer, node: fx.Node) -> None:
    """Assertions on metadata that the exporter adds: no value."""


_RULES: dict[str, Rule] = {
    "conv2d": _conv, "linear": _linear, "batch_norm": _batch_norm,
    "relu": _activation("relu"), "relu6": _activation("relu6"), "sigmoid": _activation("sigmoid"),
    "hardsigmoid": _activation("hard_sigmoid"), "silu": _activation("silu"), "hardswish": _activation("hard_swish"),
    "tanh": _activation("tanh"), "gelu": _activation("gelu"), "leaky_relu": _leaky_relu, "hardtanh": _hardtanh,
    "add": _binary("add"), "sub": _binary("sub"), "mul": _binary("mul"),
    "max_pool2d": _pool("max_pool"), "avg_pool2d": _pool("avg_pool"),
    "adaptive_avg_pool2d": _adaptive_avg_pool, "mean": _mean,
    "cat": _concat, "concat": _concat,
    "view": _reshape, "reshape": _reshape, "flatten": _reshape, "unflatten": _reshape, "squeeze": _reshape,
    "unsqueeze": _reshape, "permute": _transpose, "transpose": _transpose,
    "slice": _slice, "chunk": _split, "split": _split, "split_with_sizes": _split, "pad": _pad, "softmax": _softmax,
    "dropout": _nothing, "feature_dropout": _nothing, "alpha_dropout": _nothing, "contiguous": _nothing,
    "clone": _nothing, "detach": _nothing, "alias": _nothing, "to": _nothing, "_to_copy": _nothing,
    "_assert_tensor_metadata": _check,
}  # fmt: skip
