"""Every built-in device keeps the laws of devices."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from chipfit.core.graph import Graph, op
from chipfit.core.protocols import Device
from chipfit.core.types import Artifact
from chipfit.device import cache, canary
from chipfit.device.null import Null
from chipfit.device.onnxruntime import OnnxRuntime
from chipfit.device.openvino import OpenVino
from chipfit.device.processor import Processor
from chipfit.testing import DeviceLaws


def _artifact(channels: int) -> Artifact:
    """One convolution with ReLU on (channels, 6, 6)."""
    shape = (channels, 6, 6)
    window = {"kernel": (3, 3), "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1, "bias": 1}
    ops = (
        op("x", "input", (), shape),
        op("conv0", "conv", ("x",), shape, "conv0", **window),
        op("relu0", "relu", ("conv0",), shape),
    )
    return Artifact("onnx", canary.chain(channels, 1, 6), Graph(ops, "relu0"))


class _Small(DeviceLaws):
    def artifacts(self) -> Sequence[Artifact]:
        return [_artifact(4), _artifact(8)]

    def inputs(self) -> NDArray[np.float32]:
        return np.random.default_rng(0).standard_normal((3, 4, 6, 6), np.float32)


class TestNull(_Small):
    def open(self) -> Device:
        return Null()


class _OnProcessor(_Small):
    kind: type[Processor]
    folder: Path

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _calibrated(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        """A made-up scale, facts and roofline: the laws are about measuring, not about calibration."""
        if find_spec(cls.kind.name) is None:
            pytest.skip(f"{cls.kind.name} is not installed")
        cls.folder = tmp_path_factory.mktemp("cache")
        with cls.kind(cache_dir=cls.folder) as device:
            mark = device._mark
        cache.keep(cls.folder, mark, canary.VERSION, {"ladder_ms": [0.01 * 3**n for n in range(8)]})
        cache.keep(cls.folder, mark, "facts", {"channel_block": {"32": 16, "8": 4}, "overhead_ms": 0.002})
        roof = {"macs_per_ms": 1e8, "macs8_per_ms": 3e8, "bytes_per_ms": 5e7, "launch_ms": 5e-4}
        cache.keep(cls.folder, mark, "roofline", roof)

    def open(self) -> Device:
        return self.kind(cache_dir=self.folder)


class TestOnnxRuntime(_OnProcessor):
    kind = OnnxRuntime


class TestOpenVino(_OnProcessor):
    kind = OpenVino
