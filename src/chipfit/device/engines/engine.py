"""What a runtime must do in the worker: load a file, run it on one bound input, run it on many, profile it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Around = Callable[[], AbstractContextManager[None]]
"""What the worker wraps a run in: real-time priority, where asked for and permitted."""


class Session(Protocol):
    """A loaded file with a standard normal input of batch 1 bound to it."""

    def step(self) -> None:
        """One inference on the bound input."""
        ...

    def outputs(self) -> Sequence[NDArray[Any]]:
        """What the last `step` gave."""
        ...

    def answer(self, rows: NDArray[np.float32], batch: int) -> NDArray[Any]:
        """First output for all rows (n, ...), `batch` at a time where the file leaves that open.

        Raises:
            ValueError: the file has more than one input.
        """
        ...


class Engine(Protocol):
    """A runtime. Its methods may raise anything: what they raise is the file's fault."""

    version: str

    def load(self, data: bytes) -> Session:
        """A session of a file."""
        ...

    def profile(self, data: bytes, warm_up: int, runs: int, around: Around) -> list[list[Any]]:
        """Mean us of each node over `runs` runs, each within `around()`, as [name, type, us] in running order."""
        ...


def seeded(rng: np.random.Generator, shape: Sequence[int], dtype: np.dtype[Any]) -> NDArray[Any]:
    """What is bound to an input: standard normal values, zeros where it takes whole numbers."""
    normal = rng.standard_normal(tuple(shape), np.float32)
    return normal.astype(dtype) if dtype.kind == "f" else np.zeros(tuple(shape), dtype)


def in_batches(rows: NDArray[Any], batch: int, fixed: bool) -> list[tuple[NDArray[Any], int]]:
    """Parts of at most `batch` rows and how many answers of each count.

    With `fixed` the last one is filled up with its last row.
    """
    parts = []
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        missing = batch - len(part) if fixed else 0
        filled = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
        parts.append((filled, len(part)))
    return parts


def middle_mean(times: Sequence[float]) -> float:
    """Mean of the middle 80 %."""
    middle = np.sort(times)
    cut = len(middle) // 10
    return float(np.mean(middle[cut : len(middle) - cut]))
