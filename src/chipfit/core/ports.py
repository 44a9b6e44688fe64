"""The inputs of a network that takes several: side by side in one row inside, apart and by name in its files.

Everything between data and file knows networks of one input. One that takes several is such a network of one row of
float32, which slices cut apart at the front; whole numbers travel as floats, exact up to 2^24. Files have the user's
own inputs again: an ONNX file names each, and what runs it cuts the rows apart.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chipfit.core.op import Op

ATTRIBUTE = "ports"
"""What an input operator has that stands for several: their JSON text."""


@dataclass(frozen=True, slots=True)
class Port:
    """One input: its name, its shape without the batch axis, and whether it holds whole numbers."""

    name: str
    shape: tuple[int, ...]
    whole: bool = False

    @property
    def size(self) -> int:
        """Values of one input."""
        return math.prod(self.shape)

    @property
    def told(self) -> str:
        """The port as options write it: image=3,32,32, or ids=24:int."""
        return f"{self.name}={','.join(map(str, self.shape))}{':int' if self.whole else ''}"


Ports = tuple[Port, ...]


@dataclass(frozen=True, slots=True)
class Ends:
    """What the user, or the data, say that a module takes and gives: its inputs, and the name or place of one answer.

    No `ports` stand for one input, no `output` for the obvious one.
    """

    ports: Ports = ()
    output: str | None = None


ONE = Ends()
"""One input, and one answer."""


def says_what_counts(name: str) -> bool:
    """True for an input whose whole numbers say by 1 and 0 which places of others count, going by its name.

    Where nothing counts there is no answer, so it is never asked with zeros alone.
    """
    return "mask" in name.lower()


def width(ports: Sequence[Port]) -> int:
    """Values of all inputs together."""
    return sum(p.size for p in ports)


def spans(ports: Sequence[Port]) -> tuple[tuple[int, int], ...]:
    """(start, stop) of each input in a row."""
    stops = list(accumulate(p.size for p in ports))
    return tuple((stop - p.size, stop) for p, stop in zip(ports, stops, strict=True))


def text_of(ports: Sequence[Port]) -> str:
    """The ports as an attribute of an operator."""
    return json.dumps([[p.name, list(p.shape), int(p.whole)] for p in ports])


def ports_of(o: Op) -> Ports:
    """The ports that an input operator stands for; none for an input that is one."""
    text = o.get(ATTRIBUTE)
    return tuple(Port(name, tuple(shape), bool(whole)) for name, shape, whole in json.loads(text)) if text else ()


def packed(ports: Sequence[Port], parts: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Rows (n, width) of inputs by name, each (n, *shape); bytes are scaled to 0..1."""
    rows = []
    for p in ports:
        part = parts[p.name]
        row = part.reshape(len(part), p.size).astype(np.float32)
        rows.append(row / np.float32(255) if part.dtype == np.uint8 and not p.whole else row)
    return np.concatenate(rows, axis=1)


def apart(rows: NDArray[Any], shapes: Mapping[str, Sequence[int]]) -> dict[str, NDArray[Any]]:
    """Inputs by name, each (n, *shape), of rows (n, width); the rows themselves for a single input.

    Raises:
        ValueError: the shapes together have another width.
    """
    if len(shapes) == 1:
        return dict.fromkeys(shapes, rows)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    if rows.ndim != 2 or rows.shape[1] != sum(sizes.values()):
        told = ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
        raise ValueError(f"the network has {len(shapes)} inputs ({told}), which rows of {rows.shape[1:]} do not fit")
    found, start = dict[str, NDArray[Any]](), 0
    for name, shape in shapes.items():
        found[name] = rows[:, start : start + sizes[name]].reshape(len(rows), *shape)
        start += sizes[name]
    return found
