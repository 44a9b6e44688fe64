"""LiteRT (formerly TensorFlow Lite) on this machine's processor, with either set of its kernels."""

from __future__ import annotations

from chipfit.device.processor import Processor


class LiteRt(Processor):
    """TensorFlow Lite files on LiteRT's default kernels, XNNPACK's."""

    name = "litert"
    format = "tflite"
    saturates = False
    by_cuts = True


class LiteRtBuiltin(Processor):
    """TensorFlow Lite files on LiteRT's built-in kernels, as where there is no XNNPACK."""

    name = "litert-builtin"
    format = "tflite"
    saturates = False
    by_cuts = True
