"""LiteRT in the worker: its XNNPACK kernels, or with `builtin` its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from chipfit.device.engines.engine import Around, Engine, cut_times, seeded

CUTS_BYTES = 1 << 31
"""Of all cuts of a file together, which are loaded at once to be timed by turns."""


class LiteRtSession:
    """An interpreter with its inputs set. Files with four axes are channels-last; answers are not."""

    def __init__(self, data: bytes, threads: int, resolver: Any) -> None:
        self.interpreter = Interpreter(model_content=data, num_threads=threads, experimental_op_resolver_type=resolver)
        self.interpreter.allocate_tensors()
        self._given, self._made = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        rng = np.random.default_rng(0)
        for given in self._given:
            self.interpreter.set_tensor(given["index"], seeded(rng, given["shape"], np.dtype(given["dtype"])))
        self.step = self.interpreter.invoke
        """One inference; outputs stay in the interpreter."""

    def outputs(self) -> Sequence[NDArray[Any]]:
        """Copies of what the interpreter holds."""
        return [self.interpreter.get_tensor(made["index"]) for made in self._made]

    def answer(self, rows: NDArray[np.float32], batch: int) -> NDArray[Any]:
        """First output for all rows, one at a time: the batch is in the file's reshapes."""
        if len(self._given) != 1:
            raise ValueError(f"the network has {len(self._given)} inputs; only those with one can be run")
        given = self._given[0]

        def one(row: NDArray[Any]) -> NDArray[Any]:
            self.interpreter.set_tensor(given["index"], row)
            self.interpreter.invoke()
            return self.outputs()[0]

        return answers(rows, given["shape"], given["dtype"], one)


def answers(
    rows: NDArray[np.float32], shape: Sequence[int], dtype: Any, one: Callable[[NDArray[Any]], NDArray[Any]]
) -> NDArray[Any]:
    """What `one` gives for each row (1, ...) of an input of this shape and type, together.

    Rows (n, C, H, W) reach it channels-last, and its answers come back channels-first.

    Raises:
        ValueError: the network takes rows of another shape.
    """
    wanted = np.ascontiguousarray(np.moveaxis(rows, 1, -1) if rows.ndim == 4 else rows, dtype)
    if wanted.shape[1:] != tuple(shape[1:]):
        raise ValueError(f"the network takes {tuple(shape[1:])}, channels last, not {wanted.shape[1:]}")
    together = np.concatenate([one(wanted[n : n + 1]) for n in range(len(wanted))])
    return np.moveaxis(together, -1, 1) if together.ndim == 4 else together


class LiteRtEngine:
    """A fixed number of threads and one set of kernels."""

    version: str = version("ai-edge-litert")

    def __init__(self, threads: int, builtin: bool = False) -> None:
        self.threads = threads
        plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        self._resolver = plain if builtin else OpResolverType.AUTO

    def load(self, data: bytes) -> LiteRtSession:
        """An interpreter of a TensorFlow Lite file."""
        return LiteRtSession(data, self.threads, self._resolver)

    def profile(self, data: bytes, warm_up: int, runs: int, around: Around) -> list[list[Any]]:
        """From the file cut off behind each operator: an operator takes what its cut takes longer than the one before.

        The interpreter shows no times of its own, and operators that the delegate fuses have none.
        """
        return cut_profile(self, data, warm_up, runs, around)


def cut_profile(engine: Engine, data: bytes, warm_up: int, runs: int, around: Around) -> list[list[Any]]:
    """What an engine takes for each operator of a file, from the file cut off behind each."""
    names, cuts = cut_files(data)
    times = cut_times([engine.load(cut).step for cut in cuts], warm_up, runs, around)
    return [[name, kind, us] for (name, kind), us in zip(names, times, strict=True)]


def cut_files(data: bytes) -> tuple[list[tuple[str, str]], list[bytes]]:
    """(output name, operator) of each operator of a file, and the file ending behind each."""
    model = schema.ModelT.InitFromPackedBuf(data)
    if len(data) * len(model.subgraphs[0].operators) > CUTS_BYTES:
        raise ValueError(f"a file of {len(data) / 1e6:.0f} MB is too large to be cut behind each operator")
    graph, whole = model.subgraphs[0], model.subgraphs[0].operators
    model.signatureDefs = None
    kinds = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
    names, cuts = [], []
    for n, operator in enumerate(whole, 1):
        graph.operators, graph.outputs = whole[:n], operator.outputs
        tensor = graph.tensors[operator.outputs[0]]
        names.append((tensor.name.decode(), kinds[model.operatorCodes[operator.opcodeIndex].builtinCode]))
        builder = flatbuffers.Builder(len(data))
        builder.Finish(model.Pack(builder), b"TFL3")
        cuts.append(bytes(builder.Output()))
    return names, cuts


def engine(threads: int) -> LiteRtEngine:
    """The engine of this module."""
    return LiteRtEngine(threads)
