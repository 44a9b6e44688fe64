"""Which operators share a precision."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import prod

from chipfit.core.graph import Graph, Op
from chipfit.core.kinds import named


@dataclass(frozen=True, slots=True)
class Site:
    """Operators that share one precision."""

    name: str
    ops: tuple[str, ...]


QUANTISABLE = named(lambda kind: kind.int8)
"""Kinds that compute in int8 at an int8 site; others there stay float."""

FLOAT_BETWEEN = frozenset({"layer_norm", "rms_norm", "matmul"})
"""Kinds without int8 form that stand between the dense layers of transformers."""


def sites(graph: Graph) -> tuple[Site, ...]:
    """Runs of operators with the same spatial size; of networks of tokens, dense layers of the same shape.

    A boundary between int8 and float costs a conversion, so precision changes where resolution does: tensors there
    are small and few.

    Around a dense layer on tokens all is float: norms, softmax, activations and the sums that go around it. It is
    converted to and from whatever others do, and what it gains depends on its shape alone. So those of one shape are
    a site, and the sums are in none: rounding those would take time, and harm everything behind them.

    The products of attention are in none either. [measured] With them in int8 too, on one thread of an AMD EPYC with
    VNNI, a ViT of 50 tokens and width 96 takes 1.37 times as long as with dense layers alone (OpenVINO 1.53), one of
    197 tokens and width 192 1.33 times (1.19), of width 384 1.22 times (1.01): queries, keys and chances are rounded
    for little arithmetic. Dense layers alone bring 1.2 to 1.95 against float.
    """
    rows = _on_tokens(graph)
    return (*_runs(graph, rows), *_by_shape(graph, rows))


def _on_tokens(graph: Graph) -> list[Op]:
    """Dense layers on rows of several tokens, in networks whose other operators there have no int8 form."""
    if not any(o.kind in FLOAT_BETWEEN for o in graph):
        return []
    return [o for o in graph if o.kind == "linear" and len(o.shape) > 1]


def _by_shape(graph: Graph, rows: Collection[Op]) -> list[Site]:
    """Sites of dense layers on tokens, each named after its first."""
    alike: dict[tuple[int, int], list[str]] = {}
    for o in rows:
        alike.setdefault((graph.in_shape(o)[-1], o.shape[-1]), []).append(o.name)
    return [Site(names[0], tuple(names)) for names in alike.values()]


def _runs(graph: Graph, rows: Collection[Op]) -> list[Site]:
    """Runs of operators with the same spatial size, without dense layers on tokens and what they make float."""
    largest_after: dict[str, int] = {}
    maps = _maps(graph)
    for o in reversed(graph.ops):
        area = prod(o.shape[1:]) if o.name in maps and o.shape[1:] != (1, 1) else 0
        largest_after[o.name] = max([area, *(largest_after[u] for u in graph.users[o.name])])
    runs: list[tuple[int, list[str]]] = []
    for o in graph.ops[1:]:
        # a squeeze branch (1x1 inside a block) belongs to the resolution it returns to
        area = largest_after[o.name]
        if not runs or runs[-1][0] != area:
            runs.append((area, []))
        runs[-1][1].append(o.name)
    made = [Site(names[0], tuple(names)) for _, names in runs]
    if rows:
        made = [_without(graph, site, _made_float(graph, {o.name for o in rows})) for site in made]
    return [s for s in made if _layers(graph, s.ops)]


def _without(graph: Graph, site: Site, floats: Collection[str]) -> Site:
    """What is left of a run, named after its first layer: under its own name it stood for all of it."""
    left = tuple(name for name in site.ops if name not in floats)
    return Site(next(iter(_layers(graph, left)), site.name), left)


def _layers(graph: Graph, names: Sequence[str]) -> list[str]:
    """The convolutions and dense layers among some operators."""
    return [name for name in names if graph[name].kind in ("conv", "linear")]


def _made_float(graph: Graph, rows: Collection[str]) -> set[str]:
    """Dense layers on tokens, operators without int8 form, and what has no weights and reads any of these."""
    floats = {o.name for o in graph.ops[1:] if o.name in rows or o.kind not in QUANTISABLE}
    for o in graph:
        if o.kind not in ("conv", "linear") and not floats.isdisjoint(o.inputs):
            floats.add(o.name)
    return floats


def _maps(graph: Graph) -> frozenset[str]:
    """Operators whose output is a map (C, H, W), as opposed to rows of tokens, which attention has for each head."""
    found = {o.name for o in graph if len(o.shape) == 3}
    return frozenset(found - _tokens(graph) if any(o.kind == "matmul" for o in graph) else found)


def _tokens(graph: Graph) -> set[str]:
    """Operators behind a dense layer or a product on several axes, up to what goes over a map again."""
    found: set[str] = set()
    for o in graph.ops[1:]:
        of_tokens = not o.inputs or not found.isdisjoint(o.inputs)
        if (o.kind in ON_TOKENS and len(o.shape) > 1) or (of_tokens and o.kind not in OVER_MAPS):
            found.add(o.name)
    read: set[str] = set()
    for o in reversed(graph.ops):
        users = [graph[u] for u in graph.users[o.name]]
        if any(u.kind in OVER_MAPS or (u.name in read and u.shape == o.shape) for u in users):
            read.add(o.name)
    return found - read


ON_TOKENS = frozenset({"linear", "matmul"})
"""Kinds whose outputs of several axes are rows of tokens."""

OVER_MAPS = named(lambda kind: kind.family in ("convolution", "pool", "global_pool", "resize") or kind.name == "conv")
"""Kinds that go over the places of a map."""


def precisions(graph: Graph) -> frozenset[int]:
    """Bits of what multiplies: convolutions and dense layers."""
    return frozenset(o.bits for o in graph if o.kind in ("conv", "linear"))
