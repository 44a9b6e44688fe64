"""What a fit to an accelerator leaves in the store of its hardware: the fact "hardware" (`report.hardware`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from chipfit.core.graph import Graph
from chipfit.core.kernel_patterns import patterns_of
from chipfit.core.types import Artifact, Plain, Trial
from chipfit.device.accelerator.chosen import Chosen, described
from chipfit.device.accelerator.parts import LIMITS
from chipfit.device.accelerator.port import designing
from chipfit.evaluate.screen import Screened
from chipfit.evaluate.timing import Latencies
from chipfit.export.fixed import formats
from chipfit.recipes import master
from chipfit.store.store import Store


@dataclass(frozen=True, slots=True)
class Design:
    """The design of an accelerator for a network, and that for the model it was made from (None: not known)."""

    after: Chosen
    before: Chosen | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """A file, the model it was made from, and its designs: one for each accelerator of the run.

    `formats` are the bits of its weights by layer, `patterns` the places that pruned layers keep, where known.
    """

    file: str
    model: str
    designs: Sequence[Design]
    formats: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    patterns: Mapping[str, Sequence[Sequence[int]]] = field(default_factory=dict)


def on_hardware(timing: Latencies) -> str:
    """What tells facts of one accelerator from those of another in a run, which may be given other hardware.

    Nothing for other devices: a run has one of those.
    """
    device = designing(timing.each[0][0].device)
    return "" if device is None else f" on {device.fingerprint}"


def write_hardware(
    store: Store, timing: Latencies, rows: Sequence[Screened], chosen: Sequence[tuple[Trial, Artifact]]
) -> None:
    """The designs of every final, those of the model it was made from, and what nothing beats beside the first."""
    built = []
    for trial, artifact in chosen:
        model = trial.labels["model"]
        row = next((r for r in rows if r.entry.name == model and r.trial.error is None), None)
        if designs := _designs(timing, artifact, row.entry.network.graph if row is not None else None):
            network = master.network(store, artifact.digest)
            pruned = {o.name: patterns_of(o) for o in network.graph if o.get("patterns")}
            built.append(Built(artifact.digest, model, designs, formats(network), pruned))
    if built:
        write_designs(store, built)


def _designs(timing: Latencies, artifact: Artifact, before: Graph | None) -> list[Design]:
    """On each accelerator among the devices of a run."""
    found = []
    for one, part in timing.parts(artifact):
        if (device := designing(one)) is not None:
            found.append(Design(device.chosen(part.graph), None if before is None else device.chosen(before)))
    return found


def write_designs(store: Store, built: Sequence[Built]) -> None:
    """The fact of some files; where there are several accelerators the first has the `others` beside it."""
    files: dict[str, Plain] = {}
    before: dict[str, Plain] = {}
    for one in built:
        first, *others = (described(d.after, one.formats, one.patterns) for d in one.designs)
        files[one.file] = {**first, "others": [*others]} if others else first
        if (was := one.designs[0].before) is not None:
            before[one.model] = described(was)
    front = front_rows(built[0].designs[0].after) if built else []
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
