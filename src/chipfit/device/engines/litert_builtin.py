"""LiteRT's own kernels in the worker, without XNNPACK."""

from __future__ import annotations

from chipfit.device.engines.litert import LiteRtEngine


def engine(threads: int) -> LiteRtEngine:
    """The engine of this module."""
    return LiteRtEngine(threads, builtin=True)
