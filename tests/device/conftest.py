"""Small networks with their graphs, and a calibration that was not measured, so that only what asks for it is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chipfit.core.graph import Graph, Op, op
from chipfit.core.types import Artifact
from chipfit.device import cache, canary
from chipfit.device.onnxruntime import OnnxRuntime

Small = Callable[..., Artifact]


def _graph(channels: int, depth: int, size: int, bits: int) -> Graph:
    shape = (channels, size, size)
    ops: list[Op] = [op("x", "input", (), shape)]
    for n in range(depth):
        window = {"kernel": (3, 3), "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, "bias": 1}
        ops.append(op(f"conv{n}", "conv", (ops[-1].name,), shape, f"conv{n}", bits, **window))
        ops.append(op(f"relu{n}", "relu", (f"conv{n}",), shape, bits=bits))
    return Graph(tuple(ops), ops[-1].name)


@pytest.fixture(scope="session")
def small() -> Small:
    """Makes a chain of convolutions with ReLU as an artifact: small(channels, depth, size, bits)."""

    def make(channels: int = 4, depth: int = 2, size: int = 6, bits: int = 32) -> Artifact:
        data = canary.chain(channels, depth, size, bits)
        return Artifact("onnx", data, _graph(channels, depth, size, bits))

    return make


@pytest.fixture(scope="session")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that holds a made-up scale, facts and roofline for this machine."""
    folder = tmp_path_factory.mktemp("cache")
    with OnnxRuntime(cache_dir=folder) as device:
        mark = device._mark
    cache.keep(folder, mark, canary.VERSION, {"ladder_ms": [0.01 * 3**n for n in range(8)]})
    cache.keep(folder, mark, "facts", {"channel_block": {"32": 16, "8": 4}, "overhead_ms": 0.002})
    roof = {"macs_per_ms": 1e8, "macs8_per_ms": 3e8, "bytes_per_ms": 5e7, "launch_ms": 5e-4}
    cache.keep(folder, mark, "roofline", roof)
    return folder


@pytest.fixture
def device(calibrated: Path) -> Iterator[OnnxRuntime]:
    with OnnxRuntime(cache_dir=calibrated) as device:
        yield device
