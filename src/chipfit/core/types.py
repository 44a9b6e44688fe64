"""The words: plain, frozen data that every stage speaks."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.graph import Graph
from chipfit.core.metric import ACCURACY, KNOWN
from chipfit.core.words import shown

Plain = None | bool | int | float | str | Sequence["Plain"] | Mapping[str, "Plain"]
Provenance = Literal["measured", "simulated", "predicted", "counted"]
Fidelity = Literal["quick", "final"]

ACCELERATORS = ("auto", "cpu", "cuda")
"""Where chipfit itself computes; `auto` is a GPU where there is one."""

METRICS: Mapping[str, tuple[str, bool]] = {
    "accuracy": ("share of right answers, 0..1", True),
    "latency_ms": ("milliseconds for one input", False),
    "size_mb": ("megabytes of the file", False),
    "peak_memory_mb": ("megabytes of live activations at the worst moment", False),
    "macs": ("multiply-accumulates for one input", False),
    "params": ("learnt values", False),
    "bops": ("MACs times weight bits times activation bits", False),
    "damage": ("KL divergence from the original's answers, nats", False),
    **{name: (m.words, m.larger) for name, m in KNOWN.items() if m is not ACCURACY},
}
"""Metric name to (meaning, larger is better). What a user's own task is judged by may have another name."""

LARGEST = 1e15
"""Limits above this are slips of the pen: so many MACs take a server days."""
MEASURED_TO = 0.005
"""Share of a latency that final measurements err by at most: they go on until their standard error is below it."""

LOW, HIGH = "low", "high"
"""Details of a prediction: the ends of its interval, in the metric's unit."""


def metric(name: str) -> str:
    """The name itself.

    Raises:
        BadInput: not a metric; proposes the closest.
    """
    if name not in METRICS:
        raise BadInput(f"metric {name!r} is unknown{did_you_mean(name, METRICS)}; known: {', '.join(METRICS)}")
    return name


@dataclass(frozen=True, slots=True)
class Measurement:
    """A number with its unit (in the metric's name), where it comes from and how sure it is.

    `spread` is the standard error of `value`; `n` the blocks, runs or samples behind it; `where` names the device
    (fingerprint) or split; `protocol` how it was taken.
    """

    metric: str
    value: float
    provenance: Provenance
    where: str = ""
    protocol: str = ""
    spread: float = 0.0
    n: int = 1
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def bound(self) -> float:
        """What an upper limit is held against: the value, of a prediction with an interval its upper end."""
        return self.details.get(HIGH, self.value)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The ends of a prediction's interval, None of what has none."""
        return (self.details[LOW], self.details[HIGH]) if HIGH in self.details else None


@dataclass(frozen=True, slots=True)
class Candidate:
    """One full design decision in plain values; equal decisions have equal keys everywhere."""

    values: Mapping[str, Plain]

    @property
    def key(self) -> str:
        """Hash of the canonical JSON of the values (16 hex digits)."""
        text = json.dumps(self.values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Trial:
    """One row of the store: what was tried, what was measured, or why it failed. Never mutated."""

    candidate: Candidate
    measurements: tuple[Measurement, ...] = ()
    error: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What a reader calls it by: the hash of its network (label `network`), else that of the candidate.

        One design trained twice is two networks, and one network is the same whichever design led to it.
        """
        return self.labels.get("network", self.candidate.key)

    def get(self, name: str) -> float:
        """The value of a metric.

        Raises:
            KeyError: the trial does not have it; names those it has.
        """
        return self.measured(name).value

    def measured(self, name: str) -> Measurement:
        """The measurement of a metric, the first of several.

        Raises:
            KeyError: the trial does not have it; names those it has.
        """
        for m in self.measurements:
            if m.metric == name:
                return m
        have = ", ".join(m.metric for m in self.measurements) or "none"
        raise KeyError(f"trial {self.candidate.key} has no {name!r}; it has {have}")

    def has(self, name: str) -> bool:
        """True when the metric was measured."""
        return any(m.metric == name for m in self.measurements)


@dataclass(frozen=True, slots=True)
class Limit:
    """A budget: `metric` at most (or, with `at_least`, at least) `value`; a `relative` one is a share of the reference.

    >>> Limit.parse("latency_ms=60%")
    Limit(metric='latency_ms', value=0.6, relative=True, at_least=False)
    """

    metric: str
    value: float
    relative: bool = False
    at_least: bool = False

    @classmethod
    def parse(cls, text: str, at_least: bool = False, own: bool = False) -> Limit:
        """Reads "latency_ms=5" or "latency_ms=60%"; with `own` the metric may be one of the user's.

        Raises:
            BadInput: no such metric, or a number that is not above zero.
        """
        name, equals, number = text.partition("=")
        how = "accuracy=0.9 or accuracy=99%" if at_least else "latency_ms=5 or latency_ms=60%"
        if not equals:
            raise BadInput(f"limit {shown(text)} has no value; write it like {how}")
        if not (own and re.fullmatch(r"[A-Za-z]\w*", name.strip())):
            metric(name.strip())
        match = re.fullmatch(r"\s*([-+]?[0-9.]+(?:e[-+]?[0-9]+)?)\s*(%?)\s*", number, re.IGNORECASE)
        try:
            value = float(match.group(1)) if match else math.nan
        except ValueError:
            value = math.nan
        if match is None or not math.isfinite(value):
            unit = ", without a unit" if re.match(r"\s*[0-9.]+\s*[a-zA-Z]", number) else ""
            raise BadInput(f"limit {shown(text)} is not a number; write it like {how}{unit}")
        if value <= 0:
            raise BadInput(f"limit {shown(text)} is not above zero; give a limit such as {how}")
        if value > LARGEST:
            raise BadInput(f"limit {shown(text)} is beyond {LARGEST:g}; give a limit such as {how}")
        relative = match.group(2) == "%"
        return cls(name.strip(), value / 100 if relative else value, relative, at_least)

    def against(self, reference: float) -> Limit:
        """The absolute limit, given the reference's value of this metric."""
        return Limit(self.metric, self.value * reference, False, self.at_least) if self.relative else self

    def met(self, value: float, tolerance: float = 0.0) -> bool:
        """True when `value` is within the limit, `tolerance` being a share of it."""
        if self.at_least:
            return value >= self.value * (1 - tolerance)
        return value <= self.value * (1 + tolerance)

    def held(self, m: Measurement, rounding: float = 0.0) -> bool:
        """True when a measurement is within the limit: the upper end of a prediction, the value of anything else.

        A latency that was measured may be over by its own standard error, `MEASURED_TO` of the limit at most: no second
        sitting could tell. `rounding` is a share of the limit by which its text may differ from what was meant.
        """
        timed = self.metric == "latency_ms" and m.provenance == "measured"
        error = min(m.spread, MEASURED_TO * self.value) if timed else 0.0
        return self.met(m.bound + error if self.at_least else m.bound - error, rounding)

    def __str__(self) -> str:
        number = f"{self.value:.4g}" if not self.relative else f"{100 * self.value:g}%"
        return f"{self.metric} {'>=' if self.at_least else '<='} {number}"


@dataclass(frozen=True)
class Artifact:
    """A network as bytes of one format, with the Graph it came from. Format "graph" has no bytes."""

    format: str
    data: bytes
    graph: Graph

    @property
    def size_mb(self) -> float:
        """Megabytes (10^6 bytes) of the file."""
        return len(self.data) / 1e6

    @cached_property
    def digest(self) -> str:
        """Sha256 of the bytes (16 hex digits)."""
        return hashlib.sha256(self.data).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What was probed of a device once: `fingerprint` names processor, runtime and version.

    `channel_block` maps bits to the step at which wider layers begin to cost more: widths off it are not offered.
    `reduce_range` is true where int8 kernels saturate (x86 without VNNI), so that weights use 7 bits. `bits` are the
    precisions that it computes in. `clock` is what samples are taken with: "cycles", "CPU time" or "wall time", and ""
    where nothing is timed.
    """

    name: str
    fingerprint: str
    isa: tuple[str, ...]
    channel_block: Mapping[int, int]
    reduce_range: bool
    overhead_ms: float
    runtime: str = ""
    bits: tuple[int, ...] = (32, 8)
    clock: str = ""


@dataclass(frozen=True, slots=True)
class OpTime:
    """One operator's share of a profile; `bottleneck` is "compute", "memory" or "launch"."""

    op: str
    kind: str
    ms: float
    macs: int
    bytes: int
    bottleneck: str
