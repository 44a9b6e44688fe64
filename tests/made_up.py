"""A calibration that was not measured, so that tests time only what they are about."""

from __future__ import annotations

from pathlib import Path

from chipfit.device import cache, canary
from chipfit.device.processor import Processor
from chipfit.export.formats import timing_bytes


def calibrated(kind: type[Processor], folder: Path) -> Path:
    """The folder, with a made-up scale, facts and roofline of such a device on this machine."""
    with kind(timing_bytes, cache_dir=folder) as device:
        mark = device._mark
    cache.keep(folder, mark, canary.VERSION, {"ladder_ms": [0.01 * 3**n for n in range(8)]})
    cache.keep(folder, mark, "facts", {"channel_block": {"32": 16, "8": 4}, "overhead_ms": 0.002})
    roof = {"macs_per_ms": 1e8, "macs8_per_ms": 3e8, "bytes_per_ms": 5e7, "launch_ms": 5e-4}
    cache.keep(folder, mark, "roofline", roof)
    return folder
