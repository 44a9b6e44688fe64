"""What a fit to an accelerator leaves in the store of its hardware: the fact "hardware" (`report.hardware`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from chipfit.core.kernel_patterns import patterns_of
from chipfit.core.types import Artifact, Plain, Trial
from chipfit.device.accelerator.chosen import Chosen, described
from chipfit.device.accelerator.device import Accelerator
from chipfit.device.accelerator.parts import LIMITS
from chipfit.evaluate.screen import Screened
from chipfit.evaluate.timing import Latencies
from chipfit.export.fixed import formats
from chipfit.recipes import master
from chipfit.store.store import Store


def accelerator(timing: Latencies, artifact: Artifact) -> tuple[Accelerator, Artifact] | None:
    """The accelerator among the devices of a run with its part of a file; None where there is none."""
    for device, part in timing.parts(artifact):
        if isinstance(device, Accelerator):
            return device, part
    return None


def on_hardware(timing: Latencies) -> str:
    """What tells facts of one accelerator from those of another in a run, which may be given other hardware.

    Nothing for other devices: a run has one of those.
    """
    device = timing.each[0][0].device
    return f" on {device.fingerprint}" if isinstance(device, Accelerator) else ""


def write_hardware(
    store: Store, timing: Latencies, rows: Sequence[Screened], chosen: Sequence[tuple[Trial, Artifact]]
) -> None:
    """The design of every final, that of the model it was made from, and what nothing beats beside the first."""
    files: dict[str, Plain] = {}
    before: dict[str, Plain] = {}
    front: list[Plain] = []
    for trial, artifact in chosen:
        if (found := accelerator(timing, artifact)) is None:
            continue
        device, part = found
        own = device.chosen(part.graph)
        network = master.network(store, artifact.digest)
        pruned = {o.name: patterns_of(o) for o in network.graph if o.get("patterns")}
        files[artifact.digest] = described(own, formats(network), pruned)
        front = front or front_rows(own)
        model = trial.labels["model"]
        row = next((r for r in rows if r.entry.name == model and r.trial.error is None), None)
        if row is not None:
            before[model] = described(device.chosen(row.entry.network.graph))
    if files:
        store.set_fact("hardware", {"files": files, "before": before, "front": front})


def front_rows(of: Chosen) -> list[Plain]:
    """The designs that have, for one resource at least, none faster that takes less of it: fastest first."""
    latency_ms, resources = of.front.latency_ms, of.front.resources
    kept = np.zeros(len(latency_ms), bool)
    for column in resources.T:
        least_before = np.minimum.accumulate(np.concatenate([[np.inf], column[:-1]]))
        kept |= column < least_before
    found: list[Plain] = []
    for n in np.flatnonzero(kept):
        amounts = dict(zip(LIMITS, resources[n].tolist(), strict=True))
        found.append(cast(Plain, {"latency_ms": float(latency_ms[n])} | amounts))
    return found
