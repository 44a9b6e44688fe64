"""How the cost of one unit is measured: as the marginal cost of more of it in a chain.

An operator alone costs 1.02 to 2.45 times what it adds to a network (the call, layout changes, lost fusion), while
(chain of n - chain of 1) / (n - 1) is right to a few per cent. What keeps its shape is chained; a convolution a→b is
chained with its mirror b→a, half of the pair's cost each; what changes the spatial size stands n times beside itself,
the outputs added up, and the price of the additions is taken off again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from chipfit.core.graph import Attr, Graph, Op, op
from chipfit.evaluate.units import Unit

LONG = 6
"""Units in the long network of a pair."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to get a unit's ms from measured graphs: `value(ms of graphs, ms of needed units)`."""

    graphs: tuple[Graph, ...]
    needs: tuple[Unit, ...]
    value: Callable[[Sequence[float], Sequence[float]], float]


def recipe(unit: Unit) -> Recipe:
    """The cheapest sound way to measure a unit."""
    if unit.kind == "boundary":
        return _boundary(unit)
    if unit.kind == "add":
        return _addition(unit)
    if unit.kind in ("conv", "linear") and _keeps_size(unit):
        if unit.cin == unit.cout:
            return _pair(lambda n: chain([unit] * n), 1)
        if min(unit.cin, unit.cout) > 4:  # a stem has no mirror
            mirror = replace(unit, cin=unit.cout, cout=unit.cin)
            pair = sorted((unit, mirror), key=lambda u: u.cin)
            return _pair(lambda n: chain(pair * (n // 2 or 1) if n > 1 else pair), 0)
    if unit.kind not in ("conv", "linear", "max_pool", "avg_pool", "global_pool"):
        return _pair(lambda n: chain([unit] * n), 1)
    return _beside(unit)


def _pair(make: Callable[[int], Graph], first: int) -> Recipe:
    """Marginal cost between a chain of `LONG` and one of 1 (or of one pair)."""
    short = 1 if first else 2
    graphs = (make(1), make(LONG))
    return Recipe(graphs, (), lambda ms, _: max((ms[1] - ms[0]) / (LONG - short), 0.0))


def _addition(unit: Unit) -> Recipe:
    """A residual addition is fused into the convolution before it where the runtime can: priced behind one."""
    conv = _square(unit.cin, unit.size, unit.bits)
    return Recipe(
        (chain([conv] * LONG), chain([conv] * LONG, residual=True)), (), lambda ms, _: max((ms[1] - ms[0]) / LONG, 0.0)
    )


def _boundary(unit: Unit) -> Recipe:
    """int8 → float and back: what alternating convolutions cost beyond those of each precision. Both ways together."""
    low, high = (_square(unit.cin, unit.size, b) for b in (8, 32))
    graphs = (chain([low, high]), chain([low, high] * (LONG // 2)))
    steps = LONG // 2 - 1
    return Recipe(graphs, (low, high), lambda ms, needs: max((ms[1] - ms[0]) / steps - sum(needs), 0.0))


def _beside(unit: Unit) -> Recipe:
    out = unit.out_size
    n = LONG - 2
    needs = (Unit("add", unit.cout, unit.cout, out, unit.bits),) if out else ()
    graphs = (beside(unit, 1), beside(unit, n))
    return Recipe(graphs, needs, lambda ms, adds: max((ms[1] - ms[0]) / (n - 1) - sum(adds), 0.0))


def _square(width: int, size: tuple[int, ...], bits: int) -> Unit:
    one = (1, 1)
    attrs: dict[str, Attr] = {"dilation": one, "groups": 1, "kernel": (3, 3), "padding": one, "stride": one}
    return Unit("conv", width, width, size, bits, "relu", tuple(attrs.items()))


def _keeps_size(unit: Unit) -> bool:
    return unit.out_size == unit.size


class _Writer:
    """Appends operators to a timing graph."""

    def __init__(self, channels: int, size: tuple[int, ...]) -> None:
        self.ops: list[Op] = [op("input", "input", (), (channels, *size))]

    def put(self, kind: str, inputs: tuple[str, ...], shape: tuple[int, ...], bits: int, **attrs: object) -> str:
        name = f"{kind}{len(self.ops)}"
        weights = name if kind in ("conv", "linear") else ""
        self.ops.append(op(name, kind, inputs, shape, weights, bits, **attrs))  # type: ignore[arg-type]
        return name

    def unit(self, unit: Unit, *sources: str, residual: str = "") -> str:
        attrs = dict(unit.attrs)
        if unit.kind in ("conv", "linear"):
            attrs["bias"] = 1
        if attrs.get("groups") == "dw":
            attrs["groups"] = unit.cin
        shape = (unit.cout, *unit.out_size)
        inputs = sources * 2 if unit.kind in ("mul", "sub") else sources
        name = self.put(unit.kind, inputs, shape, unit.bits, **attrs)
        if residual:
            name = self.put("add", (name, residual), shape, unit.bits)
        return self.put(unit.act, (name,), shape, unit.bits) if unit.act else name

    def done(self, last: str) -> Graph:
        """Ends in a mean where there is a map, so that the size of the answer does not count."""
        shape = next(o.shape for o in self.ops if o.name == last)
        if len(shape) == 3:
            last = self.put("global_pool", (last,), (shape[0],), 32, keep=0)
        return Graph(tuple(self.ops), last)


def chain(units: Sequence[Unit], residual: bool = False) -> Graph:
    """Units one behind the other; with `residual` each adds its input to its output."""
    w = _Writer(units[0].cin, units[0].size)
    last = "input"
    for u in units:
        last = w.unit(u, last, residual=last if residual else "")
    return w.done(last)


def beside(unit: Unit, n: int) -> Graph:
    """`n` copies of a unit on one input, their outputs added up."""
    w = _Writer(unit.cin, unit.size)
    total = w.unit(unit, "input")
    for _ in range(n - 1):
        total = w.unit(unit, "input", residual=total)
    return w.done(total)
