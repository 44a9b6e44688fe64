"""What layers cost where programs compute them: the kernels of a program between the widths that its layer has.

A layer's cost is a table over its widths, its precision and its block, read off edited graphs (`cells`). Its program is
one decision more, which changes nothing else: so each entry of that table gets the kernels of each program between the
same widths, read off the program's own graph, and no combination has to be applied to the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from chipfit.core.graph import Graph, op
from chipfit.core.kernel import Kernel, kernels
from chipfit.evaluate.chains import reads_unblocked
from chipfit.evaluate.pieces import Mix, Piece
from chipfit.space.program import alone, parse, place_of
from chipfit.space.programmed import Programs


def programmed(
    parts: Sequence[Piece[Kernel]], programs: Programs | None, read: Callable[[Kernel, str], Sequence[Kernel]]
) -> tuple[Piece[Kernel], ...]:
    """A layer's cost in pieces, over the decision on its program too; `read` gives the kernels of one."""
    if programs is None:
        return tuple(parts)
    return tuple(_over_programs(part, programs, read) for part in parts)


def _over_programs(
    part: Piece[Kernel], programs: Programs, read: Callable[[Kernel, str], Sequence[Kernel]]
) -> Piece[Kernel]:
    cells: dict[tuple[int, ...], Mix[Kernel]] = {}
    for o, text in enumerate(programs.texts):
        for cell, mix in part.cells.items():
            instead = mix if not text else tuple((share, k) for share, record in mix for k in read(record, text))
            cells[(*cell, o)] = instead
    return Piece((*part.on, programs.decision), cells, part.again)


@lru_cache(maxsize=100_000)
def in_place(layer: Kernel, program: str, block: int = 1) -> tuple[Kernel, ...]:
    """The kernels of a program in the place of a layer's kernel, in order.

    Where a float kernel is wider than a map inside (`block` channels), bringing the map out of the kernels' layout is
    one more.
    """
    found: list[Kernel] = []
    graph = instead(layer, program)
    for name, kernel in kernels(graph).items():
        if graph[name].inputs[0] != graph.ops[0].name and reads_unblocked(kernel, block):
            found.append(Kernel("unblocked", kernel.cin, kernel.cin, kernel.size, kernel.bits))
        found.append(kernel)
    return tuple(found)


def instead(layer: Kernel, program: str, bias: int = 0) -> Graph:
    """A program as the graph of what a layer's kernel executes, with the activation behind it."""
    graph = alone(parse(program), place_of(_layer(layer, bias), LAYER))
    if not layer.act:
        return graph
    last = graph[graph.output]
    act = op("act", layer.act, (last.name,), last.shape, bits=layer.bits)
    return Graph((*graph.ops, act), act.name)


LAYER = "layer"


def _layer(kernel: Kernel, bias: int) -> Graph:
    """The layer of a kernel by itself."""
    attrs = {name: value for name, value in kernel.attrs if name != "rows"}
    rows = kernel.attr("rows")
    before = (rows, kernel.cin) if rows else (kernel.cin, *kernel.size)
    after = (rows, kernel.cout) if rows else (kernel.cout, *kernel.out_size)
    source, layer = op("x", "input", (), before), op(LAYER, kernel.kind, ("x",), after, LAYER, kernel.bits, bias=bias)
    return Graph((source, layer.having(**attrs)), LAYER)
