"""PyTorch on this machine's processor."""

from __future__ import annotations

from chipfit.device.processor import Processor


class TorchEager(Processor):
    """Weights and graph in torch's eager mode, float32."""

    name = "torch"
    format = "safetensors"
    bits = (32,)
