"""What an operator of kind `opaque` computes: a few ATen operators, one after the other, as plain data.

A network holds operators that no record knows. Each is taken as it is: its attribute `program` is the text of a
`Program`, its arrays are under its own prefix like those of any other. It runs in torch, is written by torch's own
exporter, stays in float, and keeps the channels around it as they are.

The text is JSON. An argument of a step is a number, text, truth value, null, a list of arguments, or one of

    {"input": i}               the i-th input of the operator, the batch axis first
    {"step": k}                what the k-th step made; {"step": k, "part": p} one of the several values of it
    {"array": role}            an array of the operator
    {"batch": k}               k times the size of the batch
    {"dtype": name}            a type of numbers, by torch's name
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chipfit.core.graph import Graph
    from chipfit.core.op import Op

KIND = "opaque"

Argument = Any
"""An argument of a step as JSON has it; see the module."""


@dataclass(frozen=True, slots=True)
class Array:
    """An array that the steps read: its role, shape, type of numbers (torch's name), and whether it is trained.

    Arrays are kept as float32, whatever their type: whole numbers and truth values up to 2^24 are exact in it.
    """

    role: str
    shape: tuple[int, ...]
    dtype: str
    learnt: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One ATen operator, "layer_norm.default", with its arguments by place and by name."""

    operator: str
    arguments: tuple[Argument, ...]
    keywords: Mapping[str, Argument]


@dataclass(frozen=True, slots=True)
class Program:
    """Steps in running order; `result` is the argument that stands for what they make.

    `whole` has the places of those inputs that are whole numbers to the steps.
    """

    steps: tuple[Step, ...]
    result: Argument
    arrays: tuple[Array, ...] = ()
    whole: tuple[int, ...] = ()

    def text(self) -> str:
        """The program as one line; `read` reads it back."""
        return json.dumps(
            {
                "steps": [[s.operator, list(s.arguments), dict(s.keywords)] for s in self.steps],
                "result": self.result,
                "arrays": [list(asdict(a).values()) for a in self.arrays],
                "whole": list(self.whole),
            },
            separators=(",", ":"),
        )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Role to shape of its arrays."""
        return {a.role: a.shape for a in self.arrays}


@lru_cache(maxsize=1024)
def read(text: str) -> Program:
    """The program of a text.

    Raises:
        ValueError: the text is not one.
    """
    try:
        data = json.loads(text)
        steps = tuple(Step(name, tuple(places), keywords) for name, places, keywords in data["steps"])
        arrays = tuple(Array(role, tuple(shape), dtype, bool(learnt)) for role, shape, dtype, learnt in data["arrays"])
        return Program(steps, data["result"], arrays, tuple(data["whole"]))
    except (KeyError, TypeError, ValueError) as e:
        raise ValueError(f"not the program of an operator: {text[:80]!r}") from e


def program(o: Op) -> Program:
    """What an opaque operator computes."""
    return read(o["program"])


MOVES = frozenset(
    {"reshape", "view", "permute", "transpose", "expand", "slice", "select", "unsqueeze", "squeeze", "clone"}
    | {"_to_copy", "alias", "flatten", "unflatten", "contiguous", "detach"}
)
"""ATen operators that say little of what a program is for."""


def told(o: Op) -> str:
    """The names of the ATen operators that an opaque one is made of, those that compute first and alone."""
    names = list(dict.fromkeys(s.operator.split(".")[0].removeprefix("_") for s in program(o).steps))
    computing = [n for n in names if n not in MOVES] or names
    more = f" and {len(computing) - 3} more" if len(computing) > 4 else ""
    return ", ".join(computing[:3] if more else computing) + more


def taken_as_they_are(graph: Graph) -> Iterator[tuple[str, str, str]]:
    """Name, ATen operators and reason of each operator of a network that is opaque."""
    for o in graph:
        if o.kind == KIND:
            yield o.name, told(o), str(o.get("why") or "no rule")
