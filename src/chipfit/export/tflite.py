"""A network as a TensorFlow Lite file, written straight from its Graph: what phones, microcontrollers and NPUs take.

The formats' differences from ONNX that matter here:

* tensors with three axes are kept channels-last, (1, H, W, C), also the file's input and output. Operators that mix
  axes (reshape, transpose, dense layers on several axes) read them transposed; a flatten that only dense layers read
  is not transposed, their weights are permuted instead;
* "SAME" padding is not torch's for strides above 1: there, and wherever else it differs, a PAD stands before;
* relu and relu6 are part of the operator before them;
* int8 activations are ONNX's uint8 ones less 128; a dense layer's output is int8 too. Pools keep the grid of what
  they read, a sigmoid's grid is k / 256, and a concatenation reads its own grid: a QUANTIZE stands where they differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from chipfit.core.channels import array_axis
from chipfit.core.graph import CHANNELWISE, GLOBAL_POOLS, POOLS, Graph, Network, Op
from chipfit.core.types import Artifact
from chipfit.export.flat import FlatSheet
from chipfit.export.fold import scale_and_shift
from chipfit.export.lower import Range, fused, prepared
from chipfit.export.qdq import TOP, Grid, grid, grids, int_arrays, quantised, reach

SIGMOID: Final = Grid("", np.float32(1 / 256), 0)
"""The grid of a sigmoid's output, whose kernels know no other."""

_ACT: Final = {
    "": schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}
_LAST: Final = {0: 3, 1: 1, 2: 2}
"""Axis of a (C, H, W) tensor to that of the file's (1, H, W, C)."""

_SPATIAL: Final = frozenset({"conv"}) | POOLS | GLOBAL_POOLS | CHANNELWISE
_MIXING: Final = frozenset({"reshape", "transpose", "linear"})
_CLAMPING: Final = frozenset({"conv", "linear", "add", "mul", "avg_pool"})
"""Kinds with a form for a relu behind them; int8 ones need none, their grid clamps."""


def write(
    network: Network,
    *,
    ranges: Mapping[str, Range] | None = None,
    metadata: Mapping[str, str] = {},
    reduce_range: bool = False,
    name: str = "model",
) -> Artifact:
    """The network as a TensorFlow Lite file with batch 1, float32 input and output, batch norm folded.

    Args:
        network: graph and arrays.
        ranges: least and greatest value of each tensor, by operator name, of the graph as given or folded; needed only
            for what operators with `bits == 8` read and write.
        metadata: kept in the file, a buffer each.
        reduce_range: int8 weights of 7 bits.
        name: of the graph in the file.

    Returns:
        The file, with the graph as given.

    Raises:
        ValueError: a range that is needed is missing or no range.
    """
    lowered, known = prepared(network, ranges, frozenset({"linear"}), _only_float(network.graph))
    graph = lowered.graph
    known |= {o.name: (0.0, TOP / 256) for o in graph if o.kind == "sigmoid"}
    job = _Job(FlatSheet(), lowered, _grids(graph, known), reduce_range)
    for o in graph:
        job.emit(o)
    given, made = job.ends
    return Artifact("tflite", job.sheet.pack(given, made, name, metadata), network.graph)


def _only_float(graph: Graph) -> frozenset[str]:
    """Mean pools whose windows do not all count alike: they take a multiplication by a map, in float."""
    return frozenset(o.name for o in graph if o.kind == "avg_pool" and _share(o, graph) is not None)


def _grids(graph: Graph, known: Mapping[str, Range]) -> dict[str, Grid]:
    """Tensor name to grid: those of `qdq`, dense layers' own, and pools' made those of what they read."""
    found, tensors = grids(graph, known), quantised(graph)
    for o in graph:
        target = _target(graph, o)
        if o.bits == 8 and o.kind == "linear" and target.name not in found:
            found[target.name] = grid(target.name, *reach(target, {}, known))
        alone = tensors.get(target.name) and sum(g.name == target.name for g in found.values()) == 1
        if o.bits == 8 and o.kind == "avg_pool" and alone:
            found[target.name] = found[o.inputs[0]]
    return found


def _target(graph: Graph, o: Op) -> Op:
    """The relu that is part of an operator, or the operator itself."""
    users = graph.users[o.name]
    after = graph[users[0]] if len(users) == 1 else o
    return after if after is not o and fused(graph, after) else o


@dataclass
class _Job:
    """A lowered network, its grids, the sheet it is written on, and the forms in which each tensor is there."""

    sheet: FlatSheet
    network: Network
    grids: Mapping[str, Grid]
    reduce_range: bool
    forms: dict[tuple[str, bool, bool], int] = field(default_factory=dict)
    """(operator, int8, channels-last) -> tensor."""
    own: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    """Operator -> (int8, channels-last) of the form it was made in."""
    permuted: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Flatten whose values are in channels-last order -> (C, H, W) of what it read."""

    @property
    def graph(self) -> Graph:
        return self.network.graph

    @property
    def ends(self) -> tuple[int, int]:
        """The file's input and output."""
        given, made = self.graph.ops[0], self.graph[self.graph.output]
        first = self.forms[given.name, False, len(given.shape) == 3]
        last = self.read(made.name, False, len(made.shape) == 3)
        if first == last:
            last = self.sheet.operator(
                "RESHAPE", self._shaped(first), self.sheet.tensor("same", self.sheet.shape(first))
            )
        return first, last

    def emit(self, o: Op) -> None:
        """Writes an operator, with the relu behind it that is part of it."""
        if o.name in self.own:  # a relu that was written with the operator before it
            return
        target, last = _target(self.graph, o), self._channels_last(o)
        if o.kind == "input":
            self._new(o, False, last)
            return
        low = o.bits == 8 and target.name in self.grids
        out = self._new(target, low, last)
        act = target.kind if target is not o else ""
        if act and not low and o.kind not in _CLAMPING:
            before = self.sheet.tensor(o.name, self.sheet.shape(out))
            _RULES[o.kind](self, o, before, "")
            self.sheet.operator(act.upper(), [before], out)
        else:
            _RULES[o.kind](self, o, out, act)

    def read(self, name: str, low: bool, last: bool) -> int:
        """The tensor in this form, converted from the one it was made in where it is not there yet."""
        if (name, low, last) not in self.forms:
            has_low, has_last = self.own[name]
            if last != has_last:
                source = self.read(name, low, has_last)
                made = self._turned(source, f"{name}/turned", last)
            else:
                source = self.forms[name, has_low, has_last]
                made = self.converted(source, f"{name}/{'int8' if low else 'float'}", self.grids[name] if low else None)
            self.forms[name, low, last] = made
        return self.forms[name, low, last]

    def inputs(self, o: Op, last: bool) -> list[int]:
        """The tensors that an operator reads, in its precision."""
        return [self.read(i, o.bits == 8 and i in self.grids, last and len(self.graph[i].shape) == 3) for i in o.inputs]

    def converted(self, source: int, name: str, to: Grid | None) -> int:
        """A new tensor with the values of another, on this grid, float without one."""
        made = self.sheet.tensor(name, self.sheet.shape(source), to)
        kind, options = ("DEQUANTIZE", "DequantizeOptions") if to is None else ("QUANTIZE", "QuantizeOptions")
        return self.sheet.operator(kind, [source], made, options)

    def whole(self, values: Sequence[int] | NDArray[Any]) -> int:
        """A constant of whole numbers, once by value."""
        array = np.asarray(values, np.int32)
        return self.sheet.constant(f"{array.shape} {array.tolist()}", array)

    def scalar(self, value: float) -> int:
        """A constant of one float."""
        return self.sheet.constant(f"{value}", np.array([value], np.float32))

    def _new(self, o: Op, low: bool, last: bool) -> int:
        shape = (*o.shape[1:], o.shape[0]) if last else o.shape
        made = self.sheet.tensor(o.name, (1, *shape), self.grids[o.name] if low else None)
        self.forms[o.name, low, last], self.own[o.name] = made, (low, last)
        return made

    def _channels_last(self, o: Op) -> bool:
        if len(o.shape) != 3 or o.kind in _MIXING:
            return False
        return o.kind == "input" or o.kind in _SPATIAL or any(self.own[i][1] for i in o.inputs)

    def _turned(self, source: int, name: str, last: bool) -> int:
        """A new tensor with channels last, or with channels first."""
        shape = self.sheet.shape(source)
        order = (0, 2, 3, 1) if last else (0, 3, 1, 2)
        made = self.sheet.tensor(name, [shape[a] for a in order], self.grid(source))
        if sum(n > 1 for n in shape) <= 1:
            return self.sheet.operator("RESHAPE", self._shaped(source, self.sheet.shape(made)), made)
        return self.sheet.operator("TRANSPOSE", [source, self.whole(order)], made, "TransposeOptions")

    def grid(self, tensor: int) -> Grid | None:
        """The values an int8 tensor can have; None for a float one. Its name is not known."""
        if not self.sheet.quantised(tensor):
            return None
        steps = self.sheet.tensors[tensor].quantization
        return Grid("", np.float32(steps.scale[0]), int(steps.zeroPoint[0]) + 128)

    def _shaped(self, source: int, shape: Sequence[int] | None = None) -> list[int]:
        return [source, self.whole(self.sheet.shape(source) if shape is None else shape)]

    def reshaped(self, source: int, out: int) -> None:
        """Writes that `out` holds the values of a tensor in its own shape."""
        self.sheet.operator("RESHAPE", self._shaped(source, self.sheet.shape(out)), out)

    def padded(self, o: Op, source: int, pads: NDArray[np.int64], lowest: bool = False) -> int:
        """The tensor with (axes, 2) values around it: zeros, or the lowest there is."""
        shape = np.array(self.sheet.shape(source)) + pads.sum(1)
        grid = self.grid(source)
        made = self.sheet.tensor(f"{o.name}/padded", shape.tolist(), grid)
        if not lowest:
            return self.sheet.operator("PAD", [source, self.whole(pads)], made, "PadOptions")
        if grid is None:
            fill = self.scalar(float(np.finfo(np.float32).min))
        else:
            least, step = np.array([-128], np.int8), np.array([grid.step])
            fill = self.sheet.constant(f"{o.name}/lowest", least, step, zero=grid.zero - 128)
        return self.sheet.operator("PADV2", [source, self.whole(pads), fill], made, "PadV2Options")

    def layer(self, o: Op, how: str, form: Callable[[NDArray[Any]], NDArray[Any]], axis: int = 0) -> list[int]:
        """Weight and bias of a layer: the weight as `form` makes it (`how` names that), output channels on `axis`."""
        keys, weights = list(self.graph.weight_shapes(o)), self.network.weights
        arrays = [weights[k] for k in keys]
        if len(arrays) == 1:
            arrays.append(np.zeros(len(arrays[0]), np.float32))
        if o.bits == 8:
            low = int_arrays(*arrays, step=self.grids[o.inputs[0]].step, reduce_range=self.reduce_range)
            assert low.bias is not None
            return [
                self.sheet.constant(f"{o.name}/weight", form(low.weight), low.weight_scale, axis),
                self.sheet.constant(f"{o.name}/bias", low.bias, low.bias_scale),
            ]
        return [
            self.sheet.constant(f"{keys[0]} {how}", np.asarray(form(arrays[0]), np.float32)),
            self.sheet.constant(keys[1] if keys[1:] else f"{o.name}/zeros", np.asarray(arrays[1], np.float32)),
        ]


Rule = Callable[[_Job, Op, int, str], None]
"""Writes an operator: job, operator, its output's tensor, the relu in it ("" for none)."""


def _conv(job: _Job, o: Op, out: int, act: str) -> None:
    (x,) = job.inputs(o, last=True)
    given = o["padding"] if len(o["padding"]) == 4 else o["padding"] * 2
    spans = [d * (k - 1) + 1 for d, k in zip(o["dilation"], o["kernel"], strict=True)]
    x, padding = _placed(job, o, x, spans, given[:2])
    (sh, sw), (dh, dw) = o["stride"], o["dilation"]
    window = {
        "padding": padding, "strideH": sh, "strideW": sw, "dilationHFactor": dh, "dilationWFactor": dw,
        "fusedActivationFunction": _ACT[act],
    }  # fmt: skip
    channels = job.graph.in_shape(o)[0]
    if o["groups"] == channels > 1:
        arrays = job.layer(o, "depthwise", lambda w: w.transpose(1, 2, 3, 0), 3)
        more = {"depthMultiplier": o.shape[0] // channels}
        job.sheet.operator("DEPTHWISE_CONV_2D", [x, *arrays], out, "DepthwiseConv2DOptions", **window, **more)
    else:
        arrays = job.layer(o, "channels last", lambda w: w.transpose(0, 2, 3, 1))
        job.sheet.operator("CONV_2D", [x, *arrays], out, "Conv2DOptions", **window)


def _placed(
    job: _Job, o: Op, x: int, spans: Sequence[int], before: Sequence[int], lowest: bool = False
) -> tuple[int, int]:
    """What a window operator reads, and its padding: SAME or VALID as they are, else VALID on a padded tensor."""
    pads, same = _pads(o, job.graph.in_shape(o), spans, before)
    if same:
        return x, schema.Padding.SAME
    return (job.padded(o, x, pads, lowest) if pads.any() else x), schema.Padding.VALID


def _pads(o: Op, shape: Sequence[int], spans: Sequence[int], before: Sequence[int]) -> tuple[NDArray[np.int64], bool]:
    """(4, 2) what windows over (C, H, W) need around it, and whether it is what SAME would put there."""
    axes = list(zip(shape[1:], o.shape[1:], o["stride"], spans, before, strict=True))
    pads = [(b, max(0, (n - 1) * s + span - size - b)) for size, n, s, span, b in axes]
    totals = [max(0, (n - 1) * s + span - size) for size, n, s, span, _ in axes]
    same = all(n == -(-size // s) for size, n, s, _, _ in axes) and pads == [(t // 2, t - t // 2) for t in totals]
    return np.array([(0, 0), *pads, (0, 0)]), same and any(totals)


def _linear(job: _Job, o: Op, out: int, act: str) -> None:
    (x,) = job.inputs(o, last=False)
    order = job.permuted.get(o.inputs[0])

    def form(w: NDArray[Any]) -> NDArray[Any]:
        return w if order is None else w.reshape(-1, *order).transpose(0, 2, 3, 1).reshape(w.shape)

    arrays = job.layer(o, "as it is" if order is None else f"of {order}", form)
    options = {"fusedActivationFunction": _ACT[act], "keepNumDims": len(o.shape) > 1}
    job.sheet.operator("FULLY_CONNECTED", [x, *arrays], out, "FullyConnectedOptions", **options)


def _batch_norm(job: _Job, o: Op, out: int, act: str) -> None:
    (x,) = job.inputs(o, last=True)
    factor, offset = (v.astype(np.float32).reshape(_per_channel(o)) for v in scale_and_shift(o, job.network.weights))
    scaled = job.sheet.tensor(f"{o.name}/scaled", job.sheet.shape(out))
    job.sheet.operator("MUL", [x, job.sheet.constant(f"{o.name}/factor", factor)], scaled, "MulOptions")
    job.sheet.operator("ADD", [scaled, job.sheet.constant(f"{o.name}/offset", offset)], out, "AddOptions")


def _per_channel(o: Op) -> tuple[int, ...]:
    """The shape in which values of each channel broadcast: maps have their channels last, other tensors first."""
    form = [1] * len(o.shape)
    form[array_axis(o)] = -1
    return (*form[1:], form[0]) if len(o.shape) == 3 else tuple(form)


def _prelu(job: _Job, o: Op, out: int, act: str) -> None:
    (x,) = job.inputs(o, last=True)
    slopes = np.asarray(job.network.weights[o.array("weight")], np.float32) * np.ones(o.shape[0], np.float32)
    job.sheet.operator("PRELU", [x, job.sheet.constant(f"{o.name}/slopes", slopes.reshape(_per_channel(o)))], out)


def _clip(job: _Job, o: Op, out: int, act: str) -> None:
    above = job.sheet.tensor(f"{o.name}/above", job.sheet.shape(out))
    job.sheet.operator("MAXIMUM", [*_follow(job, o), job.scalar(o["low"])], above, "MaximumMinimumOptions")
    job.sheet.operator("MINIMUM", [above, job.scalar(o["high"])], out, "MaximumMinimumOptions")


def _elementwise(kind: str) -> Rule:
    def rule(job: _Job, o: Op, out: int, act: str) -> None:
        job.sheet.operator(kind, _follow(job, o), out, f"{kind.capitalize()}Options", fusedActivationFunction=_ACT[act])

    return rule


def _single(kind: str, options: str = "", **values: Any) -> Rule:
    """The rule of an operator of one input in any layout."""

    def rule(job: _Job, o: Op, out: int, act: str) -> None:
        job.sheet.operator(kind, _follow(job, o), out, options, **values)

    return rule


def _follow(job: _Job, o: Op) -> list[int]:
    """What an operator reads, in the layout of its own output."""
    return job.inputs(o, job.own[_target(job.graph, o).name][1])


def _sigmoid(job: _Job, o: Op, out: int, act: str) -> None:
    if job.sheet.quantised(out) and job.grid(out) != SIGMOID:
        gate = job.sheet.tensor(f"{o.name}/gate", job.sheet.shape(out), SIGMOID)
        job.sheet.operator("LOGISTIC", _follow(job, o), gate)
        job.sheet.operator("QUANTIZE", [gate], out, "QuantizeOptions")
    else:
        job.sheet.operator("LOGISTIC", _follow(job, o), out)


def _hard_sigmoid(job: _Job, o: Op, out: int, act: str) -> None:
    raised = job.sheet.tensor(f"{o.name}/raised", job.sheet.shape(out))
    clamp = {"fusedActivationFunction": _ACT["relu6"]}
    job.sheet.operator("ADD", [*_follow(job, o), job.scalar(3.0)], raised, "AddOptions", **clamp)
    job.sheet.operator("MUL", [raised, job.scalar(1 / 6)], out, "MulOptions")


def _leaky_relu(job: _Job, o: Op, out: int, act: str) -> None:
    made = job.grid(out)
    if o["slope"] == 0 and made is not None and made.zero == 0:
        job.sheet.operator("QUANTIZE", _follow(job, o), out, "QuantizeOptions")  # a grid that begins at 0 clamps
    else:
        job.sheet.operator("LEAKY_RELU", _follow(job, o), out, "LeakyReluOptions", alpha=float(o["slope"]))


def _softmax(job: _Job, o: Op, out: int, act: str) -> None:
    last = job.own[o.name][1]
    axis = _LAST[o["axis"]] if last else o["axis"] + 1
    rank, (x,) = len(job.sheet.shape(out)), _follow(job, o)
    form: dict[str, Any] = {"kind": "SOFTMAX", "options": "SoftmaxOptions", "beta": 1.0}
    if o.kind == "log_softmax":
        form = {"kind": "LOG_SOFTMAX", "options": "LogSoftmaxOptions"}
    if axis == rank - 1:
        job.sheet.operator(inputs=[x], output=out, **form)
        return
    order = [*(a for a in range(rank) if a != axis), axis]
    shape = [job.sheet.shape(out)[a] for a in order]
    turned, made = (job.sheet.tensor(f"{o.name}/{part}", shape) for part in ("turned", "soft"))
    job.sheet.operator("TRANSPOSE", [x, job.whole(order)], turned, "TransposeOptions")
    job.sheet.operator(inputs=[turned], output=made, **form)
    job.sheet.operator("TRANSPOSE", [made, job.whole(np.argsort(order))], out, "TransposeOptions")


def _pool(job: _Job, o: Op, x: int, out: int, padding: int, act: str = "") -> None:
    kind = "MAX_POOL_2D" if o.kind == "max_pool" else "AVERAGE_POOL_2D"
    (kh, kw), (sh, sw) = o["kernel"], o["stride"]
    window = {"filterHeight": kh, "filterWidth": kw, "strideH": sh, "strideW": sw, "padding": padding}
    job.sheet.operator(kind, [x], out, "Pool2DOptions", **window, fusedActivationFunction=_ACT[act])


def _max_pool(job: _Job, o: Op, out: int, act: str) -> None:
    (x,) = job.inputs(o, last=True)
    x, padding = _placed(job, o, x, o["kernel"], o["padding"], lowest=True)
    _pool(job, o, x, out, padding)


def _share(o: Op, graph: Graph) -> NDArray[np.float32] | None:
    """(1, H, W, 1) what a mean over whole windows has to be multiplied by, None where that is 1 throughout.

    A window of a mean pool divides by fewer values where it hangs over the edge, unless padding counts.
    """
    rows, shape = [], graph.in_shape(o)
    for size, n, s, k, p in zip(shape[1:], o.shape[1:], o["stride"], o["kernel"], o["padding"], strict=True):
        low, high = (-p, size + p) if o["count_include_pad"] else (0, size)
        starts = np.arange(n) * s - p
        rows.append(k / (np.minimum(starts + k, high) - np.maximum(starts, low)))
    share = np.outer(*rows)[None, :, :, None].astype(np.float32)
    return None if np.all(share == 1) or _excludes(o, graph) else share


def _excludes(o: Op, graph: Graph) -> bool:
    """True for a mean pool with SAME padding that does not count: the format's own."""
    return not o["count_include_pad"] and _pads(o, graph.in_shape(o), o["kernel"], o["padding"])[1]


def _avg_pool(job: _Job, o: Op, out: int, act: str) -> None:
    (x,) = job.inputs(o, last=True)
    pads, _ = _pads(o, job.graph.in_shape(o), o["kernel"], o["padding"])
    if _excludes(o, job.graph):
        padding = schema.Padding.SAME
    else:
        x, padding = job.padded(o, x, pads) if pads.any() else x, schema.Padding.VALID
    share, given, made = _share(o, job.graph), job.grid(x), job.grid(out)
    if share is None and given == made:
        _pool(job, o, x, out, padding, act)
        return
    mean = job.sheet.tensor(f"{o.name}/mean", job.sheet.shape(out), given)
    _pool(job, o, x, mean, padding)
    if share is None:
        job.sheet.operator("QUANTIZE", [mean], out, "QuantizeOptions")
    else:
        shares = job.sheet.constant(f"{o.name}/share", share)
        job.sheet.operator("MUL", [mean, shares], out, "MulOptions", fusedActivationFunction=_ACT[act])


def _global_pool(job: _Job, o: Op, out: int, act: str) -> None:
    (x,) = job.inputs(o, last=True)
    kind = "MEAN" if o.kind == "global_pool" else "REDUCE_MAX"
    job.sheet.operator(kind, [x, job.whole([1, 2])], out, "ReducerOptions", keepDims=True)


def _concat(job: _Job, o: Op, out: int, act: str) -> None:
    to = job.grid(out)
    ins = [
        x if job.grid(x) == to else job.converted(x, f"{o.name}/{i}", to)
        for x, i in zip(_follow(job, o), o.inputs, strict=True)
    ]
    axis = _LAST[o["axis"]] if job.own[o.name][1] else o["axis"] + 1
    job.sheet.operator("CONCATENATION", ins, out, "ConcatenationOptions", axis=axis)


def _flatten(job: _Job, o: Op, out: int, act: str) -> None:
    shape, (source,) = job.graph.in_shape(o), o.inputs
    users = [job.graph[u] for u in job.graph.users[o.name]]
    dense = all(u.kind == "linear" for u in users) and o.name != job.graph.output
    channels_last = job.own[source][1]
    if channels_last and dense and min(shape[0], shape[1] * shape[2]) > 1:
        job.permuted[o.name] = shape
    straight = channels_last and (o.name in job.permuted or min(shape[0], shape[1] * shape[2]) == 1)
    (x,) = job.inputs(o, last=straight)
    job.reshaped(x, out)


def _reshape(job: _Job, o: Op, out: int, act: str) -> None:
    (x,) = job.inputs(o, last=False)
    job.reshaped(x, out)


def _transpose(job: _Job, o: Op, out: int, act: str) -> None:
    (x,) = job.inputs(o, last=False)
    order = [0, *(p + 1 for p in o["perm"])]
    job.sheet.operator("TRANSPOSE", [x, job.whole(order)], out, "TransposeOptions")


def _sliced(job: _Job, x: int, out: int, start: Sequence[int], stop: Sequence[int], step: Sequence[int]) -> None:
    bounds = [job.whole(v) for v in (start, stop, step)]
    job.sheet.operator("STRIDED_SLICE", [x, *bounds], out, "StridedSliceOptions")


def _slice(job: _Job, o: Op, out: int, act: str) -> None:
    (x,) = _follow(job, o)
    axis = _LAST[o["axis"]] if job.own[o.name][1] else o["axis"] + 1
    shape = job.sheet.shape(x)
    start, stop, step = [0] * len(shape), list(shape), [1] * len(shape)
    start[axis], stop[axis], step[axis] = o["start"], min(o["stop"], shape[axis]), o["step"]
    _sliced(job, x, out, start, stop, step)


def _pad(job: _Job, o: Op, out: int, act: str) -> None:
    if o.get("value") or o.get("how"):
        raise ValueError(f"operator {o.name!r} (pad) has no form in tflite with other values than zero")
    (x,) = _follow(job, o)
    last, pairs = job.own[o.name][1], np.array(o["pads"]).reshape(-1, 2)
    pads = np.vstack([[(0, 0)], np.roll(pairs, -1, axis=0) if last else pairs])
    shape, crop = np.array(job.sheet.shape(x)), np.maximum(-pads, 0)
    if crop.any():
        rest = job.sheet.tensor(f"{o.name}/rest", (shape - crop.sum(1)).tolist())
        _sliced(job, x, rest, crop[:, 0].tolist(), (shape - crop[:, 1]).tolist(), [1] * len(shape))
        x = rest
    job.sheet.operator("PAD", [x, job.whole(np.maximum(pads, 0))], out, "PadOptions")


_RULES: Final[Mapping[str, Rule]] = {
    "conv": _conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "affine": _batch_norm,
    "prelu": _prelu,
    "add": _elementwise("ADD"),
    "sub": _elementwise("SUB"),
    "mul": _elementwise("MUL"),
    "relu": _single("RELU"),
    "relu6": _single("RELU6"),
    "sigmoid": _sigmoid,
    "tanh": _single("TANH"),
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": _single("HARD_SWISH", "HardSwishOptions"),
    "leaky_relu": _leaky_relu,
    "gelu": _single("GELU", "GeluOptions", approximate=False),
    "gelu_tanh": _single("GELU", "GeluOptions", approximate=True),
    "clip": _clip,
    "softmax": _softmax,
    "log_softmax": _softmax,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "global_pool": _global_pool,
    "global_max_pool": _global_pool,
    "concat": _concat,
    "flatten": _flatten,
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "pad": _pad,
}
"""The rule of each kind that is left after lowering."""

WRITES: Final = frozenset(_RULES) | {"input", "silu"}
"""Kinds that have a form here; a silu is written as a sigmoid and a product."""
