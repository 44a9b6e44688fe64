"""Several devices as one: a network is as slow as on the device that suits it least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph, Network
from chipfit.core.protocols import Device, Foretelling
from chipfit.core.types import Artifact, DeviceFacts, Fidelity, Measurement, Provenance
from chipfit.evaluate.timing import MEMORY, Timing, greatest_ratio
from chipfit.export.formats import bundle, unbundled
from chipfit.export.lower import Range
from chipfit.store.memory import MeasurementMemory

TRUST: Sequence[Provenance] = ("measured", "simulated", "predicted", "counted")
"""From the most to the least: a joint number is worth as much as the least of its parts."""

ON = "ms on "
"""What the details of a joint latency call that of each device."""


class JointTiming:
    """Devices that one network has to suit; its files are bundles with one for each format.

    A latency is the greatest over the devices, each times its factor. The factors are 1 until `relate` makes the
    references equal, so that "40 %" is of each device's own reference: milliseconds are then those of the first.
    """

    def __init__(self, devices: Sequence[Device], memory: MeasurementMemory) -> None:
        names = [d.name for d in devices]
        if len(set(names)) < len(names):
            raise BadInput(f"devices {', '.join(names)} are not different ones; name each once")
        if foretold := next((d.name for d in devices if isinstance(d, Foretelling)), None):
            raise BadInput(
                f"device {foretold!r} is predicted, which one model for several devices cannot rest on; fit each"
            )
        self.timings = [Timing(d, memory) for d in devices]
        self.factors = [1.0] * len(self.timings)
        self.device: Device = self.timings[0].device
        self.facts: DeviceFacts = _facts([t.facts for t in self.timings])

    @property
    def each(self) -> tuple[tuple[Timing, float], ...]:
        return tuple(zip(self.timings, self.factors, strict=True))

    def relate(self, references: Sequence[Measurement]) -> Measurement:
        """Has latencies count in shares of each device's own reference, times that of the first, which it returns.

        `references` are joint latencies of one network's versions, of which each device takes the fastest.
        """
        fastest = [min(m.details[ON + t.device.name] for m in references) for t in self.timings]
        self.factors = [fastest[0] / ms for ms in fastest]
        details = {**references[0].details, **self._on(fastest)}
        return replace(references[0], value=fastest[0], details=details)

    def graphs(self, graphs: Sequence[Graph], fidelity: Fidelity) -> list[Measurement]:
        found = [t.graphs(graphs, fidelity) for t in self.timings]
        return [self._joined(of) for of in zip(*found, strict=True)]

    def decided(self, graph: Graph, limit_ms: float) -> Measurement:
        return self._joined([t.decided(graph, limit_ms / f) for t, f in zip(self.timings, self.factors, strict=True)])

    def artifacts(self, artifacts: Sequence[Artifact], fidelity: Fidelity, *, sitting: int = 1) -> list[Measurement]:
        parts = [unbundled(a) for a in artifacts]
        found = [t.artifacts([p[t.device.format] for p in parts], fidelity, sitting=sitting) for t in self.timings]
        return [self._joined(of) for of in zip(*found, strict=True)]

    def again(self, m: Measurement) -> Measurement:
        """A latency that was taken with other factors, with those of now."""
        ms = [m.details[ON + t.device.name] for t in self.timings]
        return replace(m, value=max(f * v for f, v in zip(self.factors, ms, strict=True)))

    def fastest(self, files: Sequence[tuple[Artifact, Measurement]]) -> list[Artifact]:
        found = []
        for t in self.timings:
            artifact, _ = min(files, key=lambda f, t=t: f[1].details[ON + t.device.name])  # type: ignore[misc]
            found.append(unbundled(artifact)[t.device.format])
        return found

    def ratio(self, a: Artifact, others: Sequence[Artifact]) -> Measurement | None:
        return greatest_ratio(self.parts(a), others)

    def parts(self, artifact: Artifact) -> tuple[tuple[Device, Artifact], ...]:
        of = unbundled(artifact)
        return tuple((t.device, of[t.device.format]) for t in self.timings)

    def write(self, network: Network, ranges: Mapping[str, Range] | None, metadata: Mapping[str, str]) -> Artifact:
        made = {t.device.format: t.write(network, ranges, metadata) for t in self.timings}
        return bundle(list(made.values()))

    def size_mb(self, graph: Graph) -> float:
        return max(t.size_mb(graph) for t in self.timings)

    def _on(self, ms: Sequence[float]) -> dict[str, float]:
        """Each device's milliseconds, as details have them."""
        return {ON + t.device.name: v for t, v in zip(self.timings, ms, strict=True)}

    def _joined(self, of: Sequence[Measurement]) -> Measurement:
        """The measurement that counts, with each device's milliseconds in its details; a failure where one failed."""
        scaled = [f * m.value for f, m in zip(self.factors, of, strict=True)]
        lost = [n for n, m in enumerate(of) if m.value != m.value]
        n = lost[0] if lost else max(range(len(of)), key=lambda i: scaled[i])
        details = {**of[n].details, **self._on([m.value for m in of])}
        if told := [m.details[MEMORY] for m in of if MEMORY in m.details]:
            details[MEMORY] = max(told)
        least = max((m.provenance for m in of), key=TRUST.index)
        return replace(of[n], value=scaled[n], spread=self.factors[n] * of[n].spread, provenance=least, details=details)


def _facts(each: Sequence[DeviceFacts]) -> DeviceFacts:
    """What holds for all: the precisions that all have, at the widest channel block."""
    bits = tuple(b for b in each[0].bits if all(b in f.bits for f in each))
    if not bits:
        raise BadInput(f"devices {', '.join(f.name for f in each)} have no precision in common; fit to each instead")
    return DeviceFacts(
        name="+".join(f.name for f in each),
        fingerprint="; ".join(f.fingerprint for f in each),
        isa=each[0].isa,
        channel_block={b: max(f.channel_block[b] for f in each) for b in bits},
        reduce_range=any(f.reduce_range for f in each),
        overhead_ms=max(f.overhead_ms for f in each),
        runtime=", ".join(f.runtime for f in each),
        bits=bits,
    )
