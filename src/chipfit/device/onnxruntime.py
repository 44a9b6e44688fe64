"""ONNX Runtime on this machine's processor."""

from __future__ import annotations

from chipfit.device.processor import Processor


class OnnxRuntime(Processor):
    """ONNX files on ONNX Runtime's CPU provider."""

    name = "onnxruntime"
    format = "onnx"
