"""What a runtime executes as one kernel, and which decisions its cost depends on.

Runtimes fold batch norm into the convolution before it and fuse the activation behind it, so costs belong to *units*:
a layer with what is fused to it. A unit's cost is a function of a few plain numbers, which the menu's decisions set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from chipfit.core.graph import ACTIVATIONS, Attr, Graph, Op
from chipfit.space.edits import channels
from chipfit.space.groups import QUANTISABLE, Coupling, Segment, channel_groups, residual_blocks, sites
from chipfit.space.menu import Menu, Term
from chipfit.space.offer import Offer

_FREE = frozenset({"input", "batch_norm", "flatten", "concat", "reshape", "slice", "pad", "transpose", "softmax"})
"""Kinds whose cost is folded elsewhere or left to the calibration on whole networks."""

_FUSED = ACTIVATIONS - {"leaky_relu"}
"""Activations that are priced with what they follow, fused or not; one with an attribute stands for itself."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One kernel: `cin` to `cout` channels on inputs of `size` (height, width; () for flat ones), in `bits`.

    `act` is the activation fused to it, "" for none. A depth-wise convolution has `groups` "dw". A product of a map
    and one value for each channel has `gate` 1; an addition that has such a product as an operand is `behind` "mul",
    and one that cannot fuse, as no operand is a convolution's own, is a "sum".
    """

    kind: str
    cin: int
    cout: int
    size: tuple[int, ...]
    bits: int
    act: str = ""
    attrs: tuple[tuple[str, Attr], ...] = ()

    def attr(self, name: str, default: Any = None) -> Any:
        """The value of an attribute."""
        return dict(self.attrs).get(name, default)

    @property
    def out_size(self) -> tuple[int, ...]:
        """(height, width) of the output; () for flat ones."""
        if self.kind == "global_pool":
            return (1, 1) if self.attr("keep") else ()
        kernel = self.attr("kernel")
        if not self.size or kernel is None:
            return self.size
        dilation, up = self.attr("dilation", (1, 1)), bool(self.attr("ceil", 0))
        geometry = zip(self.size, self.attr("padding"), dilation, kernel, self.attr("stride"), strict=True)
        spans = [(n + 2 * p - d * (k - 1) - 1, s) for n, p, d, k, s in geometry]
        return tuple((-(-span // s) if up else span // s) + 1 for span, s in spans)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a unit stands: its operator, segments in and out, fused activation.

    `affine` counts the learnt values per output channel (bias, and scale and shift of a batch norm).
    """

    op: Op
    inputs: tuple[Segment, ...]
    outputs: tuple[Segment, ...]
    size: tuple[int, ...]
    act: str
    affine: int


class UnitMap:
    """The units of a graph as functions of a menu's assignment."""

    def __init__(self, graph: Graph, offer: Offer) -> None:
        self.graph, self.menu = graph, offer.menu
        self.coupling: Coupling = channel_groups(graph)
        self.decision = {d.name: i for i, d in enumerate(self.menu.decisions)}
        self.precision = {
            name: self.decision[f"bits:{s.name}"]
            for s in sites(graph) if f"bits:{s.name}" in self.decision for name in s.ops
        }  # fmt: skip
        self.dropped_by: dict[str, int] = {}  # op in a block's body -> a decision that can drop it
        self._skips(offer)
        self.sites = tuple(self._site(o) for o in graph if self._counts(o))

    def _skips(self, offer: Offer) -> None:
        for block in residual_blocks(self.graph):
            names = offer.inner.get(block.name, ())
            for op in block.body | {block.name}:
                if names:
                    near = [n for n in names if n in {s.group for s in self._around(op)}]
                    self.dropped_by[op] = self.decision[(near or list(names))[0]]

    def _around(self, op: str) -> tuple[Segment, ...]:
        o = self.graph[op]
        return tuple(s for i in o.inputs for s in self.coupling.segments[i]) + self.coupling.segments[op]

    def _counts(self, o: Op) -> bool:
        if o.kind in _FREE:
            return False
        return not (o.kind in _FUSED and self._behind(o.inputs[0]) in ("conv", "linear", "add"))

    def _behind(self, name: str) -> str:
        """Kind of the operator that makes a value, batch norms aside; "" where more than one operator reads it."""
        before = self.graph[name]
        while before.kind == "batch_norm":
            before = self.graph[before.inputs[0]]
        alone = all(len(self.graph.users[n]) == 1 for n in (name, before.name))
        return before.kind if alone else ""

    def _site(self, o: Op) -> Site:
        act, name = "", o.name
        affine = int(o["bias"]) if o.kind in ("conv", "linear") else 0
        while len(users := self.graph.users[name]) == 1:
            after = self.graph[users[0]]
            if after.kind == "batch_norm":
                name, affine = after.name, affine + 2
            elif after.kind in ACTIVATIONS and not self._counts(after):
                act, name = after.kind, after.name
            else:
                break
        segments = self.coupling.segments
        widest = max(o.inputs, key=lambda i: self.graph[i].size)
        shape = self.graph[widest].shape
        return Site(o, segments[widest], segments[o.name], shape[1:] if len(shape) == 3 else (), act, affine)

    def depends(self, site: Site) -> tuple[int, ...]:
        """Decisions that set the unit's cost: at most three, the widest groups first where there are more."""
        found = [self.precision[site.op.name]] if site.op.name in self.precision else []
        groups = {s.group: s.size for s in (*site.outputs, *site.inputs) if s.group in self.decision}
        widths = [self.decision[g] for g in sorted(groups, key=lambda g: -groups[g])]
        drop = [self.dropped_by[site.op.name]] if site.op.name in self.dropped_by else []
        return tuple(sorted(list(dict.fromkeys([*found, *drop, *widths]))[:3]))

    def unit(self, site: Site, chosen: Mapping[int, int]) -> Unit | None:
        """The unit when decisions take these options (others as they are); None where it is dropped."""
        options = {i: self.menu.decisions[i].options[o] for i, o in chosen.items()}
        dropper = self.dropped_by.get(site.op.name)
        if dropper in options and options[dropper].value == 0:
            return None
        widths = {
            self.menu.decisions[i].name: o.value for i, o in options.items()
            if self.menu.decisions[i].kind == "width" and o.value
        }  # fmt: skip
        cin, cout = channels(site.inputs, widths), channels(site.outputs, widths)
        p = self.precision.get(site.op.name)
        bits = options[p].value if p in options and site.op.kind in QUANTISABLE else site.op.bits
        kind, attrs = site.op.kind, dict(site.op.attrs)
        if kind == "conv":
            depthwise = attrs["groups"] == site.op.shape[0] == self.graph.in_shape(site.op)[0] > 1
            attrs["groups"] = "dw" if depthwise else attrs["groups"]
        elif kind == "add":
            behind = {self._behind(i) for i in site.op.inputs}
            if "mul" in behind:
                attrs["behind"] = "mul"
            elif "conv" not in behind:
                kind = "sum"
        elif kind == "mul" and any(self.graph[i].shape[1:] == (1, 1) != site.size for i in site.op.inputs):
            attrs["gate"] = 1
        attrs.pop("bias", None)
        return Unit(kind, cin, cout, site.size, bits, site.act, tuple(sorted(attrs.items())))

    def table(self, site: Site) -> tuple[tuple[int, ...], dict[tuple[int, ...], Unit | None]]:
        """(decisions, {option of each: unit})."""
        on = self.depends(site)
        cells = product(*(range(len(self.menu.decisions[d].options)) for d in on))
        return on, {cell: self.unit(site, dict(zip(on, cell, strict=True))) for cell in cells}

    def boundaries(self) -> list[tuple[str, int, int]]:
        """(operator, its precision decision, its reader's) for every edge between two precision sites."""
        found = []
        for o in self.graph:
            p = self.precision.get(o.name)
            for q in dict.fromkeys(self.precision.get(u) for u in self.graph.users[o.name]):
                if p is not None and q is not None and p != q:
                    found.append((o.name, p, q))
        return found

    def readings(self) -> list[tuple[str, int | None, int | None]]:
        """(operator, its precision decision, its reader's) for every map that convolutions over all channels read."""
        found = []
        for o in self.graph:
            if o.kind != "input" and len(o.shape) == 3:
                decisions = dict.fromkeys(self.precision.get(u) for u in self.readers(o.name))
                found += [(o.name, self.precision.get(o.name), q) for q in decisions]
        return found

    def readers(self, name: str) -> list[str]:
        """The convolutions over all channels that read an operator's output."""
        users = [self.graph[u] for u in self.graph.users[name]]
        return [u.name for u in users if u.kind == "conv" and u["groups"] == 1]


def term(menu: Menu, metric: str, on: tuple[int, ...], cells: Mapping[tuple[int, ...], float], label: str) -> Term:
    """A term whose table has these cells."""
    table = np.zeros([len(menu.decisions[d].options) for d in on])
    for cell, value in cells.items():
        table[cell] = value
    return Term(metric, on, table, label)
