"""Several inputs in what a loader hands over: a mapping or a tuple of arrays becomes rows that hold them side by side.

    ((a, b), targets)                   by the order in which the model takes them
    ({"ids": a, "mask": b}, targets)    by name
    {"ids": a, "mask": b, "labels": targets}    as tokenisers and collators give them

Whole numbers stay whole numbers for the model, bytes are scaled to 0..1, floats are taken as they come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chipfit.core.errors import BadInput
from chipfit.core.ports import Port, Ports, packed

TARGETS = ("labels", "label", "targets", "target")
"""Names of what is learnt in a mapping that holds everything."""

EXACT = 2**24
"""Whole numbers up to here are exact in float32, in which they travel."""


def inputs_and_targets(item: Mapping[Any, Any]) -> tuple[Mapping[Any, Any], object | None]:
    """A mapping of everything as its inputs and what is learnt."""
    name = next((name for name in TARGETS if name in item), None)
    return {key: value for key, value in item.items() if key != name}, None if name is None else item[name]


def named(given: object) -> dict[str, Any] | None:
    """The inputs by name, of a tuple by place; None for what is one input."""
    if isinstance(given, Mapping):
        return {str(name): value for name, value in given.items()}
    if isinstance(given, tuple | list) and len(given) > 1 and all(_is_array(part) for part in given):
        return {str(place): part for place, part in enumerate(given)}
    return None


def _is_array(value: Any) -> bool:
    return isinstance(getattr(value, "shape", None), Sequence) and len(value.shape) > 0


def are_rows(parts: Mapping[str, Any], rows: int) -> bool:
    """True for a tuple that is a batch of so many rows of one input, not one of several inputs."""
    shapes = {tuple(part.shape) for part in parts.values()}
    alike = len(parts) == rows and len(shapes) == 1
    return alike or any(len(part) != rows for part in parts.values())


def side_by_side(where: str, parts: Mapping[str, NDArray[Any]], before: int) -> tuple[NDArray[np.float32], Ports]:
    """Rows (n, values) of inputs (n, ...), and what stands in them.

    Raises:
        BadInput: inputs of different numbers of rows, of another type, or with values that are no numbers.
    """
    counts = {name: len(part) for name, part in parts.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {n}" for name, n in counts.items())
        raise BadInput(
            f"{where} has a batch whose inputs have different numbers of rows ({told}); give as many of each"
        )
    ports = tuple(_port(where, name, part) for name, part in parts.items())
    rows = packed(ports, parts)
    bad = ~np.isfinite(rows).all(axis=1)
    if bad.any():
        raise BadInput(
            f"{where} has NaN or infinite inputs in {int(bad.sum())} rows of a batch, the first is row "
            f"{before + int(bad.argmax())}; clean them"
        )
    return rows, ports


def _port(where: str, name: str, part: NDArray[Any]) -> Port:
    if part.dtype.kind not in "iubf":
        raise BadInput(f"{where} has an input {name!r} of type {part.dtype}; give whole or real numbers")
    whole = part.dtype.kind in "iub" and part.dtype != np.uint8
    if whole and part.size and int(np.abs(part.astype(np.int64)).max()) >= EXACT:
        raise BadInput(f"{where} has whole numbers from {EXACT} on in input {name!r}; give them as float32")
    return Port(name, tuple(part.shape[1:]), whole)


def check_alike(where: str, one: Ports, other: Ports) -> None:
    """Raises BadInput where two batches hold other inputs."""
    if one != other:
        told = [" ".join(port.told for port in ports) or "one input" for ports in (one, other)]
        raise BadInput(
            f"{where} has batches of different inputs: {told[0]}; {told[1]}; give all one form, as by padding"
        )
