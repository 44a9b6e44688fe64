"""Two spaces of networks to time: cells as in NAS-Bench-201, and mixtures of mobile, fused and residual blocks.

Batch norms are left out, as every runtime folds them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from chipfit.core.graph import Attr, Graph, Op, live, op

CLASSES = 10

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""Of a cell, from node to node."""

CELL_OPS = ("none", "skip", "conv1x1", "conv3x3", "avg_pool3x3")


class _Writer:
    """Appends operators to a graph that begins with an input of three channels."""

    def __init__(self, size: int) -> None:
        self.ops: list[Op] = [op("x", "input", (), (3, size, size))]
        self.shapes: dict[str, tuple[int, ...]] = {"x": (3, size, size)}

    def put(self, kind: str, inputs: Sequence[str], shape: tuple[int, ...], **attrs: Attr) -> str:
        name = f"{kind}{len(self.ops)}"
        weights = name if kind in ("conv", "linear") else ""
        self.ops.append(op(name, kind, tuple(inputs), shape, weights, **attrs))
        self.shapes[name] = shape
        return name

    def conv(self, x: str, width: int, kernel: int, stride: int = 1, groups: int = 1, act: str = "") -> str:
        _, h, w = self.shapes[x]
        shape = (width, (h - 1) // stride + 1, (w - 1) // stride + 1)
        name = self.put("conv", [x], shape, **_window(kernel, stride), dilation=(1, 1), groups=groups, bias=1)
        return self.act(name, act) if act else name

    def act(self, x: str, kind: str) -> str:
        return self.put(kind, [x], self.shapes[x])

    def add(self, inputs: Sequence[str]) -> str:
        total, *rest = inputs
        for x in rest:
            total = self.put("add", [total, x], self.shapes[x])
        return total

    def done(self, x: str) -> Graph:
        pooled = self.put("global_pool", [x], self.shapes[x][:1], keep=0)
        last = self.put("linear", [pooled], (CLASSES,), bias=1)
        return live(tuple(self.ops), last)


def _window(kernel: int, stride: int) -> dict[str, Attr]:
    return {"kernel": (kernel,) * 2, "stride": (stride,) * 2, "padding": (kernel // 2,) * 2}


def cells(rng: np.random.Generator) -> Graph:
    """One random cell at each of 16, 32 and 64 channels on a 32x32 input (Dong and Yang 2020, one cell a stage)."""
    edges = _connected(rng)
    w = _Writer(32)
    x = w.conv("x", 16, 3)
    for stage, width in enumerate((16, 32, 64)):
        if stage:
            x = _reduction(w, x, width)
        x = _cell(w, x, edges)
    return w.done(w.act(x, "relu"))


def _connected(rng: np.random.Generator) -> tuple[str, ...]:
    """Random operators of a cell in which some path leads from its input to its output."""
    while True:
        edges = tuple(CELL_OPS[i] for i in rng.integers(len(CELL_OPS), size=len(EDGES)))
        reached = {0}
        for (a, b), kind in sorted(zip(EDGES, edges, strict=True)):
            if a in reached and kind != "none":
                reached.add(b)
        if 3 in reached:
            return edges


def _cell(w: _Writer, x: str, edges: Sequence[str]) -> str:
    """Each node sums its edges; convolutions read the rectified node."""
    nodes, rectified = {0: x}, dict[int, str]()
    for target in (1, 2, 3):
        arriving = []
        for (a, b), kind in zip(EDGES, edges, strict=True):
            if b != target or kind == "none" or a not in nodes:
                continue
            source = nodes[a]
            shape = w.shapes[source]
            if kind == "skip":
                arriving.append(source)
            elif kind == "avg_pool3x3":
                arriving.append(w.put("avg_pool", [source], shape, **_window(3, 1), ceil=0, count_include_pad=0))
            else:
                if a not in rectified:
                    rectified[a] = w.act(source, "relu")
                arriving.append(w.conv(rectified[a], shape[0], int(kind[-1])))
        if arriving:
            nodes[target] = w.add(arriving)
    return nodes[3]


def _reduction(w: _Writer, x: str, width: int) -> str:
    """A residual block of stride 2."""
    channels, h, _ = w.shapes[x]
    inner = w.conv(w.act(x, "relu"), width, 3, 2, act="relu")
    small = {"kernel": (2, 2), "stride": (2, 2), "padding": (0, 0), "ceil": 0, "count_include_pad": 0}
    pooled = w.put("avg_pool", [x], (channels, h // 2, h // 2), **small)  # type: ignore[arg-type]
    return w.add([w.conv(inner, width, 3), w.conv(pooled, width, 1)])


def mixed(rng: np.random.Generator) -> Graph:
    """Four stages of one to three equal blocks each on a 64x64 input; kernels, expansions and the rest at random."""
    w = _Writer(64)
    x = w.conv("x", 16, 3, 2, act="relu")
    width = 16
    for stage in range(4):
        block = (_mobile, _fused, _residual)[rng.integers(3)]
        # dense kernels of 7x7 and six-fold dense expansions would hide all else
        kernel = int(rng.choice([3, 5, 7] if block is _mobile else [3, 5]))
        expansion = int(rng.choice([1, 2, 3, 4, 6] if block is _mobile else [1, 2, 3]))
        act, squeeze = str(rng.choice(["relu", "hard_swish"])), bool(rng.integers(2))
        width += int(rng.choice([0, 8, 16, 24]))
        for n in range(rng.integers(1, 4)):
            stride = 2 if n == 0 and stage else 1
            x = block(w, x, width, kernel, stride, expansion, act, squeeze)
    return w.done(x)


def _mobile(w: _Writer, x: str, width: int, kernel: int, stride: int, expansion: int, act: str, squeeze: bool) -> str:
    """1x1 expansion, depth-wise convolution, 1x1 projection (MobileNetV3)."""
    inner = w.shapes[x][0] * expansion
    y = w.conv(x, inner, 1, act=act) if expansion > 1 else x
    y = w.conv(y, inner, kernel, stride, groups=inner, act=act)
    return _projected(w, x, _squeezed(w, y) if squeeze else y, width)


def _fused(w: _Writer, x: str, width: int, kernel: int, stride: int, expansion: int, act: str, squeeze: bool) -> str:
    """The expansion does the depth-wise convolution's work (EfficientNetV2)."""
    y = w.conv(x, w.shapes[x][0] * expansion, kernel, stride, act=act)
    return _projected(w, x, _squeezed(w, y) if squeeze else y, width)


def _residual(w: _Writer, x: str, width: int, kernel: int, stride: int, expansion: int, act: str, squeeze: bool) -> str:
    """Two convolutions and a shortcut, 1x1 where the shape changes."""
    y = w.conv(w.conv(x, width, kernel, stride, act=act), width, kernel)
    y = _squeezed(w, y) if squeeze else y
    shortcut = x if w.shapes[x] == w.shapes[y] else w.conv(x, width, 1, stride)
    return w.act(w.add([y, shortcut]), act)


def _squeezed(w: _Writer, x: str) -> str:
    """Squeeze and excitation: each channel times what a small network makes of all means."""
    width = w.shapes[x][0]
    mean = w.put("global_pool", [x], (width, 1, 1), keep=1)
    gate = w.act(w.conv(w.conv(mean, max(8, width // 4), 1, act="relu"), width, 1), "hard_sigmoid")
    return w.put("mul", [x, gate], w.shapes[x])


def _projected(w: _Writer, x: str, y: str, width: int) -> str:
    """The end of a block that expands: a linear 1x1 convolution, and the input added where the shape is kept."""
    y = w.conv(y, width, 1)
    return w.add([y, x]) if w.shapes[x] == w.shapes[y] else y


SPACES: Mapping[str, Callable[[np.random.Generator], Graph]] = {"nb201": cells, "mixed": mixed}
"""Makers of a random network, by name."""


def networks(space: str, n: int) -> list[Graph]:
    """The first `n` different networks of a space; a longer list begins with a shorter one."""
    found: dict[str, Graph] = {}
    rng = np.random.default_rng(0)
    while len(found) < n:
        graph = SPACES[space](rng)
        found.setdefault(graph.key, graph)
    return list(found.values())
