"""Every built-in device keeps the laws of devices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import made_up
from chipfit.core.protocols import Device
from chipfit.core.types import Artifact
from chipfit.device import canary
from chipfit.device.ethos_u import EthosU, EthosU55, EthosU65, EthosU85
from chipfit.device.litert import LiteRt, LiteRtBuiltin
from chipfit.device.ncnn import Ncnn
from chipfit.device.null import Null
from chipfit.device.onnxruntime import OnnxRuntime
from chipfit.device.openvino import OpenVino
from chipfit.device.processor import Processor
from chipfit.device.registry import DEVICES
from chipfit.device.tflite_micro import TfliteMicro
from chipfit.device.torch import TorchEager
from chipfit.export.formats import timing_artifact, timing_bytes
from chipfit.testing import DeviceLaws


def _needs(device: str) -> None:
    if package := DEVICES[device].missing:
        pytest.skip(f"{package} is not installed")


class _Small(DeviceLaws):
    format = "onnx"
    bits = 32

    def artifacts(self) -> Sequence[Artifact]:
        return [timing_artifact(canary.chain(channels, 1, 6, self.bits), self.format) for channels in (4, 8)]

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
        _needs(cls.kind.name)
        cls.format = cls.kind.format
        cls.folder = made_up.calibrated(cls.kind, tmp_path_factory.mktemp("cache"))

    def open(self) -> Device:
        return self.kind(timing_bytes, cache_dir=self.folder)


class TestOnnxRuntime(_OnProcessor):
    kind = OnnxRuntime


class TestOpenVino(_OnProcessor):
    kind = OpenVino


class TestLiteRt(_OnProcessor):
    kind = LiteRt


class TestLiteRtBuiltin(_OnProcessor):
    kind = LiteRtBuiltin


class TestTorchEager(_OnProcessor):
    kind = TorchEager


class TestNcnn(_OnProcessor):
    kind = Ncnn


class TestTfliteMicro(_OnProcessor):
    kind = TfliteMicro


class _Npu(_Small):
    format = "tflite"
    bits = 8
    kind: type[EthosU]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _installed(cls) -> None:
        _needs(cls.kind.name)

    def open(self) -> Device:
        return self.kind(timing_bytes)


class TestEthosU55(_Npu):
    kind = EthosU55


class TestEthosU65(_Npu):
    kind = EthosU65


class TestEthosU85(_Npu):
    kind = EthosU85
