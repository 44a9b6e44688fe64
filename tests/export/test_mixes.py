"""Random networks in random mixes of int8 and float: each file loads, and computes what fake quantisation says.

What a format has no int8 kernel for must neither stop a file from loading nor change what it answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from chipfit.compress.quantise import fake_quantised
from chipfit.core.graph import Graph, Network, live
from chipfit.export import onnx

Rng = np.random.Generator
Floats = NDArray[np.float32]
Grow = Callable[[Any, str, tuple[int, ...], Rng], str | None]
"""Adds an operator behind a map of this shape; None where it has no place there."""


def _pool(kind: str) -> Grow:
    def grow(b: Any, x: str, shape: tuple[int, ...], rng: Rng) -> str | None:
        if min(shape[1:]) < 3:
            return None
        k, s, p = ((2, 2, 0), (3, 2, 1), (3, 1, 1), (3, 2, 0))[rng.integers(4)]
        counted = {"count_include_pad": int(rng.integers(2))} if kind == "avg_pool" else {}
        made: str = b.pool(kind, x, k, s, p, int(rng.integers(2)), **counted)
        return made

    return grow


def _other(b: Any, x: str, shape: tuple[int, ...], rng: Rng) -> str:
    """A value of this shape beside x: one that is there, or x behind a convolution."""
    there = [n for n, s in b.shapes.items() if s == shape and n not in (x, "x")]
    return str(rng.choice(there)) if there else b.conv(x, shape[0], 1, bias=1)


def _two(kind: str) -> Grow:
    return lambda b, x, shape, rng: b.add(kind, x, _other(b, x, shape, rng))


def _concat(b: Any, x: str, shape: tuple[int, ...], rng: Rng) -> str:
    return str(b.add("concat", x, _other(b, x, shape, rng), shape=(2 * shape[0], *shape[1:]), axis=0))


def _gate(b: Any, x: str, shape: tuple[int, ...], rng: Rng) -> str:
    mean = b.add("global_pool", x, shape=(shape[0], 1, 1), keep=1)
    return str(b.add("mul", x, b.add("sigmoid", b.conv(mean, shape[0], 1, bias=1))))


def _shuffle(b: Any, x: str, shape: tuple[int, ...], rng: Rng) -> str | None:
    if shape[0] % 2:
        return None
    c, *size = shape[0] // 2, *shape[1:]
    y = b.add("reshape", x, shape=(2, c, *size), to=(2, c, *size))
    y = b.add("transpose", y, shape=(c, 2, *size), perm=(1, 0, 2, 3))
    return str(b.add("reshape", y, shape=shape, to=shape))


def _pad(b: Any, x: str, shape: tuple[int, ...], rng: Rng) -> str:
    pads = ((0, 0, 1, 1, 1, 1), (0, 0, 0, 1, 0, 1), (1, 2, 0, 0, 0, 0))[rng.integers(3)]
    grown = tuple(n + pads[2 * i] + pads[2 * i + 1] for i, n in enumerate(shape))
    return str(b.add("pad", x, shape=grown, pads=pads))


GROW: Mapping[str, Grow] = {
    "conv": lambda b, x, shape, rng: b.conv(x, int(rng.integers(2, 9)), int(rng.choice([1, 3])), bias=1),
    "down": lambda b, x, shape, rng: b.conv(x, 6, 3, 2) if min(shape[1:]) > 3 else None,
    "depthwise": lambda b, x, shape, rng: b.conv(x, shape[0], 3, groups=shape[0], bias=1),
    "block": lambda b, x, shape, rng: b.block(x, int(rng.integers(2, 9)), act=str(rng.choice(["", "relu", "relu6"]))),
    "norm": lambda b, x, shape, rng: b.add("batch_norm", x, eps=1e-5),
    "leaky_relu": lambda b, x, shape, rng: b.add("leaky_relu", x, slope=0.1),
    "softmax": lambda b, x, shape, rng: b.add("softmax", x, axis=int(rng.integers(3))),
    "slice": lambda b, x, shape, rng: b.add(
        "slice", x, shape=(-(-shape[0] // 2), *shape[1:]), axis=0, start=0, stop=-(-shape[0] // 2), step=1
    ),
    "rows": lambda b, x, shape, rng: b.add("linear", x, shape=(*shape[:2], int(rng.integers(3, 8))), bias=1),
    "max_pool": _pool("max_pool"), "avg_pool": _pool("avg_pool"), "mean_pool": _pool("avg_pool"),
    "add": _two("add"), "mul": _two("mul"), "sub": _two("sub"), "concat": _concat, "joined": _concat,
    "gate": _gate, "shuffle": _shuffle, "pad": _pad,
    **{k: lambda b, x, shape, rng, k=k: b.add(k, x)  # type: ignore[misc]
       for k in ("relu", "relu6", "sigmoid", "silu", "hard_swish", "tanh", "gelu")},
}  # fmt: skip


def drawn(sketch: Any, seed: int) -> Graph:
    """A random graph with maps, then means or a flatten, then dense layers."""
    rng = np.random.default_rng(seed)
    b = sketch(int(rng.integers(2, 4)), *[int(rng.integers(7, 12))] * 2)
    x = "x"
    for _ in range(int(rng.integers(5, 11))):
        grown = GROW[str(rng.choice(list(GROW)))](b, x, b.shapes[x], rng)
        x = grown or x
        if rng.random() < 0.2:  # back to a value that others read too
            maps = [n for n, s in b.shapes.items() if len(s) == 3]
            x = str(rng.choice(maps))
    if rng.random() < 0.5:
        b.head(x)
    else:
        flat = b.add("flatten", x, shape=(int(np.prod(b.shapes[x])),))
        b.add("linear", b.add("relu", b.add("linear", flat, shape=(8,), bias=1)), shape=(5,), bias=1)
    return live(tuple(b.ops), b.ops[-1].name)


def mixed(network: Network, seed: int) -> Network:
    """The network with int8 at random: everywhere, or at half or most of its operators."""
    rng, graph = np.random.default_rng(seed), network.graph
    share = (0.5, 0.8, 1.0)[seed % 3]
    ops = (replace(o, bits=8 if o.kind != "input" and rng.random() < share else 32) for o in graph)
    return Network(Graph(tuple(ops), graph.output), network.weights)


def decibels(want: Floats, got: Floats) -> float:
    return float(10 * np.log10((want**2).sum() / max(((want - got) ** 2).sum(), 1e-30)))


def lite(data: bytes, x: Floats) -> Floats:
    interpreter = pytest.importorskip("ai_edge_litert.interpreter").Interpreter(model_content=data)
    interpreter.allocate_tensors()
    (given,), (made,) = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for row in x:
        interpreter.set_tensor(given["index"], row.transpose(1, 2, 0)[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(made["index"])[0])
    return np.stack(found)


@pytest.mark.parametrize("seed", range(40))
def test_files_answer_as_fake_quantisation_does(sketch, with_weights, evaluate, run, seed):
    tflite = pytest.importorskip("chipfit.export.tflite")
    network = with_weights(drawn(sketch, seed), seed)
    mix = mixed(network, seed)
    x = np.random.default_rng(seed).normal(size=(12, *network.graph.input_shape)).astype(np.float32)
    known = {name: (min(0.0, float(v.min())), max(0.0, float(v.max()))) for name, v in evaluate(network, x).items()}
    want = fake_quantised(mix, known, x)
    assert decibels(want, run(onnx.write(mix, ranges=known, batch=None).data, x)) > 25
    assert decibels(want, lite(tflite.write(mix, ranges=known).data, x)) > 25


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("ceil", [0, 1])
def test_a_pool_without_an_int8_form_stays_float(sketch, with_weights, evaluate, count, ceil):
    """Between int8 layers, which would make any other pool int8."""
    tflite = pytest.importorskip("chipfit.export.tflite")
    b = sketch(3, 8, 8)
    b.head(b.block(b.pool("avg_pool", b.block("x", 8), 3, 2, 1, ceil, count_include_pad=count), 8))
    network = with_weights(b.graph)
    whole = Network(Graph(tuple(replace(o, bits=8) for o in b.graph), b.graph.output), network.weights)
    x = np.random.default_rng(0).normal(size=(8, 3, 8, 8)).astype(np.float32)
    known = {name: (min(0.0, float(v.min())), max(0.0, float(v.max()))) for name, v in evaluate(network, x).items()}
    assert decibels(fake_quantised(whole, known, x), lite(tflite.write(whole, ranges=known).data, x)) > 30


def test_a_relu_clamps_where_its_grid_does_not(sketch, with_weights, evaluate):
    """A relu of int8 values that shares its grid with what it reads, through a concatenation."""
    tflite = pytest.importorskip("chipfit.export.tflite")
    b = sketch(3, 6, 6)
    y = b.conv("x", 4, bias=1)
    b.head(b.add("concat", b.add("relu", y), y, shape=(8, 6, 6), axis=0))
    network = with_weights(b.graph)
    whole = Network(Graph(tuple(replace(o, bits=8) for o in b.graph), b.graph.output), network.weights)
    x = np.random.default_rng(0).normal(size=(8, 3, 6, 6)).astype(np.float32)
    known = {name: (min(0.0, float(v.min())), max(0.0, float(v.max()))) for name, v in evaluate(network, x).items()}
    assert decibels(fake_quantised(whole, known, x), lite(tflite.write(whole, ranges=known).data, x)) > 30
