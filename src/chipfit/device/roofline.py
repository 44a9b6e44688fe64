"""A profile's rows for a user: operators of the Graph, in ms, with what holds each one back.

Rule: three times are set side by side, from figures probed once on the device: MACs / peak MACs per second of that
precision ("compute"), bytes read and written / bytes per second ("memory"), and what starting an operator costs
("launch"). The largest names the bottleneck. It says which bound is nearest, not that the bound is reached: a
depth-wise convolution is mostly "memory", a 1x1 on a 4x4 map "launch".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass

from chipfit.core.graph import Graph, Op
from chipfit.core.types import OpTime
from chipfit.device import cache
from chipfit.device.canary import adds, chain, trivial
from chipfit.device.facts import Latency

OUTPUT = "logits"
"""What files call the network's output, after which a runtime may name the node that makes it."""

_WORKERS = (
    (frozenset({"CONV"}), frozenset({"conv", "Conv", "ConvTranspose"})),
    (frozenset({"GEMM", "MATMUL", "FULLYCONNECTED"}), frozenset({"linear", "Gemm", "MatMul"})),
)
"""Parts of what runtimes call a node, in capitals, with the kinds of operators that such nodes compute."""

_CHANNELS, _DEPTH, _SIZE = 128, 2, 28
_ADDS, _VALUES = 8, 1 << 18


@dataclass(frozen=True, slots=True)
class Roofline:
    """Peak MACs per ms in fp32 and int8, bytes per ms, and ms to start one operator."""

    macs_per_ms: float
    macs8_per_ms: float
    bytes_per_ms: float
    launch_ms: float

    def bottleneck(self, macs: int, bytes: int, bits: int = 32) -> str:
        """One of "compute", "memory", "launch"."""
        peak = self.macs8_per_ms if bits == 8 else self.macs_per_ms
        bounds = {"compute": macs / peak, "memory": bytes / self.bytes_per_ms, "launch": self.launch_ms}
        return max(bounds, key=lambda k: bounds[k])

    def plain(self) -> dict[str, float]:
        """As JSON-ready values, for the cache."""
        return asdict(self)


def probe(latency: Latency, low: int = 8) -> Roofline:
    """Times two big convolutions (fp32, `low` bits), additions over 1 MB, chains of 1 and 33 one-value operators."""
    shapes = (chain(_CHANNELS, _DEPTH, _SIZE), chain(_CHANNELS, _DEPTH, _SIZE, low), adds(_ADDS, _VALUES))
    f32, int8, moved, one, many = latency([*shapes, trivial(), adds(33, 1)])
    macs = _DEPTH * (_CHANNELS * 3 * _SIZE) ** 2
    launch = max((many - one) / 32, 1e-6)
    return Roofline(macs / f32, macs / int8, _ADDS * _VALUES * 8 / moved, launch)


def traffic(graph: Graph, o: Op) -> int:
    """Bytes an operator reads and writes at its precision: inputs, weights, output, each once."""
    values = o.size + sum(math.prod(graph[i].shape) for i in o.inputs)
    values += sum(math.prod(s) for s in graph.weight_shapes(o).values())
    return values * o.bits // 8


def owner(node: str, graph: Graph) -> str | None:
    """The Graph operator that a runtime's node is named after, None where there is none.

    It is the longest operator name that the node's begins with, as a whole word: runtimes append what they did
    ("conv1_nchwc", "conv1_token_6", "fc/MatMulAddFusion"). A name *within* is no sign: "Transpose_token_3" is not of
    an operator called 3.
    """
    name = node.removeprefix("fused ")
    found = [o.name for o in graph if name.startswith(o.name) and not name[len(o.name) : len(o.name) + 1].isalnum()]
    return max(found, key=len, default=graph.output if name.startswith(OUTPUT) else None)


def _worker_behind(name: str, kind: str, graph: Graph, taken: Set[str]) -> str:
    """The convolution (or dense layer) that a node of a runtime's `kind` computes, given what it is named after.

    A fused node is named after the *last* operator in it: "relu3" for conv3 + bn3 + add3 + relu3. So the way back
    from there leads to the work, which is the nearest one that no other node has been found to do.
    """
    plain = kind.upper().replace("_", "")
    want = next((kinds for parts, kinds in _WORKERS if any(p in plain for p in parts)), frozenset[str]())
    level = [name] if want else []
    for _ in range(5):
        for n in level:
            if graph[n].kind in want and n not in taken:
                return n
        level = [i for n in level for i in graph[n].inputs]
    return name


def op_times(nodes: Sequence[tuple[str, str, float]], graph: Graph, total_ms: float, roof: Roofline) -> list[OpTime]:
    """Operators, slowest first, their times scaled to sum up to `total_ms`.

    What the runtime added by itself, such as a change of layout, keeps the runtime's name and type, with no MACs and
    "memory" as its bottleneck.
    """
    times = by_operator(nodes, graph)
    scale = total_ms / (sum(times.values()) or 1.0)
    rows = [_row(graph, name, kind, us * scale, roof) for (name, kind), us in times.items()]
    return sorted(rows, key=lambda r: -r.ms)


def by_operator(nodes: Sequence[tuple[str, str, float]], graph: Graph) -> dict[tuple[str, str], float]:
    """(operator, kind) to what its nodes (its convolution, its requantisation) take together, in running order.

    A node that is of no operator keeps the runtime's name and type. An operator that was fused into another has none.
    """
    times: dict[tuple[str, str], float] = {}
    taken: set[str] = set()
    for node, kind, us in nodes:
        name = owner(node, graph)
        if name:
            name = _worker_behind(name, kind, graph, taken)
            taken.add(name)
        key = (name, graph[name].kind) if name else (node or kind, kind)
        times[key] = times.get(key, 0.0) + us
    return times


def _row(graph: Graph, name: str, kind: str, ms: float, roof: Roofline) -> OpTime:
    if name not in graph.by_name:
        return OpTime(name, kind, ms, 0, 0, "memory")
    o = graph[name]
    macs, moved = graph.macs(o), traffic(graph, o)
    return OpTime(name, kind, ms, macs, moved, roof.bottleneck(macs, moved, o.bits))


def from_plain(values: Mapping[str, float]) -> Roofline:
    """The roofline that `plain` wrote."""
    return Roofline(**{name: cache.positive(value) for name, value in values.items()})
