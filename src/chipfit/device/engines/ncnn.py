"""ncnn in the worker: float32 kept as float32, and a profile taken layer by layer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import ncnn
import numpy as np
from numpy.typing import NDArray

from chipfit.core.scratch import scratch_folder
from chipfit.device.engines.engine import Around, seeded

INPUT, OUTPUT = "input", "logits"
"""The blobs that files begin and end with."""

_PACKED = 1
"""Asks `extract` for a blob in the layout it is in; 0, the default, unpacks it."""

_AXES = ("2", "11", "1", "0")
"""Parameters of an Input layer that say its shape, outermost axis first."""

_MAGIC = b"7767517"
_HALF = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage", "use_bf16_packed")


class NcnnSession:
    """A loaded network and its input.

    ncnn's default light mode stays: blobs are dropped once they are read, and layers work in place where they can.
    """

    def __init__(self, data: bytes, threads: int) -> None:
        self.net = ncnn.Net()
        options = self.net.opt
        options.num_threads, options.use_vulkan_compute = threads, False
        options.openmp_blocktime = 0  # threads that spin collapse on a busy core
        for name in _HALF:
            setattr(options, name, False)
        shape = _load(self.net, data)
        self.given = _mat(seeded(np.random.default_rng(0), shape, np.dtype(np.float32)))
        self._made = self.given

    def step(self) -> None:
        """One inference; its output is kept."""
        self._made = self._run(self.given)

    def outputs(self) -> Sequence[NDArray[Any]]:
        """A copy of what the last step gave."""
        return [np.array(self._made)]

    def answer(self, rows: NDArray[np.float32], batch: int) -> NDArray[Any]:
        """Outputs for all rows, one at a time: files have no batch axis."""
        return np.stack([np.array(self._run(_mat(row))) for row in rows])

    def _run(self, given: Any) -> Any:
        extractor = self.net.create_extractor()
        extractor.input(INPUT, given)
        code, made = extractor.extract(OUTPUT)
        if code != 0:
            raise RuntimeError(f"a layer failed with code {code}")
        return made


class NcnnEngine:
    """A fixed number of threads."""

    version: str = ncnn.__version__

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def load(self, data: bytes) -> NcnnSession:
        """A session of a param and bin in one."""
        return NcnnSession(data, self.threads)

    def profile(self, data: bytes, warm_up: int, runs: int, around: Around) -> list[list[Any]]:
        """From a clock around `extract` of each layer's blob in turn.

        ncnn has no profiler, but an extractor computes what a blob needs beyond those it holds: one layer. What the
        call itself costs is known from asking for the same blob again, and taken off.
        """
        loaded = self.load(data)
        layers = [layer for layer in loaded.net.layers() if layer.type != "Input"]
        blobs = [layer.tops[0] for layer in layers]
        times = np.empty((warm_up + runs, len(layers), 2))
        clock = time.perf_counter_ns
        for run in times:
            with around():
                extractor = loaded.net.create_extractor()
                extractor.input(INPUT, loaded.given)
                for took, blob in zip(run, blobs, strict=True):
                    start = clock()
                    extractor.extract(blob, _PACKED)
                    middle = clock()
                    extractor.extract(blob, _PACKED)
                    took[:] = middle - start, clock() - middle
        first, again = np.median(times[warm_up:], axis=0).T
        us = np.maximum(first - again, 0.0) / 1e3
        return [[layer.name, layer.type, float(t)] for layer, t in zip(layers, us, strict=True)]


def _load(net: Any, data: bytes) -> tuple[int, ...]:
    """Fills the net from a file's bytes and returns the shape of its input.

    By way of files: reading from memory, ncnn would point into bytes that Python may free.

    Raises:
        ValueError: these are not param and bin.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    if not data[8:end].startswith(_MAGIC) or end > len(data):
        raise ValueError("this is no ncnn param and bin behind a length of eight bytes")
    with scratch_folder() as folder:
        param, weights = folder / "param", folder / "bin"
        param.write_bytes(data[8:end])
        weights.write_bytes(data[end:])
        if net.load_param(str(param)) != 0 or net.load_model(str(weights)) != 0:
            raise ValueError("ncnn does not read this param and bin")
    line = next(line for line in data[8:end].decode().splitlines() if line.startswith("Input"))
    sizes = dict(field.split("=") for field in line.split() if "=" in field)
    return tuple(int(sizes[key]) for key in _AXES if key in sizes)


def _mat(array: NDArray[np.float32]) -> Any:
    """A Mat of its own: one made from an array borrows its memory."""
    return ncnn.Mat(np.ascontiguousarray(array)).clone()


def engine(threads: int) -> NcnnEngine:
    """The engine of this module."""
    return NcnnEngine(threads)
