"""The operators of a network by what they take on a device, the slowest first.

Batch norms are folded and activations fused, as in the file that is delivered: what is ranked is what the runtime
executes. (Benmeziane et al., arXiv 2309.11246, rank operators by latency and parameters; there batch norm counts for
itself, which no deployed network has.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chipfit.core.graph import Graph
from chipfit.core.kernel import kernels
from chipfit.core.protocols import Foretelling
from chipfit.device.accelerator.port import designing
from chipfit.evaluate.in_time import work
from chipfit.evaluate.timing import Timing


@dataclass(frozen=True, slots=True)
class Slow:
    """An operator with what it takes: a share of all operators' time, and milliseconds where the device tells any."""

    op: str
    share: float
    ms: float | None


def slowest(graph: Graph, timing: Timing) -> tuple[Slow, ...]:
    """The operators that take time, the slowest first.

    Where a device foretells whole networks only, or cannot be watched, the work of kernels tells the shares.
    """
    taken = _taken(graph, timing)
    if taken is None:
        works = {name: work(kernel) for name, kernel in kernels(graph).items()}
        whole = sum(works.values())
        return _ranked(Slow(name, w / whole, None) for name, w in works.items())
    whole = sum(taken.values())
    return _ranked(Slow(name, ms / whole, ms) for name, ms in taken.items() if ms > 0)


def _ranked(rows: Iterable[Slow]) -> tuple[Slow, ...]:
    return tuple(sorted(rows, key=lambda row: -row.share))


def _taken(graph: Graph, timing: Timing) -> Mapping[str, float] | None:
    """Milliseconds of each operator as the device, or the model of it, has them; None where neither can tell."""
    if (device := designing(timing.device)) is not None:
        rows = device.chosen(graph).rows
        return {row.op: row.ms for row in rows} or None
    if isinstance(timing.device, Foretelling):
        return None
    seen = timing.observed(graph)
    return None if seen is None or not any(seen.ops.values()) else seen.ops
