"""Tables of kernels on a device whose latency is counted: networks that no menu holds are foretold to the digit."""

from __future__ import annotations

import numpy as np
import pytest

from chipfit.core.graph import Attr, Graph, Op, op
from chipfit.device.null import Null
from chipfit.evaluate.tables import CACHED_MB, MS_PER_MB, foretold, parts_ms
from chipfit.evaluate.timing import Timing
from made_up import Memory


def conv(name: str, source: str, channels: int, size: int = 8) -> Op:
    window: dict[str, Attr] = {"kernel": (3, 3), "padding": (1, 1), "stride": (1, 1), "dilation": (1, 1)}
    return op(name, "conv", (source,), (channels, size, size), name, **window, groups=1, bias=1)


def graph_of(*ops: Op) -> Graph:
    return Graph((op("x", "input", (), (16, 8, 8)), *ops), ops[-1].name)


def random_graph(rng: np.random.Generator) -> Graph:
    """A chain of convolutions, some with hard swish, some followed by a pool, a gate or a residual addition."""
    ops: list[Op] = [conv("stem", "x", 16)]
    window: dict[str, Attr] = {"kernel": (3, 3), "padding": (1, 1), "stride": (1, 1), "ceil": 0}
    for n in range(rng.integers(1, 6)):
        last = ops[-1].name
        width = ops[-1].shape[0] if (residual := bool(rng.integers(2))) else int(rng.choice([16, 32, 48]))
        ops.append(conv(f"conv{n}", last, width))
        shape = (width, 8, 8)
        if residual:
            ops.append(op(f"add{n}", "add", (f"conv{n}", last), shape))
        if rng.integers(2):
            ops.append(op(f"swish{n}", "hard_swish", (ops[-1].name,), shape))
        if rng.integers(2):
            ops.append(op(f"pool{n}", "avg_pool", (ops[-1].name,), shape, **window, count_include_pad=0))
        if rng.integers(2):
            source = ops[-1].name
            ops.append(op(f"mean{n}", "global_pool", (source,), (width, 1, 1), keep=1))
            ops.append(op(f"gate{n}", "mul", (f"mean{n}", source), shape))
    return graph_of(*ops)


def test_networks_are_foretold_on_a_device_that_counts() -> None:
    rng = np.random.default_rng(0)
    graphs = list({g.key: g for g in (random_graph(rng) for _ in range(30))}.values())
    timing = Timing(Null(), Memory())
    parts = [parts_ms(g, timing) for g in graphs]
    true = [m.value for m in timing.graphs(graphs, "final")]
    told = foretold(parts[:10], true[:10], parts[10:])
    assert np.max(np.abs(told / true[10:] - 1)) < 0.03


def test_a_scale_is_learnt_from_few() -> None:
    """A part that takes half as long again as its kernels say is found out, and networks share what was found."""
    rng = np.random.default_rng(0)
    parts = [{"call": 0.01, "a": float(rng.uniform(0.1, 1)), "b": float(rng.uniform(0.1, 1))} for _ in range(12)]
    true = [p["call"] + 1.5 * p["a"] + p["b"] for p in parts]
    told = foretold(parts[:10], true[:10], parts[10:])
    assert told == pytest.approx(true[10:], rel=0.01)
    assert foretold(parts[:10], true[:10], [{"call": 0.01, "b": 0.5}]) == pytest.approx([0.51], rel=0.02)


def test_weights_beyond_the_cache_are_a_part() -> None:
    timing = Timing(Null(), Memory())
    small, large = graph_of(conv("a", "x", 16)), graph_of(conv("a", "x", 512), conv("b", "a", 512))
    assert parts_ms(small, timing)["weights"] == 0
    expected = MS_PER_MB * (large.total_params * 4e-6 - CACHED_MB)
    assert parts_ms(large, timing)["weights"] == pytest.approx(expected)
