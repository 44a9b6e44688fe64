"""One trial as reports show it, and which of its measurements stands for a metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chipfit.core.metric import ACCURACY, Metric
from chipfit.core.types import Measurement, Plain, Provenance, Trial

TRUE_LATENCY: tuple[Provenance, ...] = ("measured", "simulated", "counted")
"""Provenances of a latency that is not a prediction, the most trusted first."""

TRUST: tuple[Provenance, ...] = (*TRUE_LATENCY, "predicted")
"""Provenances of a latency that a file may stand with."""


def find(
    measurements: Sequence[Measurement],
    metric: str,
    *,
    where: str | None = None,
    provenance: Sequence[Provenance] | None = None,
) -> Measurement | None:
    """The measurement of a metric at a place (split, device) and of the first provenance in the list that is there.

    One that is not a number (a device that failed) is as good as none.
    """
    fitting = [m for m in measurements if m.metric == metric and where in (None, m.where) and math.isfinite(m.value)]
    for wanted in provenance or (None,):
        for m in fitting:
            if wanted in (None, m.provenance):
                return m
    return None


@dataclass(frozen=True, slots=True)
class Row:
    """One trial as the report shows it.

    `steps` of its training are (done, planned), None where it had none to do; `sites` are (in int8, all); `file` is the
    hash of the file that was measured; `judged` is what the task's quality is measured in.
    """

    key: str
    role: str
    model: str
    name: str
    budget: str
    measurements: tuple[Measurement, ...] = ()
    choices: Mapping[str, str] = field(default_factory=dict)
    edits: Plain = ()
    error: str | None = None
    origin: str = ""
    steps: tuple[int, int] | None = None
    sites: tuple[int, int] | None = None
    file: str = ""
    judged: Metric = ACCURACY

    @classmethod
    def of(cls, trial: Trial, judged: Metric = ACCURACY) -> Row:
        """The row of a trial of a run whose task is judged by this metric."""
        labels, values = trial.labels, trial.candidate.values
        chosen = values.get("choices")
        return cls(
            key=trial.key,
            role=labels.get("role", "candidate"),
            model=labels.get("model", str(values.get("model", ""))),
            name=labels.get("name", trial.key[:8]),
            budget=labels.get("budget", ""),
            measurements=trial.measurements,
            choices={str(k): str(v) for k, v in chosen.items()} if isinstance(chosen, Mapping) else {},
            edits=values.get("edits", ()),
            error=trial.error,
            origin=labels.get("origin", ""),
            steps=_pair(labels.get("steps", "")),
            sites=_pair(labels.get("sites", "")),
            file=labels.get("file", ""),
            judged=judged,
        )

    @property
    def quality(self) -> Measurement | None:
        """The task's metric on validation, such as the share of right answers: what was selected on."""
        return find(self.measurements, self.judged.name, where="validation", provenance=TRUE_LATENCY)

    @property
    def test(self) -> Measurement | None:
        """The task's metric on the test split."""
        return find(self.measurements, self.judged.name, where="test", provenance=TRUE_LATENCY)

    @property
    def latency(self) -> Measurement | None:
        """Latency of the exported file, of the best provenance there is.

        A prediction only where the whole device is one, and then with its interval.
        """
        told = [m for m in self.measurements if m.provenance != "predicted" or m.interval is not None]
        return find(told, "latency_ms", provenance=TRUST)

    @property
    def predicted(self) -> Measurement | None:
        """Latency as it was predicted before the file was measured, if it was."""
        found = find(self.measurements, "latency_ms", provenance=("predicted",))
        return None if found is self.latency else found

    @property
    def prediction_error(self) -> float | None:
        """Predicted over measured latency, less one; None of what was not both predicted and measured."""
        if self.predicted is None or self.latency is None or not self.latency.value:
            return None
        return self.predicted.value / self.latency.value - 1

    def metric(self, name: str) -> Measurement | None:
        """What a limit on this metric is held against: quality on validation, true latency, anything else as it is."""
        own = {self.judged.name: self.quality, "latency_ms": self.latency}
        return own[name] if name in own else find(self.measurements, name)

    @property
    def title(self) -> str:
        """The name, with its origin or its model where that adds something."""
        said = self.origin or self.model
        return self.name if not said or said in self.name else f"{self.name} ({said})"

    @property
    def merit(self) -> float:
        """What a choice looks at, more being better: quality on validation; without targets, less the damage.

        Untouched models have no damage.
        """
        if self.quality is not None:
            return self.judged.rank(self.quality.value)
        damage = find(self.measurements, "damage")
        return 0.0 if damage is None else -damage.value


def _pair(label: str) -> tuple[int, int] | None:
    """(769, 1460) of a label such as "769 of 1460"."""
    some, _, whole = label.partition(" of ")
    return (int(some), int(whole)) if whole else None


def untouched_rows(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Rows of models as they came, and of the same in int8 throughout; those that failed are left out."""
    return tuple(r for r in rows if r.error is None and (r.role == "zoo" or (r.role == "baseline" and not r.budget)))
