"""OpenVINO on this machine's processor."""

from __future__ import annotations

from chipfit.device.canary import Int8
from chipfit.device.processor import Processor


class OpenVino(Processor):
    """ONNX files on OpenVINO's CPU plugin, float32 in float32."""

    name = "openvino"
    format = "onnx"
    int8: Int8 = "settled"
    ahead = True
