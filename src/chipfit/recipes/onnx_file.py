"""A model that is only an ONNX file: where its time goes, and whether it holds a budget, as it is or in int8."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from chipfit.core.errors import ChipfitError
from chipfit.core.protocols import Device
from chipfit.core.reference import Reference
from chipfit.core.reference import Version as Untouched
from chipfit.core.types import Artifact, Limit, Measurement
from chipfit.device.protocol import reason
from chipfit.evaluate.counts import peak_memory_mb
from chipfit.evaluate.onnx_int8 import quantised
from chipfit.evaluate.timing import Timing
from chipfit.recipes.profile import Profile
from chipfit.store.memory import MeasurementMemory


@dataclass(frozen=True, slots=True)
class Version:
    """The file as it is (`bits` 32) or quantised (8): its metrics, and whether it is within all limits.

    `reason` says why there is none, or why it could not be timed.
    """

    bits: int
    holds: bool = False
    values: dict[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class FileFeasibility:
    """Which versions of a file are within the limits. Its channels stay as they are: `why` says what is in the way.

    `of` is what shares are of. `speedup` is the file's time over that of its int8 version and `error` its standard
    error, None where one of the two could not be timed; `faster` is true beyond two of them. Random inputs calibrated
    the int8 version.
    """

    feasible: bool
    versions: tuple[Version, ...]
    speedup: float | None
    error: float | None
    faster: bool
    seconds: float
    of: Reference | None = None
    why: str = ""

    @property
    def timed(self) -> bool:
        """False where no version could be timed: then nothing is known of any limit."""
        return any(math.isfinite(v.values.get("latency_ms", math.nan)) for v in self.versions)


def profile(name: str, file: Artifact, device: Device, memory: MeasurementMemory) -> Profile:
    """Times the file called `name`, whole and by operator.

    Raises:
        ChipfitError: the device cannot run it; says why.
    """
    (latency,) = Timing(device, memory).artifacts([file], "final")
    if math.isnan(latency.value):
        raise ChipfitError(f"{name} cannot be timed on {device.name}: {reason(latency)}")
    graph, rows = file.graph, tuple(device.profile(file))
    counts = (file.size_mb, graph.total_macs, graph.total_params, peak_memory_mb(graph))
    return Profile(latency.value, *counts, rows, latency.interval)


def check(
    file: Artifact, device: Device, limits: Sequence[Limit], memory: MeasurementMemory, *, bits: Sequence[int] = (32, 8)
) -> FileFeasibility:
    """Times the file and, with 8 among `bits`, its int8 version in one sitting; a share is of the faster of the two."""
    start = time.monotonic()
    timing = Timing(device, memory)
    made, reasons = {32: file}, dict[int, str]()
    if 8 in bits:
        try:
            made[8] = quantised(file, reduce_range=timing.facts.reduce_range)
        except ChipfitError as e:
            reasons[8] = f"not quantised: {e}"
    taken = dict(zip(made, timing.artifacts(list(made.values()), "final"), strict=True))
    values = {b: _values(made[b], m) for b, m in taken.items()}
    reasons |= {b: f"not timed: {reason(m)}" for b, m in taken.items() if math.isnan(m.value)}
    of = Reference.of([Untouched("the file", b, v) for b, v in values.items()])
    absolute = [of.against(limit) for limit in limits]
    versions = tuple(
        Version(b, all(x.met(_held(x, values[b], taken[b])) for x in absolute), values[b], reasons.get(b, ""))
        if b in values
        else Version(b, reason=reasons[b])
        for b in sorted({*values, *reasons}, reverse=True)
    )
    feasible, seconds = any(v.holds for v in versions), time.monotonic() - start
    if 8 not in taken or reasons:
        return FileFeasibility(feasible, versions, None, None, False, seconds, of)
    float32, int8 = taken[32], taken[8]
    ratio = float32.value / int8.value
    error = ratio * math.hypot(float32.spread / float32.value, int8.spread / int8.value)
    return FileFeasibility(feasible, versions, ratio, error, ratio - 2 * error > 1, seconds, of)


def _held(limit: Limit, values: dict[str, float], latency: Measurement) -> float:
    """What a limit is held against."""
    return latency.bound if limit.metric == "latency_ms" else values[limit.metric]


def _values(file: Artifact, latency: Measurement) -> dict[str, float]:
    graph = file.graph
    counts = {"macs": float(graph.total_macs), "params": float(graph.total_params)}
    return {"latency_ms": latency.value, "size_mb": file.size_mb, **counts}
