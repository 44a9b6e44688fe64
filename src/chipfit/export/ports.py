"""Several inputs in ONNX files: each is one of the file's, where inside they are slices of one row.

A slice of the row that is one input costs no more than what it takes to see it as a row, and a cast of whole numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from onnx import TensorProto

from chipfit.core.graph import Graph, Op
from chipfit.core.ports import Port, ports_of, spans
from chipfit.export.sheet import Sheet

ROW: Final = "inputs/row"
"""The name of the row of all inputs, in files where something reads it whole."""


def name_in_file(port: Port, output: str) -> str:
    """The name of an input; that of the output is taken."""
    return f"{port.name}_in" if port.name == output else port.name


def inputs(ports: Sequence[Port], output: str) -> list[tuple[str, int, tuple[int, ...]]]:
    """(name, type, shape without the batch) of each."""
    kinds = {True: TensorProto.INT64, False: TensorProto.FLOAT}
    return [(name_in_file(p, output), int(kinds[p.whole]), p.shape) for p in ports]


def cut_out(graph: Graph, o: Op) -> Port | None:
    """The input that a slice of the row is; None for any other operator."""
    first = graph.ops[0]
    if o.kind != "slice" or o.bits == 8 or o.inputs[0] != first.name or o["step"] != 1:
        return None
    given = ports_of(first)
    found = dict(zip(spans(given), given, strict=True))
    return found.get((o["start"], o["stop"]))


def read_whole(graph: Graph, first: Op, quantised: bool) -> bool:
    """True where the row of all inputs is read as one."""
    apart = all(cut_out(graph, graph[name]) for name in graph.users[first.name])
    return quantised or not apart or graph.output == first.name


def row_of(sheet: Sheet, port: Port, output: str, out: str) -> None:
    """Writes an input as a row of floats (n, values)."""
    given = name_in_file(port, output)
    if port.whole:
        given = sheet.node("Cast", [given], f"{out}/floats", to=TensorProto.FLOAT)
    row = sheet.constant("inputs/row/shape", np.array([0, -1]))
    sheet.node("Reshape", [given, row], out)


def together(sheet: Sheet, ports: Sequence[Port], output: str, out: str) -> None:
    """Writes the row of all inputs."""
    rows = []
    for port in ports:
        rows.append(f"{ROW}/{port.name}")
        row_of(sheet, port, output, rows[-1])
    sheet.node("Concat", rows, out, axis=1)
