"""`--minimize`: steps that nobody gave end quietly, and the least that is good enough is found below them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chipfit.core.errors import Infeasible
from chipfit.core.metric import ACCURACY
from chipfit.core.types import Candidate, Limit, Measurement, Trial
from chipfit.data.load import load_data
from chipfit.recipes.answer import Option
from chipfit.recipes.deploy import with_least
from chipfit.recipes.designs import Plan
from chipfit.recipes.smallest import Smallest
from chipfit.store.store import Store
from recipes import small

FLOOR = Limit("accuracy", 0.8, at_least=True)
WANTED = Smallest("size_mb", FLOOR, (), ACCURACY)


def option(name: str, accuracy: float, mb: float) -> Option:
    found = (
        Measurement("latency_ms", 1.0, "measured", "here"),
        Measurement("accuracy", accuracy, "measured", "validation"),
        Measurement("size_mb", mb, "measured"),
    )
    return Option(Trial(Candidate({"name": name}), found, None, {"role": "candidate", "name": name, "file": name}))


def test_the_least_that_is_good_enough() -> None:
    given = [option("best", 0.95, 1.0), option("less", 0.85, 0.5), option("bad", 0.7, 0.1)]
    assert WANTED.enough(given) is given[1]
    assert replace(WANTED, limits=(Limit("latency_ms", 0.5),)).enough(given) is None
    assert WANTED.next_step(given, [0.7, 0.5]) == 0.25
    assert WANTED.next_step(given, [0.7, 0.5, 0.32]) == pytest.approx(0.4)
    assert WANTED.next_step(given[2:], [0.7]) is None


def test_the_least_answers_the_tightest_budget_that_it_holds() -> None:
    best, less = option("best", 0.95, 1.0), option("less", 0.85, 0.5)
    plans = [Plan((Limit("size_mb", mb),), f"size_mb <= {mb:g}", ()) for mb in (2, 1)]
    answers = [(plan, best) for plan in plans]
    found = with_least(answers, WANTED, [best, less], ())
    assert [(plan.text, o.trial.labels["name"]) for plan, o in found] == [
        ("size_mb <= 2", "best"),
        ("size_mb <= 1", "less"),
    ]


def test_steps_end_where_nothing_is_reached_and_go_on_where_it_is(tmp_path: Path) -> None:
    shares = tuple((Limit("params", share, relative=True),) for share in (0.7, 0.25))
    settings = replace(small.SETTINGS, budgets=shares, train=False, minimize="params", floor=FLOOR)
    models = small.entries(load_data("digits"))[:1]
    small.run(tmp_path / "down", settings, models)
    with Store(tmp_path / "down", read_only=True) as store:
        finals = store.trials(role="final")
        assert store.fact("budgets") == [t.labels["budget"] for t in finals]
        enough = [t.get("params") for t in finals if t.get("accuracy") >= FLOOR.value]
        first = max(t.get("params") for t in finals)
    assert min(enough) < first
    unreachable = replace(settings, budgets=((Limit("latency_ms", 1e-9),),), minimize="latency_ms")
    (final,) = small.run(tmp_path / "none", unreachable, models)
    assert final.labels["origin"] in ("plain as it came", "all int8 of plain")
    with pytest.raises(Infeasible, match="no model can hold latency_ms <= 1e-09"):
        small.run(tmp_path / "asked", replace(unreachable, minimize=None), models)
