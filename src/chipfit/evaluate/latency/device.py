"""A device that is not here: what it would take is foretold from about 20 timings of it (`latency.predict`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from math import log

import numpy as np
from numpy.typing import NDArray

from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph, Op
from chipfit.core.kinds import FOLDED_AWAY
from chipfit.core.protocols import Device
from chipfit.core.types import HIGH, LOW, Artifact, DeviceFacts, Fidelity, Measurement, OpTime
from chipfit.evaluate.latency.predict import FittedPredictor
from chipfit.space.groups import precisions

PREFIX = "predicted:"
"""How a device's name begins that is one of these."""

Z90 = 1.645
"""Standard errors to either end of a 90 % interval of a normal distribution."""

STEP = 8
"""Channels to a step of its kernels, which nobody measured."""


class PredictedDevice:
    """Latencies of whole networks with 90 % intervals, provenance "predicted".

    Files of its format are run, to be verified and scored, by a runtime of this machine (`runner`), whose answers are
    the device's up to rounding.
    """

    def __init__(self, predictor: FittedPredictor, runner: Callable[[], Device]) -> None:
        """`runner` opens a device of this machine that takes the same format."""
        if predictor.metric != "latency_ms":
            raise BadInput(f"predictor {predictor.name!r} is of {predictor.metric}; a device needs one of latency_ms")
        self._predictor, self._open = predictor, runner
        self._runner: Device | None = None
        self.name = f"{PREFIX}{predictor.name}"
        self.format = predictor.format

    @property
    def _local(self) -> Device:
        if self._runner is None:
            self._runner = self._open()
        return self._runner

    @cached_property
    def _facts(self) -> DeviceFacts:
        seen = {b for g in self._predictor.graphs for b in precisions(g)}
        here = self._local.facts()
        bits = tuple(b for b in (32, 8) if b in seen and b in here.bits)
        if not bits:
            raise BadInput(
                f"{self.name}: {here.name} runs none of the precisions it was sampled in; fit another --format"
            )
        return DeviceFacts(
            name=self.name,
            fingerprint=f"{self.name} {self._predictor.digest}",
            isa=(),
            channel_block=dict.fromkeys(bits, STEP),
            reduce_range=here.reduce_range,
            overhead_ms=0.0,
            runtime=f"predicted from {len(self._predictor.rows)} timings; files run by {here.runtime or here.name}",
            bits=bits,
        )

    def facts(self) -> DeviceFacts:
        """The precisions of its samples; the rounding of int8 weights is that of the runtime that runs the files."""
        return self._facts

    def foretell(self, graphs: Sequence[Graph]) -> list[Measurement]:
        """Latency of each network; details `low` and `high` are the ends of its 90 % interval."""
        if not graphs:
            return []
        found = self._predictor.predict_graphs(graphs)
        where, n = self.facts().fingerprint, len(self._predictor.rows)
        protocol = f"predicted from {n} timings, 90 % interval"
        return [
            Measurement(
                "latency_ms", value, "predicted", where, protocol, value * log(high / low) / (2 * Z90), n,
                {LOW: low, HIGH: high},
            )
            for value, low, high in zip(found.values.tolist(), found.low.tolist(), found.high.tolist(), strict=True)
        ]  # fmt: skip

    def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
        """The same of artifacts, whatever the fidelity: their graphs tell it, not their bytes."""
        return self.foretell([a.graph for a in artifacts])

    def run(self, artifact: Artifact, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs (n, ...) for inputs (n, ...), computed by the runtime of this machine."""
        return self._local.run(artifact, inputs)

    def profile(self, artifact: Artifact) -> list[OpTime]:
        """The latency shared out by the MACs of each operator and the values it writes: parts are not predicted."""
        (whole,) = self.foretell([artifact.graph])
        graph = artifact.graph
        work = {o.name: graph.macs(o) + o.size for o in graph if o.kind not in FOLDED_AWAY}
        ms = {name: whole.value * share / sum(work.values()) for name, share in work.items()}
        rows = [OpTime(o.name, o.kind, ms[o.name], graph.macs(o), 0, _bound(graph, o)) for o in graph if o.name in ms]
        return sorted(rows, key=lambda r: -r.ms)

    def close(self) -> None:
        """Ends the runtime that ran the files."""
        if self._runner is not None:
            self._runner.close()
            self._runner = None


def _bound(graph: Graph, o: Op) -> str:
    return "compute" if graph.macs(o) > o.size else "memory"
