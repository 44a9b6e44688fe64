"""The kernels that a graph is executed as: what fuses, what stands alone, and what makes no difference."""

from __future__ import annotations

from chipfit.core.graph import STORED, Attr, Graph, Op, op
from chipfit.core.kernel import Kernel, executed_within, kernels, members
from chipfit.nets.trace import trace
from chipfit.nets.zoo import BUILDERS
from models.awkward import AWKWARD, INPUT_SHAPE


def conv(name: str, source: str, channels: int, size: int = 8) -> Op:
    window: dict[str, Attr] = {"kernel": (3, 3), "padding": (1, 1), "stride": (1, 1), "dilation": (1, 1)}
    return op(name, "conv", (source,), (channels, size, size), name, **window, groups=1, bias=1)


def graph_of(*ops: Op) -> Graph:
    return Graph((op("x", "input", (), (16, 8, 8)), *ops), ops[-1].name)


def test_additions_know_whether_they_fuse() -> None:
    shape = (16, 8, 8)
    graph = graph_of(
        conv("a", "x", 16), conv("b", "a", 16), op("fused", "add", ("b", "a"), shape),
        op("relu", "relu", ("fused",), shape), op("kernel", "add", ("relu", "fused"), shape),
        op("mean", "global_pool", ("kernel",), (16, 1, 1), keep=1), op("gate", "mul", ("kernel", "mean"), shape),
        op("last", "add", ("gate", "relu"), shape), op("swish", "hard_swish", ("last",), shape),
    )  # fmt: skip
    found = kernels(graph)
    assert found["fused"] == Kernel("add", 16, 16, (8, 8), 32)
    assert found["kernel"] == Kernel("sum", 16, 16, (8, 8), 32)
    assert found["last"] == Kernel("add", 16, 16, (8, 8), 32, "hard_swish", (("behind", "mul"),))
    assert found["gate"] == Kernel("mul", 16, 16, (8, 8), 32, "", (("gate", 1),))
    assert found["relu"] == Kernel("relu", 16, 16, (8, 8), 32)


def test_squeeze_and_excitation_has_a_gate() -> None:
    gates = [u for u in kernels(trace(AWKWARD["SqueezeExcite"](), INPUT_SHAPE).graph).values() if u.attr("gate")]
    assert [(u.kind, len(u.size)) for u in gates] == [("mul", 2)]


def test_a_layer_holds_what_is_folded_and_fused_into_it() -> None:
    graph = trace(BUILDERS["resnet8"](), (1, 28, 28)).graph
    found = kernels(graph)
    assert found["3.body.0"] == Kernel("conv", 16, 16, (28, 28), 32, "relu", found["3.body.0"].attrs)
    assert members(graph, graph["3.body.0"]) == ("3.body.0", "3.body.1")
    assert not {o.name for o in graph if o.kind in ("batch_norm", "relu", "input", "flatten")} & found.keys()


def test_how_weights_are_stored_makes_no_difference_to_a_processor() -> None:
    graph = trace(BUILDERS["resnet8"](), (1, 28, 28)).graph
    stored: dict[str, Attr] = {"taps": 4, "patterns": (15, 27), "integer_bits": 2, "fraction_bits": 6}
    assert stored.keys() == STORED
    ops = tuple(o.having(**stored) if o.name == "3.body.0" else o for o in graph)
    assert kernels(Graph(ops, graph.output)) == kernels(graph)


def test_whatever_costs_has_a_kernel() -> None:
    """By what it reads and makes, whatever its kind and its shapes; views and folded norms cost nothing."""
    shape, rows = (16, 8, 8), (64, 16)
    norm: dict[str, Attr] = {"scale": 1, "shift": 1, "single": 0, "learnt": 1}
    graph = graph_of(
        conv("a", "x", 16), Op("folded", "batch_norm", ("a",), shape, (("eps", 1e-5),), "folded"),
        op("both", "concat", ("folded", "x"), (32, 8, 8), axis=0), op("half", "slice", ("both",), shape, axis=0,
        start=0, stop=16, step=1), Op("alone", "affine", ("half",), shape, tuple(sorted(norm.items())), "alone"),
        op("flat", "reshape", ("alone",), (16, 64), to=(16, 64)),
        op("turned", "transpose", ("flat",), rows, perm=(1, 0)),
        op("sum", "add", ("turned", "turned"), rows), op("chances", "softmax", ("sum",), rows, axis=1),
    )  # fmt: skip
    found = kernels(graph)
    assert list(found) == ["a", "both", "half", "alone", "turned", "sum", "chances"]
    assert found["both"] == Kernel("concat", 2048, 2048, (), 32, "", (("axis", 0),), in_place=True)
    assert found["turned"].attr("perm") == (1, 0)
    assert found["sum"] == Kernel("add", 2048, 1024, (), 32, in_place=True)
    assert [u.in_place for u in found.values()] == [False] + 6 * [True]
    assert found["chances"].moved == 2048
    assert executed_within(graph, graph["a"]) == ("a", "folded")
