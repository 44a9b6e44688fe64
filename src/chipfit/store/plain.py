"""Trials and measurements as JSON text, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from chipfit.core.types import Candidate, Measurement, Plain, Trial


def _scalar(value: object) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(
        f"{type(value).__name__} {value!r} is not plain data: the store takes numbers, text, lists and mappings"
    )


def dumps(value: Plain) -> str:
    """JSON text with the mapping order kept. Tuples become lists, numpy scalars numbers; NaN is written as NaN.

    Raises:
        TypeError: something that is not plain data.
    """
    return json.dumps(value, separators=(",", ":"), default=_scalar)


def measurement_to_plain(m: Measurement) -> dict[str, Plain]:
    """The measurement's fields by name; those at their defaults are left out."""
    full: dict[str, Plain] = {"metric": m.metric, "value": m.value, "provenance": m.provenance}
    rest: dict[str, Plain] = {"where": m.where, "protocol": m.protocol, "spread": m.spread, "n": m.n}
    defaults: dict[str, Plain] = {"where": "", "protocol": "", "spread": 0.0, "n": 1}
    full |= {k: v for k, v in rest.items() if v != defaults[k]}
    return full | ({"details": dict(m.details)} if m.details else {})


def measurement_from_plain(fields: Mapping[str, Any]) -> Measurement:
    """The measurement that `measurement_to_plain` wrote."""
    return Measurement(**fields)


def trial_to_texts(t: Trial) -> tuple[str, str, str | None, str]:
    """(candidate values, measurements, error, labels): the columns of one row."""
    measurements = [measurement_to_plain(m) for m in t.measurements]
    return dumps(t.candidate.values), dumps(measurements), t.error, dumps(dict(t.labels))


def trial_from_texts(candidate: str, measurements: str, error: str | None, labels: str) -> Trial:
    """The trial of one row. Tuples inside the candidate have become lists; its key is the same."""
    found = tuple(measurement_from_plain(m) for m in json.loads(measurements))
    return Trial(Candidate(json.loads(candidate)), found, error, json.loads(labels))


def _leaves(value: Plain, prefix: str = "") -> Iterator[tuple[str, Plain]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix or "config", value


def differences(a: Plain, b: Plain) -> list[tuple[str, str, str]]:
    """Dotted keys whose values differ, each with both values as JSON text ("absent" where there is none).

    >>> differences({"seed": 1, "max": {"latency_ms": 5}}, {"seed": 1, "max": {"latency_ms": 3}})
    [('max.latency_ms', '5', '3')]
    """
    here = {k: dumps(v) for k, v in _leaves(json.loads(dumps(a)))}
    there = {k: dumps(v) for k, v in _leaves(json.loads(dumps(b)))}
    pairs = ((k, here.get(k, "absent"), there.get(k, "absent")) for k in dict.fromkeys((*here, *there)))
    return [(key, mine, other) for key, mine, other in pairs if mine != other]
