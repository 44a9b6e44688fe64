"""Where the time of one network goes on one device."""

from __future__ import annotations

from dataclasses import dataclass

from chipfit.core.protocols import Device
from chipfit.core.types import OpTime
from chipfit.evaluate.counts import peak_memory_mb
from chipfit.evaluate.faithful import hold_file
from chipfit.evaluate.screen import all_int8
from chipfit.evaluate.timing import MEMORY, Timing
from chipfit.export.formats import timing_artifact, writer
from chipfit.nets.zoo import Entry
from chipfit.store.memory import MeasurementMemory


@dataclass(frozen=True, slots=True)
class Profile:
    """A network's latency, its counted sizes, and its operators, slowest first.

    `interval_ms` are the ends of a latency that is predicted; the operators' times are then its shares of their work.
    """

    ms: float
    size_mb: float
    macs: int
    params: int
    peak_memory_mb: float
    rows: tuple[OpTime, ...]
    interval_ms: tuple[float, float] | None = None


def profile(entry: Entry, device: Device, memory: MeasurementMemory) -> Profile:
    """Times the network, whole and by operator: as float32, or as int8 where the device has no other precision."""
    timing, graph = Timing(device, memory), entry.network.graph
    if not entry.network.weights:
        artifact = timing_artifact(graph, device.format)
    elif 32 in timing.facts.bits:
        artifact = writer(device.format)(entry.network)
        hold_file(entry, timing, artifact)
    else:
        artifact = timing_artifact(all_int8(entry.network).graph, device.format)
    (latency,) = timing.artifacts([artifact], "final")
    memory_mb = latency.details.get(MEMORY, peak_memory_mb(artifact.graph))
    rows = tuple(device.profile(artifact))
    counts = (artifact.size_mb, graph.total_macs, graph.total_params, memory_mb)
    return Profile(latency.value, *counts, rows, latency.interval)
