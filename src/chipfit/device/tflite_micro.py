"""TensorFlow Lite for Microcontrollers, its reference kernels run on this machine's processor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from chipfit.core.types import Artifact, Fidelity, Measurement
from chipfit.device.child import DeviceFailed
from chipfit.device.processor import Processor
from chipfit.device.protocol import failed


class TfliteMicro(Processor):
    """TensorFlow Lite files as the microcontroller runtime computes them: outputs and memory true, time a class.

    Milliseconds are those of the portable reference kernels on *this* processor, 0.5 to 1 ns a MAC whatever its
    precision: nearly a count of MACs, good for ranking networks, and no microcontroller's latency. So they have the
    provenance "simulated". One detail is the target's: "peak_memory_mb", the arena, which holds activations and the
    interpreter's own structures (those are somewhat smaller with a microcontroller's 32-bit pointers).
    """

    name = "tflite-micro"
    format = "tflite"
    saturates = False

    def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
        """Latency class of each artifact, under the protocol of `Processor`, with the arena in the details."""
        found = super().measure(artifacts, fidelity)
        return [self._simulated(a, m) for a, m in zip(artifacts, found, strict=True)]

    def compare(self, a: Artifact, b: Artifact) -> Measurement:
        """Ratio of two latency classes, as `Processor` takes it."""
        return replace(super().compare(a, b), provenance="simulated")

    def _simulated(self, artifact: Artifact, m: Measurement) -> Measurement:
        if math.isnan(m.value):
            return replace(m, provenance="simulated")
        try:
            told, _ = self._child.ask({"verb": "estimate", "options": []}, [artifact.data], self.timeout_s)
        except DeviceFailed as e:
            return failed(str(e), m.where, "simulated")
        details = {**m.details, "peak_memory_mb": told["arena_bytes"] / 1e6}
        protocol = f"{m.protocol}, reference kernels on this processor"
        return replace(m, provenance="simulated", protocol=protocol, details=details)
