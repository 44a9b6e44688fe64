"""PyTorch in the worker: eager mode, channels last, in inference mode."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load
from torch import Tensor

from chipfit.core.graph import Graph, Network
from chipfit.device.engines.engine import Around, in_batches, seeded, typical
from chipfit.nets.build import build


class TorchSession:
    """A module and its input; inference mode is entered in each call, as a user's program would."""

    def __init__(self, data: bytes) -> None:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        self.module = build(Network(Graph.from_json(header["__metadata__"]["graph"]), load(data)))
        graph = self.module.graph
        looked_up = any(o.kind == "embedding" for o in graph)  # a row of a table that may have no more than one
        dtype = np.dtype(np.int64 if looked_up else np.float32)
        self.given = _tensor(seeded(np.random.default_rng(0), (1, *graph.input_shape), dtype))
        self._made = self.given

    @torch.inference_mode()
    def step(self) -> None:
        """One inference; its output is kept."""
        self._made = self.module(self.given)

    def outputs(self) -> Sequence[NDArray[Any]]:
        """A copy of what the last step gave."""
        return [self._made.numpy().copy()]

    @torch.inference_mode()
    def answer(self, rows: NDArray[np.float32], batch: int) -> NDArray[Any]:
        """Outputs for all rows."""
        parts = in_batches(rows, batch, fixed=False)
        return np.concatenate([self.module(_tensor(part)).numpy() for part, _ in parts])


class TorchEngine:
    """A fixed number of threads."""

    version: str = str(torch.__version__)

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)

    def load(self, data: bytes) -> TorchSession:
        """A session of a safetensors file with a graph in it."""
        return TorchSession(data)

    @torch.inference_mode()
    def profile(self, data: bytes, warm_up: int, runs: int, around: Around) -> list[list[Any]]:
        """From a clock around each operator's call: eager mode runs one after another, so nothing overlaps."""
        loaded = TorchSession(data)
        times: dict[str, list[int]] = {o.name: [] for o in loaded.module.graph}
        for _ in range(warm_up + runs):
            with around():
                start = time.perf_counter_ns()
                for o, _made in loaded.module.walk(loaded.given):
                    times[o.name].append(time.perf_counter_ns() - start)
                    start = time.perf_counter_ns()
        ops = loaded.module.graph.ops[1:]
        return [[o.name, o.kind, typical(times[o.name][warm_up:]) / 1e3] for o in ops]


def _tensor(rows: NDArray[np.float32]) -> Tensor:
    """Rows (n, ...) as a tensor of its own, pictures channels last."""
    tensor = torch.tensor(rows)
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def engine(threads: int) -> TorchEngine:
    """The engine of this module."""
    return TorchEngine(threads)
