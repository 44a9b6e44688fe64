"""What tests have in the place of the real thing: a calibration that was not measured, a memory without a file."""

from __future__ import annotations

from pathlib import Path

from chipfit.core.types import Measurement
from chipfit.device import cache, canary
from chipfit.device.processor import FACTS, Processor
from chipfit.export.formats import timing_bytes


class Memory:
    """A memory of measurements without a file; `kept` is what it was asked to keep."""

    def __init__(self) -> None:
        self.kept: dict[str, Measurement] = {}

    def get(self, key: str) -> Measurement | None:
        return self.kept.get(key)

    def put(self, key: str, measurement: Measurement) -> None:
        self.kept[key] = measurement


def calibrated(kind: type[Processor], folder: Path) -> Path:
    """The folder, with made-up scales, facts and roofline of such a device on this machine."""
    with kind(timing_bytes, cache_dir=folder) as device:
        mark = device._mark
    families = [canary.Family(c, settled) for c in ("dense", "separable", "int8") for settled in (False, True)]
    for key in (canary.VERSION, *(f"{canary.VERSION} {f.name}" for f in families)):
        cache.keep(folder, mark, key, {"ladder_ms": [0.01 * 3**n for n in range(7)]})
    cache.keep(folder, mark, FACTS, {"channel_block": {"32": 16, "8": 4}, "overhead_ms": 0.002})
    roof = {"macs_per_ms": 1e8, "macs8_per_ms": 3e8, "bytes_per_ms": 5e7, "launch_ms": 5e-4}
    cache.keep(folder, mark, "roofline", roof)
    return folder
