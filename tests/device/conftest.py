"""Small networks with their graphs, and a calibration that was not measured, so that only what asks for it is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import made_up
from chipfit.core.types import Artifact
from chipfit.device import canary
from chipfit.device.onnxruntime import OnnxRuntime
from chipfit.export.formats import timing_artifact, timing_bytes

Small = Callable[..., Artifact]


@pytest.fixture(scope="session")
def small() -> Small:
    """Makes a chain of convolutions with ReLU as an artifact: small(channels, depth, size, bits, format)."""

    def make(channels: int = 4, depth: int = 2, size: int = 6, bits: int = 32, format: str = "onnx") -> Artifact:
        return timing_artifact(canary.chain(channels, depth, size, bits), format)

    return make


@pytest.fixture(scope="session")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with a made-up calibration of this machine."""
    return made_up.calibrated(OnnxRuntime, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def device(calibrated: Path) -> Iterator[OnnxRuntime]:
    with OnnxRuntime(timing_bytes, cache_dir=calibrated) as device:
        yield device
