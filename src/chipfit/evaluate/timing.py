"""Graphs and files become milliseconds, each timed once: what the memory knows is not measured again.

`Latencies` is what everything behind asks; `Timing` answers it for one device, `joint.JointTiming` for several as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from math import prod
from typing import Protocol

import numpy as np

from chipfit.core.graph import Graph, Network
from chipfit.core.protocols import Comparing, Deciding, Device, Foretelling
from chipfit.core.types import Artifact, DeviceFacts, Fidelity, Measurement
from chipfit.device.child import DeviceFailed
from chipfit.evaluate.observed import OPERATORS, Observed, operators
from chipfit.export.formats import timing_artifact, writer
from chipfit.export.lower import Range
from chipfit.store.memory import MeasurementMemory, measurement_key

MEMORY = "peak_memory_mb"
"""The metric, and the detail of a latency that a device knows it by."""


TIMED = "weights 3"
"""Version of the weights and ranges that graphs are timed with: what was timed with others is not remembered."""


class Latencies(Protocol):
    """How long networks take, on one device or on several that one network has to suit.

    `facts` are what holds on all of them, `device` is the first; an artifact holds the files for all.
    """

    @property
    def device(self) -> Device: ...
    @property
    def facts(self) -> DeviceFacts: ...
    @property
    def each(self) -> tuple[tuple[Timing, float], ...]:
        """The single devices, with the factor that a latency on each counts with."""
        ...

    def graphs(self, graphs: Sequence[Graph], fidelity: Fidelity) -> list[Measurement]:
        """Latency of each graph; equal ones are timed once. Failures have the value nan."""
        ...

    def decided(self, graph: Graph, limit_ms: float) -> Measurement:
        """Final latency of a graph, measured until it is clear on which side of a limit it lies."""
        ...

    def artifacts(self, artifacts: Sequence[Artifact], fidelity: Fidelity, *, sitting: int = 1) -> list[Measurement]:
        """Latency of each file itself; measured in one sitting unless these very files are remembered from it."""
        ...

    def parts(self, artifact: Artifact) -> tuple[tuple[Device, Artifact], ...]:
        """The single devices, with the part of an artifact that is for each."""
        ...

    def fastest(self, files: Sequence[tuple[Artifact, Measurement]]) -> list[Artifact]:
        """For each device the fastest of some files that were timed."""
        ...

    def ratio(self, a: Artifact, others: Sequence[Artifact]) -> Measurement | None:
        """Time of a file over that of another, run by run, on the device where it is greatest; None if none can.

        `others` holds one file for each device, as `fastest` gives them.
        """
        ...

    def write(self, network: Network, ranges: Mapping[str, Range] | None, metadata: Mapping[str, str]) -> Artifact:
        """The network as a file for the device, or one for each."""
        ...

    def size_mb(self, graph: Graph) -> float:
        """Megabytes of a file of the graph, of the largest where there are several."""
        ...


class Timing:
    """A device and what is remembered of it.

    Time depends on a network's structure, not on its weights as long as they are like trained ones (`export.dummy`), so
    graphs are timed with random ones.
    """

    def __init__(self, device: Device, memory: MeasurementMemory) -> None:
        self.device = device
        self.facts: DeviceFacts = device.facts()
        self._memory = memory

    def graphs(self, graphs: Sequence[Graph], fidelity: Fidelity) -> list[Measurement]:
        """Latency of each graph; equal ones are timed once. Failures have the value nan."""
        if isinstance(self.device, Foretelling):
            return self.device.foretell(graphs)
        wanted = {g.key: g for g in graphs}
        known = {k: m for k in wanted if (m := self._memory.get(self._key(k, fidelity))) is not None}
        for part in _in_parts({k: g for k, g in wanted.items() if k not in known}, fidelity):
            files = [timing_artifact(g, self.device.format) for g in part.values()]
            known |= dict(zip(part, self._measure(files, list(part), fidelity), strict=True))
        return [known[g.key] for g in graphs]

    def observed(self, graph: Graph) -> Observed | None:
        """A network's latency together with what each of its operators takes where it stands.

        None where it cannot be timed, or its operators not be told apart.
        """
        how, key = self._key(graph.key, "quick"), self._key(graph.key, OPERATORS)
        whole, parts = self._memory.get(how), self._memory.get(key)
        if whole is None or parts is None:
            artifact = timing_artifact(graph, self.device.format)
            whole = whole or self._measure([artifact], [graph.key], "quick")[0]
            parts = operators(self.device, artifact, whole)
            if parts is not None:
                self._memory.put(key, parts)
        return None if parts is None else Observed.of(graph, whole, parts)

    def decided(self, graph: Graph, limit_ms: float) -> Measurement:
        """Final latency of a graph, measured until it is clear on which side of a limit it lies."""
        if not isinstance(self.device, Deciding):
            return self.graphs([graph], "final")[0]
        key = self._key(graph.key, f"against {limit_ms:.6g}")
        found = self._memory.get(key)
        if found is None:
            (found,) = self.device.decide([timing_artifact(graph, self.device.format)], limit_ms)
            if np.isfinite(found.value):
                self._memory.put(key, found)
        return found

    def artifacts(self, artifacts: Sequence[Artifact], fidelity: Fidelity, *, sitting: int = 1) -> list[Measurement]:
        """Latency of each file itself; measured in one sitting unless these very files are remembered from it."""
        if isinstance(self.device, Foretelling):
            return self.device.measure(artifacts, fidelity)
        names = [a.digest if sitting == 1 else f"{a.digest}, sitting {sitting}" for a in artifacts]
        known = [self._memory.get(self._key(n, fidelity)) for n in names]
        if all(m is not None for m in known):
            return [m for m in known if m is not None]
        return self._measure(artifacts, names, fidelity)

    @property
    def each(self) -> tuple[tuple[Timing, float], ...]:
        """The single devices, with the factor that a latency on each counts with."""
        return ((self, 1.0),)

    def parts(self, artifact: Artifact) -> tuple[tuple[Device, Artifact], ...]:
        """The single devices, with the part of an artifact that is for each."""
        return ((self.device, artifact),)

    def fastest(self, files: Sequence[tuple[Artifact, Measurement]]) -> list[Artifact]:
        """For each device the fastest of some files that were timed."""
        return [min(files, key=lambda f: f[1].value)[0]]

    def ratio(self, a: Artifact, others: Sequence[Artifact]) -> Measurement | None:
        """Time of a file over that of another, run by run; None where the device cannot tell."""
        return greatest_ratio(self.parts(a), others)

    def write(self, network: Network, ranges: Mapping[str, Range] | None, metadata: Mapping[str, str]) -> Artifact:
        """The network as a file for the device."""
        make = writer(self.device.format)
        return make(network, ranges=ranges, metadata=metadata, reduce_range=self.facts.reduce_range)

    def size_mb(self, graph: Graph) -> float:
        """Megabytes of a file of the graph."""
        return timing_artifact(graph, self.device.format).size_mb

    def _key(self, what: str, how: str) -> str:
        return measurement_key(what, self.facts.fingerprint, f"latency_ms {how}, {TIMED}")

    def _measure(self, artifacts: Sequence[Artifact], names: Sequence[str], fidelity: Fidelity) -> list[Measurement]:
        """What the device says of the artifacts; remembered under their names unless one failed."""
        measured = self.device.measure(artifacts, fidelity) if artifacts else []
        for name, m in zip(names, measured, strict=True):
            if np.isfinite(m.value):
                self._memory.put(self._key(name, fidelity), m)
        return list(measured)


AT_ONCE_MB = 256.0
"""Files that are written before they are timed: those of large networks would not fit into memory together."""


def _in_parts(graphs: Mapping[str, Graph], fidelity: Fidelity) -> Iterator[dict[str, Graph]]:
    """Graphs by key in groups whose files are written together: all where they are to share a sitting."""
    part: dict[str, Graph] = {}
    held_mb = 0.0
    for key, graph in graphs.items():
        size_mb = sum(prod(shape) for o in graph for shape in graph.weight_shapes(o).values()) * 4 / 1e6
        if part and fidelity == "quick" and held_mb + size_mb > AT_ONCE_MB:
            yield part
            part, held_mb = {}, 0.0
        part[key] = graph
        held_mb += size_mb
    if part:
        yield part


def greatest_ratio(parts: Sequence[tuple[Device, Artifact]], others: Sequence[Artifact]) -> Measurement | None:
    """Time of a file over that of another on the device where it is greatest; None if none can tell."""
    found = []
    for (on, a), b in zip(parts, others, strict=True):
        if isinstance(on, Comparing) and a.digest != b.digest:
            with suppress(DeviceFailed):  # both were timed before: a run does not end for want of their ratio
                found.append(on.compare(a, b))
    return max(found, key=lambda m: m.value, default=None)
