"""The answer to a budget: the best measured file within it, of whatever origin, in every pass over a directory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chipfit.api.result import open_run
from chipfit.core.errors import Infeasible
from chipfit.core.types import Artifact, Candidate, Limit, Measurement, Trial
from chipfit.recipes import answer as answers
from chipfit.recipes.answer import Option, answer, origin, why_untrained
from chipfit.recipes.designs import Plan
from chipfit.recipes.fit import forget
from chipfit.store.store import Store
from recipes import small

LIMITS = (Limit("latency_ms", 1.0),)
PLAN = Plan(LIMITS, "latency_ms <= 1", ())


def trial(name: str, accuracy: float, ms: float, *, role: str = "candidate", budget: str = PLAN.text) -> Trial:
    found = (
        Measurement("latency_ms", ms, "measured", "here", "final", 0.004 * ms),
        Measurement("accuracy", accuracy, "measured", "validation"),
        Measurement("size_mb", ms, "measured"),
    )
    labels = {"role": role, "name": name, "model": "net", "file": name, **({"budget": budget} if budget else {})}
    return Trial(Candidate({"name": name}), found, None, labels)


def best(*trials: Trial, plan: Plan = PLAN) -> str:
    return answer(plan, [Option(t) for t in trials]).trial.labels["name"]


def test_validation_decides_and_milliseconds_where_it_is_equal() -> None:
    ours = trial("ours from net", 0.90, 0.9)
    assert best(ours, trial("uniform", 0.91, 0.99, role="baseline")) == "uniform"
    assert best(ours, trial("net int8", 0.90, 0.8, role="baseline", budget="")) == "net int8"
    assert best(ours, trial("net", 0.95, 1.2, role="zoo", budget="")) == "ours from net"
    assert best(ours, trial("old", 0.92, 0.7, budget="latency_ms <= 0.7")) == "old"


def test_a_latency_may_be_over_by_its_own_error_and_a_size_by_nothing() -> None:
    close = trial("close", 0.9, 1.003)
    assert best(close) == "close"
    with pytest.raises(Infeasible, match=r"no file holds latency_ms <= 1 when measured: the nearest reaches") as e:
        best(trial("over", 0.9, 1.006))
    assert e.value.nearest == {"latency_ms": 1.006}
    with pytest.raises(Infeasible, match="the nearest reaches size_mb 1.003"):
        best(close, plan=Plan((Limit("size_mb", 1.0),), "size_mb <= 1", ()))


def test_an_answer_without_training_says_what_training_came_to() -> None:
    as_is, rival = Option(trial("ours from net, untrained", 0.90, 0.9)), trial("ours from net", 0.88, 0.9)
    trained = Option(replace(rival, labels={**rival.labels, "steps": "9 of 9"}))
    (line,) = why_untrained(PLAN, as_is, [as_is, trained])
    assert line == (
        "under latency_ms <= 1 the answer is a file that was not trained: its accuracy on validation is 90.00 %, "
        "after training it is 88.00 %"
    )
    assert why_untrained(PLAN, trained, [as_is, trained]) == []
    assert why_untrained(PLAN, as_is, [as_is]) == []


def test_origins_are_named() -> None:
    budget = PLAN.text
    assert origin(trial("ours from net", 0.9, 1.0), budget) == ""
    assert origin(trial("ours from net, roomy", 0.9, 1.0), budget) == ""
    assert origin(trial("ours from net, untrained", 0.9, 1.0), budget) == "from net, untrained"
    assert origin(trial("ours", 0.9, 1.0, role="final"), "latency_ms <= 2") == "from net, found for latency_ms <= 1"
    assert origin(trial("net", 0.9, 1.0, role="zoo", budget=""), budget) == "net as it came"
    assert origin(trial("net int8", 0.9, 1.0, role="baseline", budget=""), budget) == "all int8 of net"
    uniform = trial("uniform width int8", 0.9, 1.0, role="baseline")
    assert origin(uniform, budget) == "uniform width int8 of net"
    assert origin(uniform, "latency_ms <= 2") == "uniform width int8 of net, found for latency_ms <= 1"


PASSES = (0.6, 0.4, 0.9, 0.5)
"""Budgets in turn, as shares: tighter ones and looser ones."""


@pytest.mark.long
def test_no_pass_over_a_directory_ends_in_a_worse_file_than_it_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Designs of later passes are made bad, so that only earlier files can answer well."""
    held: list[tuple[str, float, float]] = []
    file_of = answers.kept

    def worse(option: Option, store: Store) -> Artifact:
        if held and option.trial.labels["role"] != "final":
            object.__setattr__(option, "trial", _spoilt(option.trial))
        return file_of(option, store)

    monkeypatch.setattr("chipfit.recipes.deploy.kept", worse)
    reads = 0
    for share in PASSES:
        settings = replace(
            small.SETTINGS, budgets=((Limit("latency_ms", share, relative=True),),), train=False, starts=1
        )
        if held:
            with Store(tmp_path / "run") as store:
                forget(store, training=False)
        (final,) = small.run(tmp_path / "run", settings)
        result = open_run(tmp_path / "run")
        (now,) = result.finals
        assert now == result.best
        assert now.meets_budget
        assert (now.accuracy, now.latency_ms) == (final.get("accuracy"), final.get("latency_ms"))
        limit = result.view.budgets[0].limits[0]
        better = [b for b in held if limit.met(b[2], 1e-3) and b[1] > (now.accuracy or 0)]
        assert better == [], f"under {share:.0%}"
        assert now.data()
        assert now.test_accuracy is not None
        held.append((now.key, now.accuracy or 0.0, now.latency_ms or 0.0))
        with Store(tmp_path / "run", read_only=True) as store:
            reads = len(store.test_reads())
    assert held[2][0] == held[0][0], "what was found for 60 % is the best under 90 % too"
    assert reads < len(PASSES), "a file that was scored on test is not scored again"

    def none_found(limits: tuple[Limit, ...], *_: object) -> Plan:
        raise Infeasible(f"no design within {limits[0]}", {})

    monkeypatch.setattr("chipfit.recipes.plans.plan_budget", none_found)
    with Store(tmp_path / "run") as store:
        forget(store, training=False)
    settings = replace(settings, budgets=((Limit("latency_ms", 0.55, relative=True),),))
    small.run(tmp_path / "run", settings)
    assert open_run(tmp_path / "run").finals[0].key in {key for key, *_ in held}, "a file of an earlier pass answers"


def _spoilt(t: Trial) -> Trial:
    worse = tuple(replace(m, value=0.3) if m.metric == "accuracy" else m for m in t.measurements)
    return replace(t, measurements=worse)
