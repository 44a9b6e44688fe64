"""Graphs built by hand, an evaluation of them that knows nothing of the package, and ONNX Runtime without its log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from chipfit.core.graph import CHANNELWISE, LAYERS, Graph, Network, Op, op
from chipfit.space.edits import Swap, apply
from chipfit.space.program.seeds import USUAL
from chipfit.space.programmed import replaceable

Values = dict[str, NDArray[np.float32]]


class Sketch:
    """A graph in the making: each method adds an operator and returns its name."""

    def __init__(self, *shape: int) -> None:
        self.shapes = {"x": shape}
        self.ops = [op("x", "input", (), shape)]

    def add(self, kind: str, *inputs: str, shape: tuple[int, ...] | None = None, **attrs: object) -> str:
        name = f"{kind}{len(self.ops)}"
        weights = name if kind in LAYERS | CHANNELWISE else ""
        self.shapes[name] = shape or self.shapes[inputs[0]]
        self.ops.append(op(name, kind, inputs, self.shapes[name], weights, **attrs))  # type: ignore[arg-type]
        return name

    def conv(self, x: str, out: int, k: int = 3, s: int = 1, groups: int = 1, bias: int = 0, d: int = 1) -> str:
        p = d * (k // 2)
        size = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n in self.shapes[x][1:])
        window = {"kernel": (k, k), "stride": (s, s), "padding": (p, p), "dilation": (d, d)}
        return self.add("conv", x, shape=(out, *size), **window, groups=groups, bias=bias)

    def block(self, x: str, out: int, k: int = 3, s: int = 1, groups: int = 1, act: str = "relu") -> str:
        """Convolution, batch norm and an activation."""
        y = self.add("batch_norm", self.conv(x, out, k, s, groups), eps=1e-5)
        return self.add(act, y) if act else y

    def pool(self, kind: str, x: str, k: int, s: int, p: int = 0, ceil: int = 0, **attrs: int) -> str:
        shape = F.max_pool2d(torch.zeros(1, *self.shapes[x]), k, s, p, ceil_mode=bool(ceil)).shape[1:]
        return self.add(kind, x, shape=tuple(shape), kernel=(k, k), stride=(s, s), padding=(p, p), ceil=ceil, **attrs)

    def head(self, x: str, classes: int = 10) -> str:
        y = self.add("global_pool", x, shape=self.shapes[x][:1], keep=0)
        return self.add("linear", y, shape=(classes,), bias=1)

    @property
    def graph(self) -> Graph:
        return Graph(tuple(self.ops), self.ops[-1].name)


def residual(blocks: int = 1, width: int = 8) -> Graph:
    """Residual network with strided projections."""
    b = Sketch(3, 16, 16)
    x = b.block("x", width)
    for stage in range(3):
        for block in range(blocks):
            out, s = width << stage, 2 if stage and not block else 1
            y = b.block(b.block(x, out, 3, s), out, act="")
            x = b.add("relu", b.add("add", y, b.block(x, out, 1, s, act="") if s == 2 else x))
    b.head(x)
    return b.graph


def mobile(act: str = "relu6", squeeze: bool = False) -> Graph:
    """Inverted residuals with depth-wise convolutions, with `squeeze` also squeeze-and-excitation."""
    b = Sketch(3, 16, 16)
    x = b.block("x", 8, 3, 2, act=act)
    for out, s in ((8, 1), (16, 2), (16, 1)):
        inner = 3 * b.shapes[x][0]
        y = b.block(b.block(x, inner, 1, act=act), inner, 3, s, inner, act=act)
        if squeeze:
            mean = b.add("global_pool", y, shape=(inner, 1, 1), keep=1)
            gate = b.add("sigmoid", b.conv(b.add("relu", b.conv(mean, 4, 1, bias=1)), inner, 1, bias=1))
            y = b.add("mul", y, gate)
        y = b.block(y, out, 1, act="")
        x = b.add("add", x, y) if b.shapes[y] == b.shapes[x] else y
    b.head(b.block(x, 32, 1, act=act))
    return b.graph


def shuffled() -> Graph:
    """A split, one half through a depth-wise block, concat and channel shuffle (Ma et al. 2018)."""
    b = Sketch(3, 12, 12)
    x = b.block("x", 16)
    left, right = (b.add("slice", x, shape=(8, 12, 12), axis=0, start=i, stop=i + 8, step=1) for i in (0, 8))
    right = b.block(b.block(b.block(right, 8, 1), 8, 3, groups=8, act=""), 8, 1)
    x = b.add("concat", left, right, shape=(16, 12, 12), axis=0)
    x = b.add("reshape", x, shape=(2, 8, 12, 12), to=(2, 8, 12, 12))
    x = b.add("transpose", x, shape=(8, 2, 12, 12), perm=(1, 0, 2, 3))
    x = b.add("reshape", x, shape=(16, 12, 12), to=(16, 12, 12))
    b.head(b.block(x, 16))
    return b.graph


def dense() -> Graph:
    """Batch norm and relu before each convolution, and everything concatenated (Huang et al. 2016)."""
    b = Sketch(3, 8, 8)
    x = b.block("x", 8, act="")
    for _ in range(2):
        y = b.conv(b.add("relu", b.add("batch_norm", x, eps=1e-5)), 4)
        x = b.add("concat", x, y, shape=(b.shapes[x][0] + 4, 8, 8), axis=0)
    x = b.pool("avg_pool", b.add("relu", b.add("batch_norm", x, eps=1e-5)), 2, 2, count_include_pad=1)
    b.head(x)
    return b.graph


def pooled() -> Graph:
    """LeNet with its relu behind the pool, an inception block, ceil pools and leaky relus."""
    b = Sketch(1, 17, 17)
    x = b.add("relu", b.pool("max_pool", b.conv("x", 8, 5, bias=1), 2, 2, ceil=1))
    ways = [b.block(x, 4, 1), b.block(x, 4)]
    ways += [b.block(b.pool("avg_pool", x, 3, 1, 1, count_include_pad=0), 4, 1), b.pool("max_pool", x, 3, 1, 1)]
    x = b.add("concat", *ways, shape=(20, 9, 9), axis=0)
    x = b.add("leaky_relu", b.conv(x, 16, d=2, bias=1), slope=0.1)
    x = b.pool("avg_pool", x, 3, 2, 1, ceil=1, count_include_pad=0)
    x = b.add("flatten", x, shape=(16 * 25,))
    x = b.add("relu", b.add("linear", x, shape=(32,), bias=1))
    b.add("linear", x, shape=(10,), bias=0)
    return b.graph


def odd() -> Graph:
    """Everything else: paddings, the other activations, sub, softmax over tokens, dense layers on several axes."""
    b = Sketch(3, 13, 13)
    x = b.pool("avg_pool", b.conv("x", 8), 3, 2, 1, ceil=1, count_include_pad=1)
    x = b.pool("avg_pool", x, 2, 2, 1, ceil=1, count_include_pad=1)
    x = b.add("pad", x, shape=(8, 5, 5), pads=(0, 0, 0, 1, 0, 1))
    window = {"kernel": (3, 3), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
    x = b.add("conv", x, shape=(8, 3, 3), **window, groups=2, bias=1)
    for act in ("hard_swish", "silu", "tanh", "gelu", "hard_sigmoid"):
        x = b.add(act, b.conv(x, 8, 1, bias=1))
    x = b.add("pad", x, shape=(10, 3, 3), pads=(1, 1, 0, 0, 0, 0))
    x = b.add("transpose", b.add("reshape", x, shape=(10, 9), to=(10, 9)), shape=(9, 10), perm=(1, 0))
    y = b.add("relu", b.add("linear", x, shape=(9, 12), bias=1))
    y = b.add("linear", y, shape=(9, 10), bias=0)
    x = b.add("softmax", b.add("sub", x, y), axis=1)
    b.add("linear", b.add("flatten", x, shape=(90,)), shape=(10,), bias=1)
    return b.graph


def scaled() -> Graph:
    """Scales and shifts of every kind, in layers and beside them; PReLU, clip, tanh's GELU, maxima, log-softmax."""
    b = Sketch(3, 12, 12)
    x = b.add("affine", "x", scale=1, shift=1, single=0, learnt=0)
    x = b.add("prelu", b.conv(x, 8), single=0)
    x = b.add("affine", b.conv(x, 8), scale=1, shift=0, single=0, learnt=1)
    x = b.add("affine", b.add("clip", x, low=-1.0, high=2.0), scale=0, shift=1, single=1, learnt=0)
    y = b.add("gelu_tanh", b.conv(b.add("prelu", x, single=1), 8))
    x = b.add("add", x, b.add("affine", y, scale=1, shift=0, single=1, learnt=1))
    most = b.add("global_max_pool", x, shape=(8, 1, 1), keep=1)
    x = b.add("mul", x, b.add("sigmoid", b.conv(most, 8, 1, bias=1)))
    x = b.add("global_max_pool", b.block(x, 8), shape=(8,), keep=0)
    x = b.add("affine", b.add("linear", x, shape=(10,), bias=1), scale=1, shift=1, single=0, learnt=1)
    b.add("log_softmax", b.add("affine", b.add("tanh", x), scale=1, shift=1, single=0, learnt=0), axis=0)
    return b.graph


def programmed() -> Graph:
    """The residual network with programs in the place of its wide convolutions, each of the usual ones in turn."""
    graph = residual()
    swaps = [Swap(name, USUAL[n % len(USUAL)].text) for n, name in enumerate(replaceable(graph))]
    return apply(graph, swaps)


GRAPHS: dict[str, Callable[[], Graph]] = {
    "residual": residual,
    "mobile": mobile,
    "squeeze": lambda: mobile("silu", squeeze=True),
    "shuffled": shuffled,
    "dense": dense,
    "pooled": pooled,
    "odd": odd,
    "scaled": scaled,
    "programmed": programmed,
}


def random_network(graph: Graph, seed: int = 0) -> Network:
    """The graph with random arrays; batch norms have means, variances and scales far from 0, 1 and 1."""
    rng, weights = np.random.default_rng(seed), {}
    for o in graph:
        for key, shape in graph.weight_shapes(o).items():
            fan_in = int(np.prod(shape[1:])) if key.endswith("weight") and o.kind != "batch_norm" else 4
            positive = key.endswith("running_var") or (o.kind == "batch_norm" and key.endswith("weight"))
            array = rng.uniform(0.5, 1.5, shape) if positive else rng.normal(0, (2 / fan_in) ** 0.5, shape)
            weights[key] = array.astype(np.float32)
    return Network(graph, weights)


Hook = Callable[[str, Tensor], Tensor]


def _layer(o: Op, x: Tensor, w: dict[str, Tensor]) -> Tensor:
    if o.kind == "conv":
        return F.conv2d(x, w["weight"], w.get("bias"), o["stride"], o["padding"], o["dilation"], o["groups"])
    if o.kind == "linear":
        return F.linear(x, w["weight"], w.get("bias"))
    if o.kind == "prelu":
        return F.prelu(x, w["weight"])
    if o.kind == "affine":
        form = (-1, *(1,) * (x.ndim - 2))
        return x * w.get("scale", torch.ones(1)).view(form) + w.get("shift", torch.zeros(1)).view(form)
    return F.batch_norm(x, w["running_mean"], w["running_var"], w["weight"], w["bias"], eps=o["eps"])


def _avg_pool(o: Op, x: Tensor) -> Tensor:
    return F.avg_pool2d(x, o["kernel"], o["stride"], o["padding"], bool(o["ceil"]), bool(o["count_include_pad"]))


def _pad(o: Op, x: Tensor) -> Tensor:
    pairs = [o["pads"][i : i + 2] for i in range(0, len(o["pads"]), 2)]
    return F.pad(x, [v for pair in reversed(pairs) for v in pair])


def _slice(o: Op, x: Tensor) -> Tensor:
    return x[(slice(None),) * (o["axis"] + 1) + (slice(o["start"], o["stop"], o["step"]),)]


TORCH: dict[str, Callable[..., Tensor]] = {
    "add": lambda o, x, y: x + y,
    "sub": lambda o, x, y: x - y,
    "mul": lambda o, x, y: x * y,
    "relu": lambda o, x: F.relu(x),
    "relu6": lambda o, x: F.relu6(x),
    "sigmoid": lambda o, x: torch.sigmoid(x),
    "hard_sigmoid": lambda o, x: F.hardsigmoid(x),
    "silu": lambda o, x: F.silu(x),
    "hard_swish": lambda o, x: F.hardswish(x),
    "tanh": lambda o, x: torch.tanh(x),
    "gelu": lambda o, x: F.gelu(x),
    "gelu_tanh": lambda o, x: F.gelu(x, approximate="tanh"),
    "clip": lambda o, x: x.clamp(o["low"], o["high"]),
    "leaky_relu": lambda o, x: F.leaky_relu(x, o["slope"]),
    "max_pool": lambda o, x: F.max_pool2d(x, o["kernel"], o["stride"], o["padding"], ceil_mode=bool(o["ceil"])),
    "avg_pool": _avg_pool,
    "global_pool": lambda o, x: x.mean((2, 3), keepdim=bool(o["keep"])),
    "global_max_pool": lambda o, x: x.amax((2, 3), keepdim=bool(o["keep"])),
    "concat": lambda o, *xs: torch.cat(xs, o["axis"] + 1),
    "flatten": lambda o, x: x.flatten(1),
    "reshape": lambda o, x: x.reshape(len(x), *o["to"]),
    "transpose": lambda o, x: x.permute(0, *(p + 1 for p in o["perm"])),
    "slice": _slice,
    "pad": _pad,
    "softmax": lambda o, x: torch.softmax(x, o["axis"] + 1),
    "log_softmax": lambda o, x: torch.log_softmax(x, o["axis"] + 1),
}


def reference(network: Network, x: NDArray[np.float32], after: Hook = lambda name, value: value) -> Values:
    """The output (n, ...) of every operator for inputs (n, ...); `after` may change each before it is read."""
    arrays = {k: torch.from_numpy(a) for k, a in network.weights.items()}
    values: dict[str, Tensor] = {}
    for o in network.graph:
        ins = [values[i] for i in o.inputs]
        if o.kind == "input":
            value = torch.from_numpy(x)
        elif o.weights:
            own = {k.rpartition(".")[2]: arrays[k] for k in network.graph.weight_shapes(o)}
            value = _layer(o, ins[0], own)
        else:
            value = TORCH[o.kind](o, *ins)
        assert value.shape[1:] == o.shape, o.name
        values[o.name] = after(o.name, value)
    return {name: value.numpy() for name, value in values.items()}


class Runner(Protocol):
    def __call__(self, data: bytes, x: NDArray[np.float32], optimised: bool = True) -> NDArray[np.float32]: ...


Level = ort.GraphOptimizationLevel


def _session(data: bytes, level: Level, keep: Path | None = None) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = level
    if keep:
        options.optimized_model_filepath = str(keep)
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="session")
def graphs() -> dict[str, Graph]:
    """Graphs by name; together they hold every kind of operator."""
    return {name: make() for name, make in GRAPHS.items()}


@pytest.fixture(params=list(GRAPHS))
def network(request: pytest.FixtureRequest) -> Network:
    """Each of the graphs, with random arrays."""
    return random_network(GRAPHS[request.param]())


@pytest.fixture
def sketch() -> type[Sketch]:
    return Sketch


@pytest.fixture
def with_weights() -> Callable[..., Network]:
    return random_network


@pytest.fixture
def evaluate() -> Callable[..., Values]:
    return reference


@pytest.fixture
def run() -> Runner:
    """Outputs of ONNX bytes in ONNX Runtime; without `optimised` node by node, as the file has them."""
    levels = {True: Level.ORT_ENABLE_ALL, False: Level.ORT_DISABLE_ALL}
    return lambda data, x, optimised=True: _session(data, levels[optimised]).run(None, {"input": x})[0]


@pytest.fixture(params=["ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"])
def kernels(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[bytes], Counter[str]]:
    """How many nodes of each type ONNX Runtime makes of ONNX bytes."""

    def inspect(data: bytes) -> Counter[str]:
        _session(data, getattr(Level, request.param), tmp_path / "optimised.onnx")
        return Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)

    return inspect


@pytest.fixture
def int8() -> Callable[[Network], Network]:
    """The network with every operator in int8."""

    def convert(network: Network) -> Network:
        graph = network.graph
        return Network(Graph(tuple(replace(o, bits=8) for o in graph), graph.output), network.weights)

    return convert


@pytest.fixture
def real_ranges() -> Callable[[Network], dict[str, tuple[float, float]]]:
    """Least and greatest value of each tensor over 64 inputs."""

    def observe(network: Network) -> dict[str, tuple[float, float]]:
        x = np.random.default_rng(3).normal(size=(64, *network.graph.input_shape)).astype(np.float32)
        return {name: (float(v.min()), float(v.max())) for name, v in reference(network, x).items()}

    return observe
