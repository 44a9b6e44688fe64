"""TensorFlow Lite for Microcontrollers in the worker: its reference kernels, and its record of the arena."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tflite_micro.python.tflite_micro import runtime

from chipfit.device.engines.engine import Around, seeded
from chipfit.device.engines.litert import answers, cut_profile

ARENA_BYTES = 1 << 26
"""More memory than a microcontroller has; pages that are not used cost nothing."""


class TfliteMicroSession:
    """An interpreter and its input, which has to be set for every run: its place in the arena is used again."""

    def __init__(self, data: bytes) -> None:
        self.interpreter = runtime.Interpreter.from_bytes(data, arena_size=ARENA_BYTES)
        self._given = self.interpreter.get_input_details(0)
        self._row = seeded(np.random.default_rng(0), self._given["shape"], np.dtype(self._given["dtype"]))

    def step(self) -> None:
        """One inference; the output stays in the arena."""
        self._run(self._row)

    def outputs(self) -> Sequence[NDArray[Any]]:
        """A copy of the first output."""
        return [np.array(self.interpreter.get_output(0))]

    def answer(self, rows: NDArray[np.float32], batch: int) -> NDArray[Any]:
        """First output for all rows, one at a time: the batch is in the file's reshapes."""

        def one(row: NDArray[Any]) -> NDArray[Any]:
            self._run(row)
            return self.outputs()[0]

        return answers(rows, self._given["shape"], self._given["dtype"], one)

    def _run(self, row: NDArray[Any]) -> None:
        self.interpreter.set_input(row, 0)
        self.interpreter.invoke()


class TfliteMicroEngine:
    """Kernels without threads, all of those that the package registers."""

    version: str = version("tflite-micro")

    def load(self, data: bytes) -> TfliteMicroSession:
        """An interpreter of a TensorFlow Lite file.

        Raises:
            RuntimeError: an operator without a kernel (GELU is one); names it.
        """
        made: list[TfliteMicroSession] = []

        def make() -> None:
            made.append(TfliteMicroSession(data))

        said, error = _said(make)
        if error is not None:
            reasons = " ".join(said.split())
            raise RuntimeError(f"{error}: {reasons}" if reasons else str(error)) from error
        return made[0]

    def profile(self, data: bytes, warm_up: int, runs: int, around: Around) -> list[list[Any]]:
        """From the file cut off behind each operator."""
        return cut_profile(self, data, warm_up, runs, around)

    def estimate(self, data: bytes, options: Sequence[str]) -> dict[str, Any]:
        """{"arena_bytes"}: what the recording allocator counted, on this machine's 64-bit pointers.

        Raises:
            RuntimeError: the file is refused, or the allocator's words are not as expected.
        """
        said, _ = _said(self.load(data).interpreter.print_allocations)
        total = re.search(r"Arena allocation total (\d+) bytes", said)
        if total is None:
            raise RuntimeError("tflite-micro tells no size of its arena")
        return {"arena_bytes": int(total[1])}


def _said(call: Callable[[], None]) -> tuple[str, Exception | None]:
    """What a call writes to this process's stderr, below Python, and the error it raised."""
    before, error = os.dup(2), None
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            call()
        except Exception as e:  # the runtime's own; its reason is in what it said
            error = e
        finally:
            os.dup2(before, 2)
            os.close(before)
        caught.seek(0)
        return caught.read().decode(errors="replace"), error


def engine(threads: int) -> TfliteMicroEngine:
    """The engine of this module."""
    return TfliteMicroEngine()
