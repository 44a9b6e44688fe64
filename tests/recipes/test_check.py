"""A check speaks of the same reference, and of the same megabytes, as a fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from chipfit.core.deadline import Deadline
from chipfit.core.types import Limit
from chipfit.data.load import load_data
from chipfit.device.accelerator.device import Accelerator
from chipfit.device.null import Null
from chipfit.nets.trace import trace
from chipfit.nets.zoo import Entry
from chipfit.recipes.check import SEARCH_S, check, reference
from chipfit.report.view import view
from chipfit.search.codesign import codesign
from chipfit.store.store import Store
from made_up import Memory
from recipes import small

SHARES = ("latency_ms=60%", "size_mb=50%", "macs=70%", "params=80%")


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    return small.entries(load_data("digits"), steps=5)


@pytest.mark.long
def test_a_share_is_the_same_number_in_check_and_in_fit(tmp_path: Path, entries: list[Entry]) -> None:
    limits = tuple(Limit.parse(text) for text in SHARES)
    settings = replace(
        small.SETTINGS, budgets=((limits[0],), limits[1:2], limits[2:3], limits[3:]), train=False, baselines=False
    )
    small.run(tmp_path / "run", settings)
    with Store(tmp_path / "run", read_only=True) as store:
        run = view(store)
    assert run.reference is not None
    own = next(e for e in entries if e.name == run.reference.versions[0].model)
    checked = check(own, Null(), limits, Memory())
    assert checked.of is not None
    assert checked.of.name == run.reference.name
    assert [v.name for v in checked.versions] == [v.name for v in run.reference.versions]
    for budget in run.budgets:
        (limit,) = budget.limits
        exact = limit.metric != "size_mb"  # a fit's file holds a line about its data as well
        assert checked.limits[limit.metric] == pytest.approx(limit.value, rel=1e-3 if exact else 0.15)
        assert checked.of.share(limit).endswith("fp32 " + checked.of.words(limit.metric).split("fp32 ")[1])


def test_of_several_models_the_most_accurate_one_on_record_is_the_reference(entries: list[Entry]) -> None:
    plain, residual = entries
    assert reference([plain, residual], Null(), Memory()).versions[0].model == "plain", "the first where nobody says"
    recorded = [replace(plain, accuracy=0.8), replace(residual, accuracy=0.9)]
    base = reference(recorded, Null(), Memory())
    assert base.name == "residual int8"
    found = [check(e, Null(), [Limit("latency_ms", 0.5, relative=True)], Memory(), of=base) for e in recorded]
    assert {f.limits["latency_ms"] for f in found} == {0.5 * (base.latency_ms or 0)}
    assert [f.versions[0].model for f in found] == ["plain", "residual"], "beside it stand a model's own figures"


def test_a_size_in_a_check_is_that_of_a_file(entries: list[Entry]) -> None:
    found = check(entries[1], Null(), [Limit("size_mb", 0.7, relative=True)], Memory())
    assert found.feasible
    limit = found.limits["size_mb"]
    assert found.predicted["size_mb"] <= limit
    assert found.reachable["size_mb"] > 2e-3, "names and nodes are in it"
    tight = check(entries[1], Null(), [Limit("size_mb", 0.5 * found.reachable["size_mb"])], Memory())
    assert not tight.feasible
    assert tight.reachable["size_mb"] == pytest.approx(found.reachable["size_mb"])


def test_an_untouched_model_that_holds_its_limits_is_an_answer() -> None:
    """Where weights are many for a part's memory some designs hold the network in int8 alone."""
    wide = nn.Sequential(nn.Conv2d(1, 8, 31, padding=15), nn.ReLU(), nn.Conv2d(8, 16, 21, padding=10), nn.Flatten())
    network = trace(nn.Sequential(wide, nn.Linear(16 * 28 * 28, 10)).eval(), (1, 28, 28))
    entry = Entry("wide", network, "none", "none")
    device = Accelerator("accel:pynq-z2")
    found = check(entry, device, [Limit.parse("latency_ms=101%")], Memory())
    whole = next(v.values["latency_ms"] for v in found.versions if v.bits == 8)
    assert found.reachable["latency_ms"] <= whole
    assert found.feasible
    assert found.predicted["latency_ms"] <= found.limits["latency_ms"]
    missed = check(entry, device, [Limit("latency_ms", 1e-3)], Memory())
    assert not missed.feasible
    assert missed.reachable["latency_ms"] <= whole


def test_a_check_on_an_accelerator_ends_soon(monkeypatch: pytest.MonkeyPatch, entries: list[Entry]) -> None:
    """A joint search that could take minutes to prove ends at a deadline, with the best until then."""
    left = []

    def searched(*args: Any, deadline: Deadline, **more: Any) -> Any:
        left.append(deadline.left())
        return codesign(*args, deadline=deadline, **more)

    monkeypatch.setattr("chipfit.recipes.check.codesign", searched)
    assert check(entries[0], Accelerator("accel:pynq-z2"), [Limit.parse("latency_ms=80%")], Memory()).feasible
    assert len(left) == 2
    assert max(left) <= SEARCH_S


def test_what_is_counted_is_checked_without_timing_kernels(entries: list[Entry]) -> None:
    """Only the model's own versions, which shares are of, and the design that was found."""
    memory = Memory()
    found = check(entries[1], Null(), [Limit.parse("macs=60%")], memory)
    assert found.feasible
    assert found.predicted["macs"] <= found.limits["macs"]
    assert found.predicted["latency_ms"] < next(v.values["latency_ms"] for v in found.versions if v.bits == 32)
    assert len(memory.kept) == 3


def test_a_check_tells_what_it_is_at(entries: list[Entry]) -> None:
    told: list[tuple[str, str]] = []
    check(entries[0], Null(), [Limit.parse("latency_ms=90%")], Memory(), progress=lambda *said: told.append(said))
    assert [phase for phase, _ in told] == ["check", "menu", "assign"]
    assert all(line.startswith("plain: ") for _, line in told)


def test_programs_reach_further_and_are_suggested_where_nothing_else_will_do() -> None:
    layers = [nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()]
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)).eval()
    entry, limits = Entry("plain", trace(module, (3, 12, 12)), "MIT", "test"), [Limit.parse("macs=1%")]
    without, with_programs = (check(entry, Null(), limits, Memory(), programs=p) for p in (False, True))
    assert not without.feasible
    assert with_programs.feasible
    assert with_programs.reachable["macs"] < 0.5 * without.reachable["macs"]
    assert with_programs.predicted["macs"] <= with_programs.limits["macs"]
    assert any(name.startswith("program:") for name in with_programs.suggestion)
    assert not check(entry, Null(), limits, Memory(), programs=True, keep=["0", "2"]).feasible
