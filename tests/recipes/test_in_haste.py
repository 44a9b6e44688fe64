"""Where time runs out before the solver has a design, what is cheap and holds the budget answers, and it is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chipfit.core.errors import Infeasible, OutOfTime
from chipfit.core.types import Limit
from chipfit.data.load import load_data
from chipfit.nets.zoo import Entry
from chipfit.recipes import designs, in_haste, optimum
from chipfit.recipes.fit import forget
from chipfit.report.view import view
from chipfit.store.store import Store
from recipes import small


@pytest.fixture(scope="module")
def residual() -> tuple[Entry, ...]:
    return tuple(small.entries(load_data("digits"), steps=60)[1:])


def _never(*_: Any, **__: Any) -> Any:
    raise OutOfTime("time ran out before the solver found an assignment within the limits; give it more")


@pytest.fixture(autouse=True)
def _too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimum, "solved", _never)


def _settings(share: float, metric: str = "latency_ms") -> Any:
    budgets = ((Limit(metric, share, relative=True),),)
    return replace(small.SETTINGS, budgets=budgets, train=False, epochs=None, baselines=False)


@pytest.mark.parametrize(("share", "metric"), [(0.6, "latency_ms"), (0.5, "size_mb")])
def test_a_design_without_a_search_holds_the_budget(
    share: float, metric: str, residual: tuple[Entry, ...], tmp_path: Path
) -> None:
    (final,) = small.run(tmp_path, _settings(share, metric), residual)
    with Store(tmp_path, read_only=True) as store:
        told = view(store)
        assert [phase for phase, _ in store.fact("curtailed") or ()] == ["assign"]  # type: ignore[union-attr, misc]
        assert all(store.fact(name) is None for name in store.facts() if name.startswith("plan:"))
    (limit,) = told.budgets[0].limits
    assert limit.met(final.measured(metric).bound)
    assert final.labels["name"] == "ours"
    assert ["cut short" in line and "--time" in line for line in told.warnings] == [True]


def test_where_tables_mislead_the_cheapest_network_holds_it(
    residual: tuple[Entry, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missed(*_: Any, **__: Any) -> Any:
        raise Infeasible("no design of those that were tried holds the limit", {})

    monkeypatch.setattr(in_haste, "fitted", missed)
    (final,) = small.run(tmp_path, _settings(0.6), residual)
    with Store(tmp_path, read_only=True) as store:
        assert view(store).budgets[0].limits[0].met(final.measured("latency_ms").bound)


def test_an_untouched_file_that_holds_the_budget_answers(residual: tuple[Entry, ...], tmp_path: Path) -> None:
    (final,) = small.run(tmp_path, _settings(1.1), residual)
    assert final.labels["origin"]
    with Store(tmp_path, read_only=True) as store:
        assert "cut short" in view(store).warnings[0]


def test_a_file_of_an_earlier_pass_answers(
    residual: tuple[Entry, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (before,) = small.run(tmp_path, _settings(0.6), residual)
    monkeypatch.setattr(designs, "in_haste", lambda *_: None)
    with Store(tmp_path) as store:
        forget(store, training=False)
    (final,) = small.run(tmp_path, _settings(0.65), residual)
    assert final.labels["blob"] == before.labels["blob"]


def test_a_budget_that_nothing_holds_is_an_error(residual: tuple[Entry, ...], tmp_path: Path) -> None:
    with pytest.raises(OutOfTime, match="give a longer --time"):
        small.run(tmp_path, _settings(1e-4), residual)
