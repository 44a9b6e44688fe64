"""Computing a run of operators, or one layer, in other numbers; arrays and what they answer for stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chipfit.core.edits import Edit, Edited, Precision
from chipfit.core.graph import LAYERS, POOLS, Graph, Op
from chipfit.core.types import Plain
from chipfit.space.edits.kind import Kind, Structure
from chipfit.space.groups import QUANTISABLE


def computed_in(edits: Sequence[Edit]) -> int | None:
    """The bits that the edits of one option compute their site in; None where they change none."""
    return next((e.bits for e in edits if isinstance(e, Precision)), None)


def sites_in(edits: Sequence[Edit], bits: int | None = None) -> tuple[str, ...]:
    """The sites that these edits compute in other numbers, of these bits unless None; single layers are not named."""
    found = [e for e in edits if isinstance(e, Precision) and not e.alone]
    return tuple(e.site for e in found if bits in (None, e.bits))


def _rewrite(original: Structure, made: Edited, edits: Sequence[Precision]) -> Edited:
    bits: dict[str, int] = {}
    for e in sorted(edits, key=lambda e: e.alone):  # one layer has the last word on what its site says
        names = _together(original.graph, e.site) if e.alone else _site(original, e.site)
        bits |= dict.fromkeys(names, e.bits)
    bits |= {new: bits[layer] for new, layer in made.within.items() if layer in bits}
    ops = tuple(
        replace(o, bits=bits[o.name]) if o.name in bits and o.kind in QUANTISABLE else o for o in made.graph
    )  # fmt: skip
    return replace(made, graph=Graph(ops, made.graph.output))


def _site(original: Structure, name: str) -> tuple[str, ...]:
    if name not in original.sites:
        raise KeyError(f"no precision site {name!r}; there are {', '.join(original.sites)}")
    return original.sites[name].ops


def _together(graph: Graph, layer: str) -> tuple[str, ...]:
    """A layer or join, and the batch norm and ReLU behind it that it is computed together with."""
    if layer not in graph.by_name or graph[layer].kind not in LAYERS | JOINS:
        raise KeyError(f"no layer {layer!r}; there are {', '.join(o.name for o in graph if o.kind in LAYERS)}")
    ops = [graph[layer]]
    while (behind := _only_user(graph, ops[-1])) is not None and behind.kind in _FUSED:
        ops.append(behind)
    return tuple(o.name for o in ops)


JOINS = POOLS | {"add", "mul", "global_pool"}
"""Operators without weights whose values an accelerator moves in as many bits as they have."""

_FUSED = frozenset({"batch_norm", "relu", "relu6"})


def _only_user(graph: Graph, o: Op) -> Op | None:
    users = graph.users[o.name]
    return graph[users[0]] if len(users) == 1 and o.name != graph.output else None


def _to_plain(e: Precision) -> list[Plain]:
    return [e.site, e.bits, *([True] if e.alone else [])]


def _from_plain(site: str, rest: Sequence[Plain]) -> Precision:
    bits, *alone = rest
    return Precision(site, int(bits), bool(alone))  # type: ignore[arg-type]


PRECISION = Kind(
    "precision",
    Precision,
    _rewrite,
    to_plain=_to_plain,
    from_plain=_from_plain,
    in_words=lambda e: f"{e.site!r} at {e.bits} bits",
    changed="sites in int8",
    caption="The number format that each site computes in.",
    numbers_only=True,
)
