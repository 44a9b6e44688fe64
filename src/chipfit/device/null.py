"""A device that times nothing: latency is counted from the graph, so that tests and dry runs repeat to the digit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from chipfit.core.errors import BadInput
from chipfit.core.graph import Graph, Op
from chipfit.core.kinds import FOLDED_AWAY
from chipfit.core.types import Artifact, DeviceFacts, Fidelity, Measurement, OpTime
from chipfit.device.engines.engine import feed, in_batches, taken

MS_PER_MMAC = {32: 0.01, 8: 0.004}
"""By bits: 100 and 250 GMAC/s, about one core with 512-bit vectors."""

MS_PER_OP = 0.002

BATCH = 64

FREE = FOLDED_AWAY | {"Constant"}
"""Kinds that a runtime folds away."""


class Null:
    """Counts ms = MACs · constant (by bits) + operators · constant; takes ONNX files, and graphs without bytes.

    Latencies have the provenance "counted" and no spread. `run` computes truly, with ONNX Runtime in this process, so
    that a whole search can be tested without a timed device.
    """

    name: str = "null"
    format: str = "onnx"

    def __init__(self, write: object = None) -> None:
        """`write` is for devices that need canaries."""

    def facts(self) -> DeviceFacts:
        """Fixed: channel blocks of 8, no saturation."""
        return DeviceFacts(self.name, "null v1", (), {32: 8, 8: 8}, False, MS_PER_OP, "counted")

    def measure(self, artifacts: Sequence[Artifact], fidelity: Fidelity) -> list[Measurement]:
        """Counted latency of each; bytes that are no ONNX model fail, as they would on a real device."""
        return [self._latency(a) for a in artifacts]

    def _latency(self, artifact: Artifact) -> Measurement:
        if artifact.data and not _readable(artifact.data):
            reason = "failed: not an ONNX model"
            return Measurement("latency_ms", float("nan"), "counted", "null v1", reason, n=0)
        ms = sum(_op_ms(artifact.graph, o) for o in artifact.graph)
        return Measurement("latency_ms", ms, "counted", "null v1", "MACs and operators")

    def run(self, artifact: Artifact, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Outputs (n, ...) for inputs (n, ...).

        Raises:
            BadInput: the artifact has no bytes, or ONNX Runtime is not installed.
        """
        if not artifact.data:
            raise BadInput("the artifact is a graph without bytes and cannot be run; export it to onnx first")
        try:
            import onnxruntime
        except ImportError as e:
            raise BadInput("device 'null' runs files with onnxruntime; run: pip install onnxruntime") from e
        session = onnxruntime.InferenceSession(artifact.data, providers=["CPUExecutionProvider"])
        first = session.get_inputs()[0].shape[0]
        given = taken(session.get_inputs())
        parts = in_batches(inputs, first if isinstance(first, int) else BATCH, isinstance(first, int))
        made = [session.run(None, feed(given, part))[0][:n] for part, n in parts]
        return np.concatenate(made).astype(np.float32, copy=False)

    def profile(self, artifact: Artifact) -> list[OpTime]:
        """Counted time of each operator, slowest first."""
        graph = artifact.graph
        rows = [
            OpTime(o.name, o.kind, _op_ms(graph, o), graph.macs(o), 0, _bound(graph, o))
            for o in graph
            if o.kind not in FREE
        ]
        return sorted(rows, key=lambda r: -r.ms)

    def close(self) -> None:
        """Holds nothing."""


def _op_ms(graph: Graph, o: Op) -> float:
    return 0.0 if o.kind in FREE else graph.macs(o) / 1e6 * MS_PER_MMAC.get(o.bits, 0.01) + MS_PER_OP


def _bound(graph: Graph, o: Op) -> str:
    return "compute" if _op_ms(graph, o) > 2 * MS_PER_OP else "launch"


def _readable(data: bytes) -> bool:
    try:
        return bool(onnx.load_model_from_string(data).graph.node)
    except DecodeError:
        return False
