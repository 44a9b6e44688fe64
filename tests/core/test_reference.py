"""What a share is a share of: one file, told with the other version of its model beside it."""

from __future__ import annotations

import math

import pytest

from chipfit.core.errors import BadInput
from chipfit.core.metric import MAE
from chipfit.core.reference import Reference, Version, amount
from chipfit.core.types import Limit, Measurement


def version(model: str, bits: int, ms: float, accuracy: float | None = None, mb: float = 1.0) -> Version:
    known = {} if accuracy is None else {"accuracy": accuracy}
    return Version(model, bits, {"latency_ms": ms, "size_mb": mb, **known})


PAIR = (version("net", 32, 0.5, 0.9, 1.0), version("net", 8, 0.2, 0.5, 0.3))


def test_it_is_the_faster_file_of_the_most_accurate_model() -> None:
    found = Reference.of([version("quick", 32, 0.1, 0.8), *PAIR])
    assert (found.name, found.latency_ms) == ("net int8", 0.2)
    assert [v.name for v in found.versions] == ["net", "net int8"]
    assert Reference.of([version("net", 32, 0.5), version("net", 8, 0.6)]).name == "net", "int8 is not always faster"
    assert Reference.of([version("first", 32, 2.0), version("second", 32, 1.0)]).name == "first"
    assert Reference.of([version("net", 8, 0.2)]).name == "net int8", "a device without float"
    assert Reference.of([version("net", 32, math.nan), version("net", 8, 0.2)]).name == "net int8"


def test_shares_of_costs_are_of_the_file_and_of_accuracy_of_the_model_as_it_came() -> None:
    found = Reference.of(PAIR)
    assert found.against(Limit("latency_ms", 0.5, relative=True)) == Limit("latency_ms", 0.1)
    assert found.against(Limit("size_mb", 0.5, relative=True)) == Limit("size_mb", 0.15)
    floor = found.against(Limit("accuracy", 0.99, relative=True, at_least=True))
    assert floor == Limit("accuracy", 0.99 * 0.9, at_least=True), "not of an int8 file that lost it"
    assert found.against(Limit("latency_ms", 3.0)) == Limit("latency_ms", 3.0)
    exact = Reference.of((Version("net", 32, {"mae": 0.0}),), MAE)
    with pytest.raises(BadInput, match=r"limit mae <= 120% is a share, but mae of net is 0; give mae=NUMBER"):
        exact.against(Limit("mae", 1.2, relative=True))
    with pytest.raises(BadInput, match=r"macs of net int8 is not known; give macs=NUMBER"):
        found.against(Limit("macs", 0.5, relative=True))


def test_a_share_is_told_with_both_figures() -> None:
    found = Reference.of(PAIR)
    assert found.share(Limit("latency_ms", 0.08)) == "40 % of net int8, 0.2 ms (fp32 0.5 ms)"
    assert found.share(Limit("size_mb", 0.15)) == "50 % of net int8, 0.3 MB (fp32 1 MB)"
    assert found.share(Limit("macs", 5.0)) == ""
    assert found.words("accuracy") == "net, 90 % accuracy"
    assert amount("macs", 31021952.0) == "31.02 M MACs"


def test_a_limit_is_held_within_the_error_of_a_measured_latency_alone() -> None:
    limit = Limit("latency_ms", 1.0)

    def held(value: float, spread: float, kind: str = "measured") -> bool:
        return limit.held(Measurement("latency_ms", value, kind, spread=spread))  # type: ignore[arg-type]

    assert held(1.004, 0.004)
    assert not held(1.004, 0.001)
    assert not held(1.006, 0.1), "half a per cent at most"
    assert not held(1.001, 0.1, "simulated")
    assert not Limit("size_mb", 1.0).held(Measurement("size_mb", 1.001, "measured", spread=0.1))
    assert not limit.held(Measurement("latency_ms", 0.9, "predicted", spread=0.1, details={"low": 0.8, "high": 1.1}))
