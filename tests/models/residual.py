"""A graph drawn by hand: a stem, two residual blocks and a classifier."""

from __future__ import annotations

from chipfit.core.graph import Graph, Op, op


def conv(name: str, source: str, cin: int, cout: int, size: int = 8, stride: int = 1, kernel: int = 3) -> Op:
    return op(
        name, "conv", (source,), (cout, size // stride, size // stride), name, kernel=(kernel, kernel),
        stride=(stride, stride), padding=(kernel // 2, kernel // 2), dilation=(1, 1), groups=1, bias=1,
    )  # fmt: skip


def residual() -> Graph:
    """Stem, two residual blocks (the second strided, with a projection), mean, classifier."""
    half = (32, 4, 4)
    return Graph(
        (
            op("input", "input", (), (3, 8, 8)),
            conv("stem", "input", 3, 16),
            op("r0", "relu", ("stem",), (16, 8, 8)),
            conv("a1", "r0", 16, 24),
            op("ra", "relu", ("a1",), (24, 8, 8)),
            conv("a2", "ra", 24, 16),
            op("add_a", "add", ("a2", "r0"), (16, 8, 8)),
            op("r1", "relu", ("add_a",), (16, 8, 8)),
            conv("b1", "r1", 16, 32, stride=2),
            op("rb", "relu", ("b1",), half),
            conv("b2", "rb", 32, 32, size=4),
            conv("short", "r1", 16, 32, stride=2, kernel=1),
            op("add_b", "add", ("b2", "short"), half),
            op("r2", "relu", ("add_b",), half),
            op("mean", "global_pool", ("r2",), (32,), keep=0),
            op("head", "linear", ("mean",), (10,), "head", bias=1),
        ),
        "head",
    )
