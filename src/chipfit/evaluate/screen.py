"""The first look at a zoo: every model as it is and in int8, as files, timed and scored."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from chipfit.core.errors import BadInput, ChipfitError
from chipfit.core.graph import Graph, Network
from chipfit.core.metric import ACCURACY, Metric
from chipfit.core.reference import Reference, Version
from chipfit.core.types import Artifact, Candidate, Limit, Measurement, Trial
from chipfit.device.child import DeviceFailed
from chipfit.evaluate.deployed import Deployed, Deployer
from chipfit.evaluate.faithful import hold_file
from chipfit.evaluate.joint import JointTiming
from chipfit.export.formats import plain_numbers
from chipfit.nets.zoo import Entry
from chipfit.space import edits as on_graph
from chipfit.space.edits import Precision, to_plain
from chipfit.space.groups import sites


@dataclass(frozen=True, slots=True)
class Screened:
    """One untouched model in one precision throughout: its file, and what was measured of it."""

    entry: Entry
    bits: int
    artifact: Artifact
    trial: Trial

    @property
    def name(self) -> str:
        """The model's name, with the precision where it is not fp32."""
        return _named(self.entry, self.bits)

    @property
    def network(self) -> Network:
        """The model in this precision."""
        return _in_bits(self.entry, self.bits)

    @property
    def latency(self) -> Measurement:
        """The measured latency."""
        return self.trial.measured("latency_ms")

    def timed(self, latency: Measurement) -> Screened:
        """The same with another latency."""
        kept = tuple(latency if m.metric == "latency_ms" else m for m in self.trial.measurements)
        return replace(self, trial=replace(self.trial, measurements=kept))

    @property
    def latency_ms(self) -> float:
        """Measured milliseconds."""
        return self.trial.get("latency_ms")

    def met(self, limits: Sequence[Limit]) -> bool:
        """True when it holds every limit on metrics that it has."""
        return all(
            limit.met(self.trial.measured(limit.metric).bound) for limit in limits if self.trial.has(limit.metric)
        )


def all_int8(network: Network) -> Network:
    """The network with every site in int8."""
    return Network(on_graph.apply(network.graph, _everywhere_int8(network)), network.weights)


def _everywhere_int8(network: Network) -> tuple[Precision, ...]:
    return tuple(Precision(s.name, 8) for s in sites(network.graph))


def _in_bits(entry: Entry, bits: int) -> Network:
    return entry.network if bits == 32 else all_int8(entry.network)


def _named(entry: Entry, bits: int) -> str:
    return entry.name if bits == 32 else f"{entry.name} int8"


def screen(entries: Sequence[Entry], deployer: Deployer, bits: Sequence[int]) -> list[Screened]:
    """Each entry in each precision; the files are timed in one sitting and scored on validation.

    A file that the runtime refuses, crashes or hangs on is a failed trial under its model's name; the others go on.

    Raises:
        BadInput: a float file answers otherwise than the user's module.
    """
    for entry in entries:
        with suppress(DeviceFailed):  # what a runtime crashes on is a failed trial below
            hold_file(entry, deployer.timing)
    versions = [(entry, b) for entry in entries for b in bits]
    files = deployer.files([_in_bits(entry, b) for entry, b in versions])
    rows = []
    for (entry, b), file in zip(versions, files, strict=True):
        scored = file.scored(deployer, deployer.dataset.validation, "validation")
        row = _trial(entry, b, b == max(bits), scored)
        labels = {**row.labels, "file": scored.artifact.digest}
        rows.append(Screened(entry, b, scored.artifact, replace(row, labels=labels)))
    return rows


def _trial(entry: Entry, bits: int, plain: bool, file: Deployed) -> Trial:
    """Its row; `plain` is the model as it came, or in int8 where the device has no other precision."""
    edits = () if bits == 32 else _everywhere_int8(entry.network)
    candidate = Candidate({"model": entry.name, "edits": to_plain(edits)})
    role, name = "zoo" if plain else "baseline", _named(entry, bits)
    network = _in_bits(entry, bits)
    labels = {"role": role, "model": entry.name, "name": name, "network": network.digest()}
    return Trial(candidate, file.measurements, file.error, labels | {"sites": sites_in_int8(network.graph)})


def sites_in_int8(graph: Graph) -> str:
    """Such as "3 of 4": sites whose convolutions and dense layers compute in int8, of all."""
    bits = [{graph[n].bits for n in s.ops if graph[n].kind in ("conv", "linear")} for s in sites(graph)]
    return f"{sum(8 in b for b in bits)} of {len(bits)}"


def reference(rows: Sequence[Screened], metric: Metric = ACCURACY) -> Screened:
    """The file that shares are of (`core.reference`), `metric` being what quality is measured in.

    Raises:
        ChipfitError: none could be timed; says why of the first.
    """
    timed = [r for r in rows if r.trial.error is None]
    if not timed:
        raise ChipfitError(f"no model can be timed on this device: {rows[0].name}: {rows[0].trial.error}")
    name = Reference.of([_version(r) for r in timed], metric).name
    return next(r for r in timed if r.name == name)


def told_reference(rows: Sequence[Screened], base: Screened, metric: Metric = ACCURACY) -> Reference:
    """The reference as it is written down: `base` and the other version of its model, with their numbers."""
    own = [r for r in rows if r.entry is base.entry and r.name != base.name and r.trial.error is None]
    return Reference.of([_version(r) for r in (base, *own)], metric)


def _version(row: Screened) -> Version:
    numbers = {m.metric: m.value for m in reversed(row.trial.measurements)}  # of several the first counts
    return Version(row.entry.name, row.bits, numbers, plain_numbers(row.artifact.format))


def in_shares(
    timing: JointTiming, rows: Sequence[Screened], base: Screened, budgets: Sequence[Sequence[Limit]]
) -> tuple[list[Screened], Screened]:
    """The rows and the reference with latencies as shares of each device's own reference, where budgets are such.

    Raises:
        BadInput: some budgets are shares of a latency and others are milliseconds.
    """
    relative = {limit.relative for budget in budgets for limit in budget if limit.metric == "latency_ms"}
    if len(relative) > 1:
        raise BadInput(
            "budgets for one model on several devices are all shares (40%) or all milliseconds; give one kind"
        )
    if relative != {True}:
        return list(rows), base
    own = [r.latency for r in rows if r.entry is base.entry and r.trial.error is None]
    reference = timing.relate(own)
    return [r if r.trial.error else r.timed(timing.again(r.latency)) for r in rows], base.timed(reference)


def with_score(trial: Trial, more: Measurement) -> Trial:
    """The trial with one more measurement."""
    return replace(trial, measurements=(*trial.measurements, more))


def worth(trial: Trial, metric: Metric = ACCURACY) -> float:
    """What a trial is worth by its quality on validation, .01 being a point, or a per cent of an error.

    Without targets, what the change left undamaged (an untouched model has no damage).
    """
    if trial.has(metric.name):
        return metric.worth(trial.get(metric.name))
    return -trial.get("damage") if trial.has("damage") else 0.0
