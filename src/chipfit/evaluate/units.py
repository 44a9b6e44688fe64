"""The kernels of a graph, and which decisions of a menu each one's cost depends on.

Runtimes fold batch norm into the convolution before it and fuse the activation behind it, so costs belong to *units*:
a layer with what is fused to it. A unit's cost is a function of a few plain numbers, which the menu's decisions set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod

from chipfit.core.graph import ACTIVATIONS, SOFTMAXES, Attr, Graph, Op
from chipfit.evaluate.kernel import Channels, Kernel, Unit
from chipfit.evaluate.pieces import Piece, pieces
from chipfit.space.groups import QUANTISABLE, Block, Coupling, Segment, channel_groups, residual_blocks, sites
from chipfit.space.offer import Offer, sites_of

_FREE = (
    frozenset({"input", "batch_norm", "affine", "flatten", "concat", "reshape", "slice", "pad", "transpose"})
    | SOFTMAXES
)
"""Kinds whose cost is folded elsewhere or left to the calibration on whole networks."""

_INSIDE = frozenset({"batch_norm", "affine"})
"""Kinds that are folded into the layer before them."""

_FUSED = ACTIVATIONS - {"leaky_relu", "clip"}
"""Activations that are priced with what they follow, fused or not; one with an attribute stands for itself."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where a unit stands: its operator, segments in and out, fused activation.

    `members` are the operators in it that have arrays: the layer, and the batch norms that are folded into it.
    """

    op: Op
    inputs: tuple[Segment, ...]
    outputs: tuple[Segment, ...]
    size: tuple[int, ...]
    act: str
    members: tuple[str, ...]


class UnitMap:
    """The units of a graph as functions of a menu's assignment."""

    def __init__(self, graph: Graph, offer: Offer) -> None:
        self.graph, self.menu = graph, offer.menu
        self.coupling: Coupling = channel_groups(graph)
        self.decision = {d.name: i for i, d in enumerate(self.menu.decisions)}
        decides = {site: d for d, decision in enumerate(self.menu.decisions) for site in sites_of(decision)}
        self.precision = {name: decides[s.name] for s in sites(graph) if s.name in decides for name in s.ops}
        blocks = [b for b in residual_blocks(graph) if offer.inner.get(b.name)]
        self._blocks: tuple[tuple[Block, tuple[int, ...]], ...] = tuple(
            (b, tuple(self.decision[n] for n in offer.inner[b.name])) for b in sorted(blocks, key=lambda b: len(b.body))
        )
        self.sites = tuple(self._site(o) for o in graph if self._counts(o))

    def block(self, ops: Iterable[str]) -> tuple[int, ...]:
        """The decisions of the smallest block whose dropping drops all of these operators; none where there is none.

        They drop it together, and a block that is dropped with the one around it says so in them.
        """
        names = frozenset(ops)
        return next((drop for b, drop in self._blocks if names <= b.body | {b.name}), ())

    def _counts(self, o: Op) -> bool:
        if o.kind in _FREE:
            return False
        return not (o.kind in _FUSED and self._behind(o.inputs[0]) in ("conv", "linear", "add"))

    def _behind(self, name: str) -> str:
        """Kind of the operator that makes a value, batch norms aside; "" where more than one operator reads it."""
        before = self.graph[name]
        while before.kind in _INSIDE:
            before = self.graph[before.inputs[0]]
        alone = all(len(self.graph.users[n]) == 1 for n in (name, before.name))
        return before.kind if alone else ""

    def _site(self, o: Op) -> Site:
        act, name, members = "", o.name, [o.name]
        while len(users := self.graph.users[name]) == 1:
            after = self.graph[users[0]]
            if after.kind in _INSIDE:
                name = after.name
                members.append(name)
            elif after.kind in ACTIVATIONS and not self._counts(after):
                act, name = after.kind, after.name
            else:
                break
        return self.standing(o, act, tuple(members))

    def standing(self, o: Op, act: str = "", members: tuple[str, ...] = ()) -> Site:
        """The site of an operator with what is fused to it."""
        segments = self.coupling.segments
        widest = max(o.inputs, key=lambda i: self.graph[i].size)
        shape = self.graph[widest].shape
        inputs, outputs, size = segments[widest], segments[o.name], shape[1:] if len(shape) == 3 else ()
        if _rows(o) > 1:
            inputs, outputs, size = (Segment("", shape[-1]),), (Segment("", o.shape[-1]),), ()
        return Site(o, inputs, outputs, size, act, members or (o.name,))

    def kernel(self, site: Site) -> Kernel:
        """The unit as a function of the decisions."""
        ins, outs = (Channels.of(s, self.decision) for s in (site.inputs, site.outputs))
        kind, attrs = self._kind(site)

        def make(cin: int, cout: int, bits: int, _: int) -> Unit:
            return Unit(kind, cin, cout, site.size, bits if quantisable else site.op.bits, site.act, attrs)

        quantisable = site.op.kind in QUANTISABLE
        precision = self.precision.get(site.op.name), site.op.bits
        return Kernel(make, ins, outs, precision, block=self.block([site.op.name]))

    def _kind(self, site: Site) -> tuple[str, tuple[tuple[str, Attr], ...]]:
        """The unit's kind and attributes, which no decision changes."""
        kind, attrs = site.op.kind, dict(site.op.attrs)
        if kind == "conv":
            depthwise = attrs["groups"] == site.op.shape[0] == self.graph.in_shape(site.op)[0] > 1
            attrs["groups"] = "dw" if depthwise else attrs["groups"]
        elif kind == "linear" and (rows := _rows(site.op)) > 1:
            attrs["rows"] = rows
        elif kind == "add":
            behind = {self._behind(i) for i in site.op.inputs}
            if "mul" in behind:
                attrs["behind"] = "mul"
            elif "conv" not in behind:
                kind = "sum"
        elif kind == "mul" and any(self.graph[i].shape[1:] == (1, 1) != site.size for i in site.op.inputs):
            attrs["gate"] = 1
        attrs.pop("bias", None)
        return kind, tuple(sorted(attrs.items()))

    def depends(self, site: Site) -> tuple[int, ...]:
        """All decisions that set the unit's cost."""
        return self.kernel(site).decisions

    def unit(self, site: Site, chosen: Mapping[int, int]) -> Unit | None:
        """The unit when decisions take these options (others as they are); None where it is dropped."""
        kernel = self.kernel(site)
        value = {d: self.menu.decisions[d].options[chosen.get(d, 0)].value for d in {*kernel.decisions, *chosen}}
        if any(value[d] == 0 for d in kernel.block if d in value):
            return None
        bits = kernel.bits[1] if kernel.bits[0] is None else value[kernel.bits[0]]
        return kernel.make(int(kernel.ins.total(value)), int(kernel.outs.total(value)), bits, bits)

    def pieces(self, site: Site, *, own: bool = False) -> tuple[Piece, ...]:
        """The unit's cost in tables over a few decisions each; `own` as for `pieces.pieces`."""
        return pieces(self.kernel(site), self.menu, own=own)

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


def _rows(o: Op) -> int:
    """Rows that a dense layer on several axes is applied to, each of what stands on the last axis; 1 for others."""
    return prod(o.shape[:-1]) if o.kind == "linear" else 1
