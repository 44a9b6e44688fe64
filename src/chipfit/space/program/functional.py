"""A hash of what programs compute: of their answers to a fixed probe, with weights that follow from what they meet.

Programs of equal hash are the same function, however they are written (the equivalence cache of AutoML-Zero, Real et
al., 2003.03384). What differs, and why: the weights of an instruction are drawn by a hash of the values that it reads
and of their own shapes, not by its number, so that an instruction that changes nothing changes no weights behind it;
and everything is computed in float64 and rounded to six digits, which is a billion times what machines differ by, so
that hashes of one library are those of another machine. Whoever can run operators gives `execute`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from chipfit.core.graph import Graph, Op
from chipfit.core.kinds import Shape
from chipfit.space.program.canonical import canonical, structural_hash
from chipfit.space.program.lower import alone
from chipfit.space.program.place import Place
from chipfit.space.program.program import Program

Values = NDArray[np.float64]

Execute = Callable[[Op, Mapping[str, Values], Sequence[Values]], Values]
"""The output of an operator, of its arrays by role and what it reads, with a batch axis."""

PROBES: Final[tuple[Place, ...]] = (
    Place("y", "conv", "x", "y", (32, 7, 7), (64, 7, 7), kernel=(3, 3), padding=(1, 1)),
    Place("y", "conv", "x", "y", (32, 7, 7), (32, 7, 7), kernel=(3, 3), padding=(1, 1)),
    Place("y", "linear", "x", "y", (5, 32), (5, 64)),
    Place("y", "linear", "x", "y", (5, 32), (5, 32)),
)
"""Where programs are tried: more channels out than in, and as many, on maps and on rows of features."""

_BATCH, _PROJECTIONS, _DIGITS, _HEX = 2, 8, 6, 16


def functional_hash(program: Program, execute: Execute) -> str:
    """Hash of what the program computes, in 16 hexadecimal digits; of its form where it fits none of the probes."""
    form = canonical(program)
    answers = [_answer(form, place, execute) for place in PROBES]
    if not any(answers):
        return structural_hash(program)
    return hashlib.sha256("|".join(answers).encode()).hexdigest()[:_HEX]


def _answer(program: Program, place: Place, execute: Execute) -> str:
    """The rounded answer at a place; "" where the program does not fit."""
    try:
        graph = alone(program, place)
    except ValueError:
        return ""
    met: dict[str, int] = {}
    values: dict[str, Values] = {graph.ops[0].name: noise("probe", (_BATCH, *place.before))}
    for o in graph.ops[1:]:
        reads = [values[i] for i in o.inputs]
        values[o.name] = execute(o, _weights(graph, o, reads, met), reads)
    return told(values[graph.output])


def _weights(graph: Graph, o: Op, reads: Sequence[Values], met: dict[str, int]) -> Mapping[str, Values]:
    """Arrays of an operator by role. Those of two that are alike on the same values differ: `met` counts them."""
    roles = graph.roles(o)
    if not roles:
        return {}
    alike = "|".join([o.kind, str(o.attrs), *map(told, reads)])
    met[alike] = met.get(alike, 0) + 1
    return {role: _array(role, f"{alike}|{met[alike]}|{role}", shape) for role, shape in roles.items()}


def _array(role: str, seed: str, shape: Shape) -> Values:
    """Weights about as large as makes what they give as large as what they meet; variances are positive."""
    values = noise(seed, shape)
    if role == "running_var":
        return np.abs(values) + 0.5
    spread: float = (3.0 / max(1, math.prod(shape[1:]))) ** 0.5
    return values * spread


def noise(seed: str, shape: Shape) -> Values:
    """Numbers from -1 to 1 that are the same on every machine: the bytes of SHAKE-256 of the seed."""
    count = math.prod(shape)
    text = hashlib.shake_256(seed.encode()).digest(2 * count)
    numbers = np.frombuffer(text, "<u2").astype(np.float64) / 32767.5 - 1
    made: Values = numbers.reshape(shape)
    return made


def told(values: Values) -> str:
    """Values in a few rounded numbers: their size, and sums of them with fixed signs as shares of it."""
    if not np.isfinite(values).all():
        return f"{values.shape} not finite"
    flat = values.ravel()
    size = float(np.abs(flat).max(initial=0.0))
    if size == 0.0:
        return f"{values.shape} 0"
    signs = np.sign(noise("signs", (_PROJECTIONS, flat.size)))
    sums: NDArray[Any] = signs @ (flat / size) / flat.size**0.5
    rounded = [f"{s:.{_DIGITS}f}" for s in np.round(sums, _DIGITS) + 0.0]  # no minus before zero
    return " ".join([str(values.shape), f"{size:.{_DIGITS - 1}e}", *rounded])
