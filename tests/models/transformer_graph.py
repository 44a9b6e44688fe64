"""A transformer as a graph: packed queries, keys and values, then three layers and a bias for each pair."""

from __future__ import annotations

from typing import Any

import numpy as np

from chipfit.core.graph import Graph, Network, Op, op

TOKENS, WIDTH, HEADS, EACH, HIDDEN = 5, 12, 3, 4, 20


class Drawn:
    """Operators one after the other."""

    def __init__(self, *shape: int) -> None:
        self.ops: list[Op] = [op("x", "input", (), shape)]

    def __call__(self, name: str, kind: str, *inputs: str, shape: tuple[int, ...], **attrs: Any) -> str:
        weighted = kind in ("linear", "layer_norm", "affine", "constant", "conv")
        self.ops.append(op(name, kind, inputs, shape, name if weighted else "", **attrs))
        return name

    def shape(self, name: str) -> tuple[int, ...]:
        return next(o.shape for o in self.ops if o.name == name)

    def linear(self, name: str, x: str, width: int) -> str:
        return self(name, "linear", x, shape=(*self.shape(x)[:-1], width), bias=1)

    def norm(self, name: str, x: str) -> str:
        return self(name, "layer_norm", x, shape=self.shape(x), axes=1, eps=1e-5, weight=1, bias=1)

    def reshape(self, name: str, x: str, *to: int) -> str:
        return self(name, "reshape", x, shape=to, to=to)

    def turn(self, name: str, x: str, *perm: int) -> str:
        return self(name, "transpose", x, shape=tuple(self.shape(x)[p] for p in perm), perm=perm)

    def same(self, name: str, kind: str, *xs: str, **attrs: Any) -> str:
        return self(name, kind, *xs, shape=self.shape(xs[0]), **attrs)

    def attend(self, name: str, q: str, k: str, v: str, bias: str = "") -> str:
        """(heads, tokens, each) of queries, keys and values of this form, then a dense layer on heads x each."""
        q = self.same(f"{name}.scaled", "affine", q, scale=1, shift=0, single=1, learnt=0)
        k = self.turn(f"{name}.k.t", k, 0, 2, 1)
        scores = self(f"{name}.scores", "matmul", q, k, shape=(HEADS, TOKENS, TOKENS))
        scores = self.same(f"{name}.biased", "add", scores, bias) if bias else scores
        weights = self.same(f"{name}.softmax", "softmax", scores, axis=2)
        y = self(f"{name}.values", "matmul", weights, v, shape=(HEADS, TOKENS, EACH))
        y = self.reshape(f"{name}.flat", self.turn(f"{name}.back", y, 1, 0, 2), TOKENS, HEADS * EACH)
        return self.linear(f"{name}.proj", y, WIDTH)

    def packed(self, x: str) -> str:
        qkv = self.reshape("qkv.split", self.linear("qkv", x, 3 * WIDTH), TOKENS, 3, HEADS, EACH)
        qkv = self.turn("qkv.turned", qkv, 1, 2, 0, 3)
        parts = []
        for n, name in enumerate(("q", "k", "v")):
            part = self(f"{name}.at", "slice", qkv, shape=(1, HEADS, TOKENS, EACH), axis=0, start=n, stop=n + 1, step=1)
            parts.append(self.reshape(name, part, HEADS, TOKENS, EACH))
        return self.attend("packed", *parts)

    def by_hand(self, x: str) -> str:
        parts = []
        for name in ("hq", "hk", "hv"):
            y = self.reshape(f"{name}.split", self.linear(name, x, WIDTH), TOKENS, HEADS, EACH)
            parts.append(self.turn(f"{name}.turned", y, 1, 0, 2))
        bias = self("pairs", "constant", shape=(HEADS, TOKENS, TOKENS), learnt=1)
        return self.attend("hand", *parts, bias)

    def dense(self, name: str, x: str) -> str:
        y = self.same(f"{name}.act", "gelu", self.linear(f"{name}.up", x, HIDDEN))
        return self.linear(f"{name}.down", y, WIDTH)


def transformer() -> Graph:
    """Two blocks, norms before, on (features, tokens) as a map has them; the mean over tokens is classified."""
    g = Drawn(3, TOKENS - 1)
    x = g.linear("embed", g.turn("tokens", "x", 1, 0), WIDTH)
    token = g("token", "constant", shape=(1, WIDTH), learnt=1)
    x = g("with_token", "concat", token, x, shape=(TOKENS, WIDTH), axis=0)
    x = g.same("placed", "add", x, g("positions", "constant", shape=(TOKENS, WIDTH), learnt=1))
    x = g.same("add1", "add", x, g.packed(g.norm("norm1", x)))
    x = g.same("add2", "add", x, g.dense("mlp1", g.norm("norm2", x)))
    x = g.same("add3", "add", x, g.by_hand(g.norm("norm3", x)))
    x = g.same("add4", "add", x, g.dense("mlp2", g.norm("norm4", x)))
    first = g("first", "slice", g.norm("norm5", x), shape=(1, WIDTH), axis=0, start=0, stop=1, step=1)
    g.linear("head", g("flat", "flatten", first, shape=(WIDTH,)), 7)
    return Graph(tuple(g.ops), "head")


def random_weights(graph: Graph, seed: int = 0) -> Network:
    """The graph with weights of a size that keeps values near 1."""
    rng, weights = np.random.default_rng(seed), {}
    for o in graph:
        for name, shape in graph.weight_shapes(o).items():
            spread = 1.5 / np.sqrt(shape[-1]) if len(shape) > 1 else 0.5
            weights[name] = (rng.standard_normal(shape) * spread + (o.kind == "layer_norm")).astype(np.float32)
    return Network(graph, weights)
