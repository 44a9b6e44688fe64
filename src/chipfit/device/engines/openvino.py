"""OpenVINO in the worker: its CPU plugin on ONNX files, float32 kept as float32."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from chipfit.device.engines.engine import Around, feed, in_batches, seeded


class OpenVinoSession:
    """A compiled network of a fixed batch and one request with its inputs set."""

    def __init__(self, core: Any, data: bytes, settings: dict[str, Any]) -> None:
        model = read(core, data)
        static = {i: [d.get_length() if d.is_static else 1 for d in i.partial_shape] for i in model.inputs}
        if any(i.partial_shape.is_dynamic for i in model.inputs):
            model.reshape(static)
        self.compiled = core.compile_model(model, "CPU", settings)
        self.request = self.compiled.create_infer_request()
        rng = np.random.default_rng(0)
        for n, given in enumerate(self.compiled.inputs):
            values = seeded(rng, given.shape, np.dtype(given.element_type.to_dtype()), given.any_name)
            self.request.set_input_tensor(n, ov.Tensor(values))

    def step(self) -> None:
        """One inference; outputs stay in the request."""
        self.request.infer()

    def outputs(self) -> Sequence[NDArray[Any]]:
        """Copies of what the request holds."""
        return [np.array(self.request.get_output_tensor(n).data) for n in range(len(self.compiled.outputs))]

    def answer(self, rows: NDArray[np.float32], batch: int) -> NDArray[Any]:
        """First output for all rows; a batch that the file leaves open was fixed to one."""
        inputs = self.compiled.inputs
        given = {str(n): (i.shape[1:], np.dtype(i.element_type.to_dtype())) for n, i in enumerate(inputs)}
        request = self.compiled.create_infer_request()
        made = []
        for part, n in in_batches(rows, inputs[0].shape[0], fixed=True):
            for place, values in feed(given, part).items():
                request.set_input_tensor(int(place), ov.Tensor(np.ascontiguousarray(values)))
            request.infer()
            made.append(np.array(request.get_output_tensor(0).data[:n]))
        return np.concatenate(made)


def read(core: Any, data: bytes) -> Any:
    """The model of an ONNX file, or of a zip with model.xml and model.bin."""
    if not data.startswith(b"PK"):
        return core.read_model(data)
    with zipfile.ZipFile(io.BytesIO(data)) as together:
        weights = np.frombuffer(together.read("model.bin"), np.uint8)
        return core.read_model(together.read("model.xml"), ov.Tensor(weights))


class OpenVinoEngine:
    """A fixed number of threads, pinned by the worker and not by the runtime."""

    version: str = ov.__version__.partition("-")[0]

    def __init__(self, threads: int) -> None:
        self._core = ov.Core()
        self._settings: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": threads,
            "ENABLE_CPU_PINNING": False,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # where there is AMX, the default would be bfloat16
        }

    def load(self, data: bytes) -> OpenVinoSession:
        """A session of an ONNX file, or of an intermediate representation."""
        return OpenVinoSession(self._core, data, self._settings)

    def profile(self, data: bytes, warm_up: int, runs: int, around: Around) -> list[list[Any]]:
        """From the runtime's counters.

        They hold the mean over all runs so far in whole microseconds, rounded down; so they are read after the warm-up
        and at the end, and half of one is added. Nodes below a microsecond do not show.
        """
        loaded = OpenVinoSession(self._core, data, {**self._settings, "PERF_COUNT": True})
        first: dict[tuple[str, str], float] = {}
        for n in range(warm_up + runs):
            with around():
                loaded.step()
            if n == warm_up - 1:
                first = _counters(loaded)
        last, whole = _counters(loaded), warm_up + runs
        names = _names(loaded, {o.get_friendly_name() for o in self._core.read_model(data).get_ops()})
        return [
            [names.get(name, name), kind, max((whole * us - warm_up * first.get((name, kind), 0.0)) / runs, 0.0) + 0.5]
            for (name, kind), us in last.items()
        ]


def _names(loaded: OpenVinoSession, known: set[str]) -> dict[str, str]:
    """Executed node to the first operator of the file that went into it.

    A convolution that a batch norm was folded into has a name of the runtime's own ("Multiply_9369").
    """
    found = {}
    for node in loaded.compiled.get_runtime_model().get_ops():
        info = node.get_rt_info()
        parts = info["originalLayersNames"].astype(str).split(",") if "originalLayersNames" in info else []
        if first := next((p for p in parts if p in known), None):
            found[node.get_friendly_name()] = first
    return found


def _counters(loaded: OpenVinoSession) -> dict[tuple[str, str], float]:
    """(name, type) of each executed node to us."""
    return {
        (node.node_name, node.node_type): node.real_time.total_seconds() * 1e6
        for node in loaded.request.get_profiling_info()
        if "EXECUTED" in str(node.status)
    }


def engine(threads: int) -> OpenVinoEngine:
    """The engine of this module."""
    return OpenVinoEngine(threads)
