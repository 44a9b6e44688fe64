"""What a share such as 60 % is a share of: the same file for every verb, console line, report and card.

The reference *model* is the most accurate one that was given; the reference *file* is the faster of its untouched
versions, as it came and in int8 throughout. A limit of 60 % is held against that file's own number of the same metric.
The faster file, because int8 alone is for nothing: of the slower one 60 % would often be held by doing no more.
A share of the accuracy, or of whatever the task is judged by, is of the model as it came, so that an int8 version that
lost it is not what counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from chipfit.core.errors import BadInput
from chipfit.core.metric import ACCURACY, KNOWN, Metric
from chipfit.core.types import Limit

UNITS: Mapping[str, tuple[float, str]] = {
    "latency_ms": (1.0, "ms"),
    "size_mb": (1.0, "MB"),
    "peak_memory_mb": (1.0, "MB"),
    "macs": (1e-6, "M MACs"),
    "params": (1e-3, "k parameters"),
    **{name: (m.scale, f"{m.shown_unit} {name}".strip()) for name, m in KNOWN.items()},
}
"""Metric to (factor, unit) in which a reader sees it."""


def amount(metric: str, value: float) -> str:
    """A number with its unit.

    >>> amount("latency_ms", 0.20297), amount("macs", 31021952)
    ('0.203 ms', '31.02 M MACs')
    """
    factor, unit = UNITS.get(metric, (1.0, metric))
    return f"{value * factor:.4g} {unit}"


@dataclass(frozen=True, slots=True)
class Version:
    """One untouched model in one precision throughout, and its numbers by metric.

    `plain` is what it computes in where it is not in int8.
    """

    model: str
    bits: int
    values: Mapping[str, float]
    plain: str = "fp32"

    @property
    def name(self) -> str:
        """As rows of reports have it: the model's name, with the precision where it is int8."""
        return self.model if self.bits == 32 else f"{self.model} int{self.bits}"

    @property
    def precision(self) -> str:
        """Such as fp32."""
        return self.plain if self.bits == 32 else f"int{self.bits}"


def _rank(metric: Metric, version: Version) -> float:
    """How good a version is, the least where nobody knows."""
    value = version.values.get(metric.name)
    return -math.inf if value is None else metric.rank(value)


@dataclass(frozen=True, slots=True)
class Reference:
    """The file that shares are of: its `name`, its numbers (`values`), and the `versions` it is the faster one of.

    `quality` is that of the model as it came, on validation, in the task's `metric`; None where it is not known.
    """

    name: str
    latency_ms: float | None = None
    quality: float | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    versions: tuple[Version, ...] = ()
    metric: str = ACCURACY.name

    @classmethod
    def of(cls, versions: Sequence[Version], metric: Metric = ACCURACY) -> Reference:
        """The reference among untouched versions of one or more models.

        Models whose quality is not known count as the worst: without any the first model is the reference.
        Versions without a latency are left out where others have one.
        """
        timed = [v for v in versions if math.isfinite(v.values.get("latency_ms", math.nan))] or list(versions)
        most = max(v.bits for v in timed)
        as_it_came = max((v for v in timed if v.bits == most), key=partial(_rank, metric))
        own = tuple(sorted((v for v in timed if v.model == as_it_came.model), key=lambda v: -v.bits))
        fastest = min(own, key=lambda v: v.values.get("latency_ms", 0.0))
        values = dict(fastest.values)
        quality = as_it_came.values.get(metric.name)
        return cls(fastest.name, values.get("latency_ms"), quality, values, own, metric.name)

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Reference:
        """What `plain` wrote, now or when the only task was classification."""
        fact = dict(stored)
        if "accuracy" in fact:
            fact["quality"] = fact.pop("accuracy")
        versions = tuple(Version(**v) for v in fact.pop("versions", ()))
        return cls(**fact, versions=versions)

    def plain(self) -> dict[str, Any]:
        """The reference as a fact of a run; that of a classification calls its quality accuracy, as it always did."""
        fact = asdict(self)
        if self.metric != ACCURACY.name:
            return fact
        del fact["metric"]
        return {("accuracy" if name == "quality" else name): value for name, value in fact.items()}

    def number(self, metric: str) -> float | None:
        """The number that a share of this metric is of; None where it is not known."""
        own = {self.metric: self.quality, "latency_ms": self.latency_ms}
        return own[metric] if metric in own else self.values.get(metric)

    def against(self, limit: Limit) -> Limit:
        """The limit in the metric's own unit.

        Raises:
            BadInput: it is a share of a number that the reference does not have, or that is 0.
        """
        if not limit.relative:
            return limit
        if not (number := self.number(limit.metric)):
            said = "not known" if number is None else "0"
            raise BadInput(
                f"limit {limit} is a share, but {limit.metric} of {self.name} is {said}; give {limit.metric}=NUMBER"
            )
        return limit.against(number)

    def share(self, limit: Limit) -> str:
        """What an absolute limit is as a share, and of what; nothing where the reference has no such number.

        >>> pair = Version("net", 32, {"latency_ms": 0.5}), Version("net", 8, {"latency_ms": 0.2})
        >>> Reference.of(pair).share(Limit("latency_ms", 0.08))
        '40 % of net int8, 0.2 ms (fp32 0.5 ms)'
        """
        number = self.number(limit.metric)
        return f"{100 * limit.value / number:.3g} % of {self.words(limit.metric)}" if number else ""

    def words(self, metric: str = "latency_ms") -> str:
        """What shares of a metric are of, with the other version of the same model beside it."""
        number = self.number(metric)
        if number is None:
            return self.name
        if metric == self.metric:
            return f"{self.versions[0].name if self.versions else self.name}, {amount(metric, number)}"
        others = [v for v in self.versions if v.name != self.name and metric in v.values]
        beside = ", ".join(f"{v.precision} {amount(metric, v.values[metric])}" for v in others)
        return f"{self.name}, {amount(metric, number)}{f' ({beside})' if beside else ''}"
