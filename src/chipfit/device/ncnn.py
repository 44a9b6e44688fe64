"""ncnn on this machine's processor."""

from __future__ import annotations

from chipfit.device.processor import Processor


class Ncnn(Processor):
    """ncnn's param and bin on its processor kernels, float32."""

    name = "ncnn"
    format = "ncnn"
    bits = (32,)
