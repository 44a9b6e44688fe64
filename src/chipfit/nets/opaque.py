"""Runs the program of an opaque operator in torch: functional ATen operators by name, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from chipfit.core.opaque import Argument, Program

_NAME = re.compile(r"[a-z_][a-z0-9_]*\.[A-Za-z0-9_]+")

MAKERS = frozenset(
    {"zeros", "ones", "full", "arange", "eye", "scalar_tensor", "linspace", "tril_indices", "triu_indices"}
)
"""Operators that need no tensor to make one; others without one (files, random numbers) are refused."""


def draws(found: torch._ops.OpOverload, places: Sequence[Any], keywords: Mapping[str, Any]) -> bool:
    """True where an operator with these arguments makes random numbers: as dropout does in training alone."""
    if torch.Tag.nondeterministic_seeded not in found.tags:
        return False
    names = [a.name for a in found._schema.arguments]
    given = {a.name: a.default_value for a in found._schema.arguments if a.has_default_value()}
    given |= dict(zip(names, places, strict=False)) | dict(keywords)
    still = [given[name] for name in ("train", "training", "dropout_p", "p") if name in given]
    return all(still)


@lru_cache(maxsize=4096)
def operator(name: str) -> torch._ops.OpOverload:
    """The ATen operator of a name like "layer_norm.default".

    Raises:
        ValueError: there is none, it changes its inputs, or it reads something else than tensors.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no ATen operator")
    packet, _, overload = name.partition(".")
    found = getattr(getattr(torch.ops.aten, packet, None), overload, None)
    if not isinstance(found, torch._ops.OpOverload):
        raise ValueError(f"this torch has no ATen operator {name!r}")
    schema = found._schema
    takes_tensors = any("Tensor" in str(a.type) for a in schema.arguments)
    if schema.is_mutable:
        raise ValueError(f"ATen operator {name!r} is no function of its inputs")
    if not takes_tensors and packet not in MAKERS:
        raise ValueError(f"ATen operator {name!r} reads no tensor")
    return found


def run(program: Program, arrays: Mapping[str, Tensor], inputs: tuple[Tensor, ...]) -> Tensor:
    """What a program makes of inputs, each with the batch first, and arrays by role.

    Raises:
        ValueError: a step is no operator that may be run.
    """
    batch = inputs[0].shape[0]
    given = [x.long() if i in program.whole else x for i, x in enumerate(inputs)]
    typed = {a.role: _typed(arrays[a.role], a.dtype) for a in program.arrays}
    made: list[Any] = []

    def value(argument: Argument) -> Any:
        if isinstance(argument, list | tuple):
            return [value(part) for part in argument]
        if not isinstance(argument, dict):
            return argument
        ((kind, what), *more) = argument.items()
        match kind:
            case "input":
                return given[what]
            case "step":
                return made[what][more[0][1]] if more else made[what]
            case "array":
                return typed[what]
            case "batch":
                return what * batch
            case "dtype":
                return dtype_of(what)
        raise ValueError(f"argument {argument!r} of an operator is unknown")

    for step in program.steps:
        places = [value(a) for a in step.arguments]
        keywords = {name: value(a) for name, a in step.keywords.items()}
        function = operator(step.operator)
        if draws(function, places, keywords):
            raise ValueError(f"ATen operator {step.operator!r} draws random numbers")
        if step.operator.startswith(_LOOPS):
            places = [_in_order(place) for place in places]
        made.append(function(*places, **keywords))
    result: Tensor = value(program.result)
    return result


_LOOPS = ("lstm.", "gru.", "rnn_")
"""Operators that are written as loops in files, whose states keep the strides that they begin with."""


def _in_order(place: Any) -> Any:
    """A tensor, or those in a list, with values of their own one behind the other: expanded states have none."""
    if isinstance(place, list):
        return [_in_order(part) for part in place]
    return place.contiguous() if isinstance(place, Tensor) else place


def _typed(array: Tensor, dtype: str) -> Tensor:
    """An array in the type that the steps read; floats stay in the precision that the whole network runs in."""
    return array if dtype == "float32" else array.to(dtype_of(dtype))


def dtype_of(name: str) -> torch.dtype:
    """The type of numbers of a name.

    Raises:
        ValueError: there is none.
    """
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"torch has no type {name!r}")
    return found
