"""Where the time of one network goes on one device."""

from __future__ import annotations

from dataclasses import dataclass

from chipfit.core.protocols import Device
from chipfit.core.types import OpTime
from chipfit.evaluate.counts import peak_memory_mb
from chipfit.evaluate.timing import Timing
from chipfit.export.formats import writer
from chipfit.nets.zoo import Entry
from chipfit.store.memory import MeasurementMemory


@dataclass(frozen=True, slots=True)
class Profile:
    """A network's measured latency, its counted sizes, and its operators, slowest first."""

    ms: float
    size_mb: float
    macs: int
    params: int
    peak_memory_mb: float
    rows: tuple[OpTime, ...]


def profile(entry: Entry, device: Device, memory: MeasurementMemory) -> Profile:
    """Times the network as float32, whole and by operator."""
    artifact = writer(device.format)(entry.network)
    (latency,) = Timing(device, memory).artifacts([artifact], "final")
    graph = entry.network.graph
    rows = tuple(device.profile(artifact))
    return Profile(latency.value, artifact.size_mb, graph.total_macs, graph.total_params, peak_memory_mb(graph), rows)
