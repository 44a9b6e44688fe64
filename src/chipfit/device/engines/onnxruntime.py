"""ONNX Runtime in the worker: its CPU provider, input and outputs bound."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from chipfit.core.scratch import scratch_folder
from chipfit.device.engines.engine import Around, dtype_named, feed, in_batches, seeded, taken, typical

CONTAINERS = frozenset({"If", "Loop", "Scan"})
"""Types whose nodes hold others, which the profile lists, too."""


class OnnxRuntimeSession:
    """A session and its binding: binding saves 3-5 us a run of Python's share."""

    def __init__(self, data: bytes, options: Any) -> None:
        self.session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        rng = np.random.default_rng(0)
        self._binding, self._feed = self.session.io_binding(), dict[str, NDArray[Any]]()
        for given in self.session.get_inputs():
            shape = [d if isinstance(d, int) else 1 for d in given.shape]
            self._feed[given.name] = seeded(rng, shape, dtype_named(given.type), given.name)
            self._binding.bind_cpu_input(given.name, self._feed[given.name])
        for output in self.session.get_outputs():
            self._binding.bind_output(output.name, "cpu")

    def step(self) -> None:
        """One inference; outputs stay in the binding."""
        self.session.run_with_iobinding(self._binding)

    def outputs(self) -> Sequence[NDArray[Any]]:
        """Copies of what the binding holds."""
        outputs: list[NDArray[Any]] = self._binding.copy_outputs_to_cpu()
        return outputs

    def answer(self, rows: NDArray[np.float32], batch: int) -> NDArray[Any]:
        """First output for all rows."""
        inputs = self.session.get_inputs()
        given = taken(inputs)
        fixed = bool(inputs[0].shape) and isinstance(inputs[0].shape[0], int)
        parts = in_batches(rows, inputs[0].shape[0] if fixed else batch, fixed)
        return np.concatenate([self.session.run(None, feed(given, part))[0][:n] for part, n in parts])


class OnnxRuntimeEngine:
    """A fixed number of threads that sleep while they wait, and no warnings on stderr."""

    version: str = ort.__version__

    def __init__(self, threads: int) -> None:
        self.threads = threads
        ort.disable_telemetry_events()  # versions that do not know the variable which `chipfit` sets

    def load(self, data: bytes) -> OnnxRuntimeSession:
        """A session of an ONNX file."""
        return OnnxRuntimeSession(data, self._options())

    def profile(self, data: bytes, warm_up: int, runs: int, around: Around) -> list[list[Any]]:
        """From the runtime's JSON profile."""
        with scratch_folder() as folder:
            options = self._options()
            options.enable_profiling = True
            options.profile_file_prefix = str(folder / "profile")
            loaded = OnnxRuntimeSession(data, options)
            for _ in range(warm_up + runs):
                with around():
                    loaded.step()
            events = json.loads(Path(loaded.session.end_profiling()).read_text())
        return node_times(events, warm_up)

    def _options(self) -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        # spinning pools collapse on a busy core
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.log_severity_level = 4
        return options


def node_times(events: Sequence[Mapping[str, Any]], warm_up: int) -> list[list[Any]]:
    """[name, type, us] of each node in ONNX Runtime's JSON profile, in running order, without the first runs.

    The profile counts whole microseconds, rounded down, so half of one is added: the mean over many runs then has a
    finer grain than one microsecond, as long as the times vary by about as much. What holds nodes has no row: its time
    is theirs.
    """
    found: dict[tuple[str, str], list[float]] = {}
    for e in events:
        if e.get("cat") == "Node" and e["name"].endswith("_kernel_time"):
            key = (e["name"].removesuffix("_kernel_time"), e.get("args", {}).get("op_name", ""))
            if key[1] not in CONTAINERS:
                found.setdefault(key, []).append(float(e["dur"]))
    return [[name, kind, typical(times[warm_up:]) + 0.5] for (name, kind), times in found.items()]


def engine(threads: int) -> OnnxRuntimeEngine:
    """The engine of this module."""
    return OnnxRuntimeEngine(threads)
