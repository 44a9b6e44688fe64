"""Graph and weights to ncnn's param and bin, in one file: float32 only.

The file is the length of the param text (8 bytes, little-endian), the param text, then the bin; cut there, the two are
what `ncnn::Net` loads. The text ends in a line that ncnn does not read, "# " and the metadata as JSON. The input blob
is called "input", the output blob "logits"; a layer is named like the operator whose work it does, what was added to
it `<operator>/<part>`.

As ncnn's own converters do, activations run in the convolution or dense layer before them, x * sigmoid(x) becomes a
Swish, and a blob that several layers read is handed out by a Split. Parameters are numbered as ncnn documents them in
its "operation param weight table". What differs from torch:

    pool              always `valid`, with all padding written out: ncnn's `full` rounds up by a rule of its own
    linear            flattens all but matrices of several rows: other inputs are reshaped to and from those
    slice with step   of a spatial axis: a pool of one value; there is none for other axes
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from typing import Final, final

import numpy as np

from chipfit.core.channels import array_axis
from chipfit.core.graph import Graph, Network, Op, live, op
from chipfit.core.types import Artifact
from chipfit.export.fold import scale_and_shift
from chipfit.export.formats import only_float
from chipfit.export.lower import Range, ends, prepared

INPUT: Final = "input"
OUTPUT: Final = "logits"

_MAGIC: Final = 7767517
_SIZES: Final = {1: (0,), 2: (1, 0), 3: (2, 1, 0), 4: (2, 11, 1, 0)}
"""Number of axes to the parameters of Input and Reshape that say their sizes, outermost first."""

Value = int | float | Sequence[int] | Sequence[float]
Parameters = Mapping[int, Value]


def write(
    network: Network,
    *,
    ranges: Mapping[str, Range] | None = None,
    metadata: Mapping[str, str] = {},
    reduce_range: bool = False,
) -> Artifact:
    """The network as one file with ncnn's param and bin, batch norm folded; it has no batch axis.

    `ranges` and `reduce_range` are for int8, which this writer does not write.

    Raises:
        ValueError: an operator has 8 bits, or no form in ncnn.
    """
    only_float(network.graph, "the ncnn writer")
    lowered, _ = prepared(network)
    graph = _swish(live(lowered.graph.ops, lowered.graph.output))
    fused = _fused(graph)
    sheet = _Sheet(Network(graph, lowered.weights), fused)
    gone = {activation.name: layer for layer, activation in fused.items()}
    reads = Counter(gone.get(i, i) for o in graph if o.name not in gone for i in o.inputs)
    ready: dict[str, list[str]] = {}
    for o in graph:
        if o.name in gone:
            continue
        if len(o.shape) not in _SIZES:
            raise _no_form(o, f"tensors of {len(o.shape)} axes")
        out = RULES[o.kind](sheet, o, [ready[gone.get(i, i)].pop() for i in o.inputs])
        count = reads[o.name]
        ready[o.name] = sheet.layer("Split", f"{o.name}/split", [out], count) if count > 1 else [out]
    out = ready[gone.get(graph.output, graph.output)].pop()
    if out == INPUT:
        (out,) = sheet.layer("Noop", f"{graph.output}/end", [out])
    param = sheet.param(out, metadata).encode()
    return Artifact("ncnn", b"".join([len(param).to_bytes(8, "little"), param, *sheet.arrays]), network.graph)


def _no_form(o: Op, what: str) -> ValueError:
    return ValueError(f"operator {o.name!r} ({o.kind}) has no form in ncnn, which has no {what}")


def _swish(graph: Graph) -> Graph:
    """The graph with each product of a tensor and its own sigmoid as one silu."""
    ops = []
    for o in graph:
        for gate in (graph[i] for i in o.inputs if o.kind == "mul" and graph[i].kind == "sigmoid"):
            if graph.users[gate.name] == (o.name,) and gate.inputs[0] in o.inputs:
                o = op(o.name, "silu", gate.inputs, o.shape)
        ops.append(o)
    return live(tuple(ops), graph.output)


_ACTIVATIONS: Final[Mapping[str, Callable[[Op], tuple[int, tuple[float, ...]]]]] = {
    "relu": lambda o: (1, ()),
    "leaky_relu": lambda o: (2, (float(o["slope"]),)),
    "relu6": lambda o: (3, (0.0, 6.0)),
    "sigmoid": lambda o: (4, ()),
    "hard_swish": lambda o: (6, (1 / 6, 0.5)),
}
"""ncnn's number and parameters of the activations that a convolution or dense layer can end in."""


def _fused(graph: Graph) -> dict[str, Op]:
    """Convolution or dense layer to the activation that runs in it, being alone in reading it."""
    alone = {o.inputs[0]: o for o in graph if o.kind in _ACTIVATIONS and graph.users[o.inputs[0]] == (o.name,)}
    return {layer: o for layer, o in alone.items() if graph[layer].kind in ("conv", "linear")}


@final
class _Sheet:
    """The layers and arrays of one file in the making."""

    def __init__(self, network: Network, fused: Mapping[str, Op]) -> None:
        self.graph, self.arrays = network.graph, list[bytes]()
        self._weights, self._fused = network.weights, fused
        self._layers: list[tuple[str, str, tuple[str, ...], int, Parameters]] = []
        self._blobs = 0

    def layer(
        self, kind: str, name: str, ins: Sequence[str], count: int = 1, given: Mapping[int, Value] = {}
    ) -> list[str]:
        """Adds a layer and returns the names of its `count` outputs."""
        outs = [str(self._blobs + n) if kind != "Input" else INPUT for n in range(count)]
        self._blobs += count
        self._layers.append((kind, name, (*ins, *outs), count, given))
        return outs

    def reshape(self, name: str, blob: str, shape: Sequence[int]) -> str:
        """Adds a Reshape of a blob and returns the name of its output."""
        return self.layer("Reshape", name, [blob], given=_sizes(shape))[0]

    def weigh(self, o: Op) -> Parameters:
        """Adds the arrays of a convolution or dense layer; says the activation that runs in it."""
        weight, *bias = (np.asarray(self._weights[key], "<f4") for key in self.graph.weight_shapes(o))
        self.arrays += [bytes(4), weight.tobytes(), *(b.tobytes() for b in bias)]  # 0 is the tag of float32
        if o.name not in self._fused:
            return {}
        activation = self._fused[o.name]
        number, values = _ACTIVATIONS[activation.kind](activation)
        return {9: number, 10: values} if values else {9: number}

    def normalise(self, o: Op) -> None:
        """Adds the arrays of a batch norm, in ncnn's order."""
        names = ("weight", "running_mean", "running_var", "bias")
        self.arrays += [np.asarray(self._weights[o.array(n)], "<f4").tobytes() for n in names]

    def scale(self, o: Op) -> None:
        """Adds the arrays of an affine: a scale for each channel, then the shifts where there are any."""
        factor, offset = scale_and_shift(o, self._weights)
        self.arrays += [np.asarray(v, "<f4").tobytes() for v in (factor, offset)][: 1 + o["shift"]]

    def slopes(self, o: Op) -> int:
        """Adds the slopes of a PReLU; says how many they are."""
        slopes = np.asarray(self._weights[o.array("weight")], "<f4")
        self.arrays.append(slopes.tobytes())
        return len(slopes)

    def param(self, output: str, metadata: Mapping[str, str]) -> str:
        """The param text, with this blob as the output."""
        lines = [str(_MAGIC), f"{len(self._layers)} {self._blobs}"]
        for kind, name, touched, made, given in self._layers:
            blobs = [OUTPUT if b == output else b for b in touched]
            word = "_".join(name.split())[:255]  # ncnn reads words of at most so many characters
            values = (_parameter(key, value) for key, value in given.items())
            lines.append(" ".join([kind, word, str(len(blobs) - made), str(made), *blobs, *values]))
        return "\n".join([*lines, f"# {json.dumps(dict(metadata))}", ""])


def _parameter(key: int, value: Value) -> str:
    if isinstance(value, int | float):
        return f"{key}={_number(value)}"
    return f"{-23300 - key}={','.join([str(len(value)), *map(_number, value)])}"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.8e}"  # a point or an e is what makes a float of it


def _sizes(shape: Sequence[int]) -> Parameters:
    return dict(zip(_SIZES[len(shape)], shape, strict=True))


Rule = Callable[[_Sheet, Op, list[str]], str]
"""Adds an operator's layers: sheet, operator, names of the blobs it reads; returns that of its output."""


def _fixed(kind: str, given: Mapping[int, Value] = {}) -> Rule:
    """The rule of an operator that is one layer with these parameters."""
    return lambda sheet, o, ins: sheet.layer(kind, o.name, ins, given=given)[0]


def _from(kind: str, given: Callable[[Op], Parameters]) -> Rule:
    """The rule of an operator that is one layer with parameters made of its attributes."""
    return lambda sheet, o, ins: sheet.layer(kind, o.name, ins, given=given(o))[0]


def _input(sheet: _Sheet, o: Op, ins: list[str]) -> str:
    return sheet.layer("Input", o.name, ins, given=_sizes(o.shape))[0]


def _window(o: Op) -> Parameters:
    """Kernel and stride of a pool."""
    (kh, kw), (sh, sw) = o["kernel"], o["stride"]
    return {1: kw, 11: kh, 2: sw, 12: sh}


def _conv(sheet: _Sheet, o: Op, ins: list[str]) -> str:
    top, left, bottom, right = o["padding"] if len(o["padding"]) == 4 else o["padding"] * 2
    (kh, kw), (sh, sw), (dh, dw), groups = o["kernel"], o["stride"], o["dilation"], o["groups"]
    size = o.shape[0] * sheet.graph.in_shape(o)[0] // groups * kh * kw
    given = {0: o.shape[0], 1: kw, 11: kh, 2: dw, 12: dh, 3: sw, 13: sh, 4: left, 14: top, 15: right, 16: bottom}
    given |= {5: o["bias"], 6: size} | ({7: groups} if groups > 1 else {})
    kind = "ConvolutionDepthWise" if groups > 1 else "Convolution"
    return sheet.layer(kind, o.name, ins, given={**given, **sheet.weigh(o)})[0]


def _linear(sheet: _Sheet, o: Op, ins: list[str]) -> str:
    shape = sheet.graph.in_shape(o)
    rows = o.size // o.shape[-1]
    blob = ins[0]
    if len(shape) > 1 and (len(shape) > 2 or rows == 1):
        blob = sheet.reshape(f"{o.name}/rows", blob, (rows, shape[-1]) if rows > 1 else shape[-1:])
    given = {0: o.shape[-1], 1: o["bias"], 2: o.shape[-1] * shape[-1]}
    (blob,) = sheet.layer("InnerProduct", o.name, [blob], given={**given, **sheet.weigh(o)})
    return blob if len(shape) == 1 or (len(shape) == 2 and rows > 1) else sheet.reshape(f"{o.name}/axes", blob, o.shape)


def _batch_norm(sheet: _Sheet, o: Op, ins: list[str]) -> str:
    sheet.normalise(o)
    return sheet.layer("BatchNorm", o.name, ins, given={0: o.shape[0], 1: float(o["eps"])})[0]


def _affine(sheet: _Sheet, o: Op, ins: list[str]) -> str:
    if array_axis(o) != 0:
        raise _no_form(o, "scale along another axis than the first")
    sheet.scale(o)
    return sheet.layer("Scale", o.name, ins, given={0: o.shape[0], 1: o["shift"]})[0]


def _prelu(sheet: _Sheet, o: Op, ins: list[str]) -> str:
    return sheet.layer("PReLU", o.name, ins, given={0: sheet.slopes(o)})[0]


def _log_softmax(sheet: _Sheet, o: Op, ins: list[str]) -> str:
    """As x - max - log(sum(exp(x - max))): the logarithm of a small softmax would be that of 0."""
    axis: dict[int, Value] = {1: 0, 3: (int(o["axis"]),), 4: 1, 5: 1}
    first, x = sheet.layer("Split", f"{o.name}/inputs", ins, 2)
    (most,) = sheet.layer("Reduction", f"{o.name}/most", [first], given={0: 4, **axis})
    (below,) = sheet.layer("BinaryOp", f"{o.name}/below", [x, most], given={0: 1})
    one, two = sheet.layer("Split", f"{o.name}/twice", [below], 2)
    (powers,) = sheet.layer("UnaryOp", f"{o.name}/powers", [one], given={0: 7})
    (total,) = sheet.layer("Reduction", f"{o.name}/total", [powers], given={0: 0, **axis})
    (offset,) = sheet.layer("UnaryOp", f"{o.name}/offset", [total], given={0: 8})
    return sheet.layer("BinaryOp", o.name, [two, offset], given={0: 1})[0]


def _binary(number: int) -> Rule:
    def rule(sheet: _Sheet, o: Op, ins: list[str]) -> str:
        if len({len(sheet.graph[i].shape) for i in o.inputs}) > 1:
            raise _no_form(o, "broadcasting of torch's kind between tensors of different rank")
        return sheet.layer("BinaryOp", o.name, ins, given={0: number})[0]

    return rule


def _max_pool(sheet: _Sheet, o: Op, ins: list[str]) -> str:
    (top, left), (bottom, right) = o["padding"], ends(o, sheet.graph.in_shape(o))
    given = {0: 0, **_window(o), 3: left, 13: top, 14: right, 15: bottom, 5: 1}
    return sheet.layer("Pooling", o.name, ins, given=given)[0]


def _avg_pool(sheet: _Sheet, o: Op, ins: list[str]) -> str:
    (top, left), (bottom, right), count = o["padding"], ends(o, sheet.graph.in_shape(o)), o["count_include_pad"]
    if count and (bottom, right) != (top, left):
        # the given padding counts in the mean, what hangs over does not: the first has to become values
        ins = sheet.layer("Padding", f"{o.name}/padded", ins, given={0: top, 1: top, 2: left, 3: left})
        top, left, bottom, right, count = 0, 0, bottom - top, right - left, 0
    given = {0: 1, **_window(o), 3: left, 13: top, 14: right, 15: bottom, 5: 1, 6: count}
    return sheet.layer("Pooling", o.name, ins, given=given)[0]


def _global_pool(sheet: _Sheet, o: Op, ins: list[str]) -> str:
    (mean,) = sheet.layer("Pooling", o.name, ins, given={0: int(o.kind == "global_pool"), 4: 1})
    return sheet.reshape(f"{o.name}/axes", mean, o.shape) if len(o.shape) == 3 else mean


def _reshape(sheet: _Sheet, o: Op, ins: list[str]) -> str:
    return sheet.reshape(o.name, ins[0], o.shape)


def _transpose(o: Op) -> Parameters:
    return {0: list(permutations(range(len(o.shape)))).index(o["perm"])}  # ncnn numbers them in this order


def _slice(sheet: _Sheet, o: Op, ins: list[str]) -> str:
    axis, step = o["axis"], o["step"]
    spatial = len(o.shape) == 3 and axis > 0
    if step != 1 and not spatial:
        raise _no_form(o, f"slice with a step along axis {axis}")
    whole = sheet.graph.in_shape(o)[axis]
    start, stop, _ = slice(o["start"], o["stop"]).indices(whole)
    if step == 1 or (start, stop) != (0, whole):
        name = o.name if step == 1 else f"{o.name}/part"
        ins = sheet.layer("Crop", name, ins, given={9: (start,), 10: (stop,), 11: (axis,)})
    if step == 1:
        return ins[0]
    strides = {2: step, 12: 1} if axis == 2 else {2: 1, 12: step}
    return sheet.layer("Pooling", o.name, ins, given={0: 0, 1: 1, **strides, 5: 1})[0]


def _pad(o: Op) -> Parameters:
    """Padding goes by the innermost axes: columns, rows, and what is beyond them."""
    pads = o["pads"]
    if o.get("value") or o.get("how"):
        raise _no_form(o, "padding with other values than zero here")
    if min(pads) < 0:
        raise _no_form(o, "negative padding")
    if any(pads[:-6]):
        raise _no_form(o, "padding of a fourth axis")
    front, behind, top, bottom, left, right = ((0,) * 6 + pads)[-6:]
    return {0: top, 1: bottom, 2: left, 3: right, 7: front, 8: behind}


RULES: Final[Mapping[str, Rule]] = {
    "input": _input,
    "conv": _conv,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "affine": _affine,
    "prelu": _prelu,
    "add": _binary(0),
    "sub": _binary(1),
    "mul": _binary(2),
    "relu": _fixed("ReLU"),
    "relu6": _fixed("Clip", {0: 0.0, 1: 6.0}),
    "leaky_relu": _from("ReLU", lambda o: {0: float(o["slope"])}),
    "sigmoid": _fixed("Sigmoid"),
    "tanh": _fixed("TanH"),
    "silu": _fixed("Swish"),
    "hard_sigmoid": _fixed("HardSigmoid", {0: 1 / 6, 1: 0.5}),
    "hard_swish": _fixed("HardSwish", {0: 1 / 6, 1: 0.5}),
    "gelu": _fixed("GELU"),
    "gelu_tanh": _fixed("GELU", {0: 1}),
    "clip": _from("Clip", lambda o: {0: float(o["low"]), 1: float(o["high"])}),
    "softmax": _from("Softmax", lambda o: {0: o["axis"], 1: 1}),  # 1: axes of matrices are counted as documented
    "log_softmax": _log_softmax,
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "global_pool": _global_pool,
    "global_max_pool": _global_pool,
    "concat": _from("Concat", lambda o: {0: o["axis"]}),
    "flatten": _fixed("Flatten"),
    "reshape": _reshape,
    "transpose": _from("Permute", _transpose),
    "slice": _slice,
    "pad": _from("Padding", _pad),
}
"""The rule of each kind."""

WRITES: Final = frozenset(RULES)
"""Kinds that have a form here."""
