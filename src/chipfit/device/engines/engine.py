"""What a runtime must do in the worker: load a file, run it on one bound input, run it on many, profile it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chipfit.core.ports import apart, says_what_counts

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

        A file of several inputs gets rows that hold them side by side, (n, values).

        Raises:
            ValueError: rows of another width.
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


class Estimator(Protocol):
    """What tells of a file without a clock: a compiler that estimates, an allocator that records."""

    version: str

    def estimate(self, data: bytes, options: Sequence[str]) -> dict[str, Any]:
        """What is known of a file, as JSON-ready values; may raise anything, which is the file's fault."""
        ...


CUTS_S = 10.0
"""Seconds after which cuts are run no further rounds, beyond the first `CUTS_LEAST`."""

CUTS_LEAST = 5


def seeded(rng: np.random.Generator, shape: Sequence[int], dtype: np.dtype[Any], name: str = "") -> NDArray[Any]:
    """What is bound to an input: standard normal values; zeros where it takes whole numbers, ones where these mask."""
    normal = rng.standard_normal(tuple(shape), np.float32)
    if dtype.kind == "f":
        return normal.astype(dtype)
    return np.full(tuple(shape), int(says_what_counts(name)), dtype)


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


def feed(given: Mapping[str, tuple[Sequence[int], np.dtype[Any]]], rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """What each input of a file gets of some rows: name -> (shape without the batch, type) of these inputs.

    Raises:
        ValueError: the rows of several inputs are of another width.
    """
    parts = apart(rows, {name: shape for name, (shape, _) in given.items()})
    return {name: part.astype(given[name][1], copy=False) for name, part in parts.items()}


def taken(inputs: Sequence[Any]) -> dict[str, tuple[Sequence[int], np.dtype[Any]]]:
    """The inputs of an ONNX Runtime session as `feed` wants them."""
    return {i.name: (i.shape[1:], dtype_named(i.type)) for i in inputs}


def dtype_named(name: str) -> np.dtype[Any]:
    """Numpy's type for ONNX Runtime's "tensor(float)"."""
    inner = name.removeprefix("tensor(").removesuffix(")")
    return np.dtype({"float": "float32", "double": "float64"}.get(inner, inner))


def cut_times(steps: Sequence[Callable[[], object]], warm_up: int, runs: int, around: Around) -> list[float]:
    """Us of each operator, where `steps[n]` runs the network up to operator n: differences of medians, 0 at least.

    The cuts are run by turns, so that all have seen the same moments; what an earlier cut took longer than a later one
    is noise, and counts for none. Rounds end early where they would take too long: there are as many cuts as operators.
    """
    times: list[list[int]] = [[] for _ in steps]
    end = time.perf_counter() + CUTS_S
    for n in range(warm_up + runs):
        if n >= CUTS_LEAST and time.perf_counter() > end:
            break
        for mine, step in zip(times, steps, strict=True):
            with around():
                start = time.perf_counter_ns()
                step()
                mine.append(time.perf_counter_ns() - start)
        if n == warm_up - 1 and time.perf_counter() < end:
            times = [[] for _ in steps]
    until = np.maximum.accumulate([float(np.median(mine)) / 1e3 for mine in times])
    return [float(us) for us in np.diff(until, prepend=0.0)]


FEW_RUNS = 60
"""Runs up to which the fastest half alone counts."""


def typical(times: Sequence[float]) -> float:
    """Mean of the middle 80 %; of few runs that of the fastest half, since another process only ever slows some."""
    if len(times) > FEW_RUNS:
        return middle_mean(times)
    return float(np.mean(np.sort(times)[: (len(times) + 1) // 2]))


def middle_mean(times: Sequence[float]) -> float:
    """Mean of the middle 80 %."""
    middle = np.sort(times)
    cut = len(middle) // 10
    return float(np.mean(middle[cut : len(middle) - cut]))
