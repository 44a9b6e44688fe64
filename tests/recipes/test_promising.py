"""Which models are worth a menu: accuracy less what shrinking to the budget is likely to cost."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from chipfit.core.deadline import Deadline
from chipfit.core.graph import Graph, Network, Op
from chipfit.core.task import CLASSIFICATION
from chipfit.core.types import Artifact, Candidate, Limit, Measurement, Trial
from chipfit.evaluate.screen import Screened
from chipfit.nets.zoo import Entry
from chipfit.recipes import fit as recipe
from chipfit.recipes.fit import promising
from chipfit.recipes.settings import Settings
from chipfit.space.menu import Decision, Menu, Option, Term

GRAPH = Graph((Op("input", "input", (), (1, 4, 4)), Op("out", "flatten", ("input",), (16,))), "out")


def row(name: str, accuracy: float, ms: float) -> Screened:
    entry = Entry(name, Network(GRAPH, {}), "Apache-2.0", "test")
    values = (Measurement("latency_ms", ms, "measured"), Measurement("accuracy", accuracy, "measured"))
    return Screened(entry, 32, Artifact("onnx", b"", GRAPH), Trial(Candidate({"model": name}), values))


def names(rows: list[Screened], *budgets: float) -> list[str]:
    return [e.name for e in promising(rows, [(Limit("latency_ms", ms),) for ms in budgets])]


ROWS = [row("large", 0.95, 4.0), row("middle", 0.94, 2.0), row("small", 0.92, 0.5)]


def test_the_most_accurate_first_where_all_fit() -> None:
    assert names(ROWS, 5.0) == ["large", "middle", "small"]


def test_a_small_budget_begins_with_small_models() -> None:
    assert names(ROWS, 0.4) == ["small", "middle", "large"]


def test_budgets_take_turns() -> None:
    assert names(ROWS, 5.0, 0.25)[:2] == ["large", "small"]


def test_every_model_stays_in_the_list() -> None:
    assert sorted(names(ROWS, 0.01)) == ["large", "middle", "small"]
    failed = Trial(Candidate({"model": "bad"}), (), "it crashed")
    entry = Entry("bad", Network(GRAPH, {}), "Apache-2.0", "test")
    assert "bad" not in names([*ROWS, Screened(entry, 32, Artifact("onnx", b"", GRAPH), failed)], 5.0)


class FakeRun:
    """What opening menus asks of a run, on a clock that each menu takes ten seconds of."""

    def __init__(self, starts: int, seconds: float) -> None:
        self.settings, self.now, self.said = Settings((), starts=starts), [0.0], list[str]()
        self.deadline = Deadline.after(seconds, clock=lambda: self.now[0])
        self.store = self.timing = None
        self.dataset = SimpleNamespace(task=CLASSIFICATION)

    def phase(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def progress(self, *_: str) -> None: ...

    def curtailed(self, _: str, text: str) -> None:
        self.said.append(text)


def opened(monkeypatch: pytest.MonkeyPatch, run: FakeRun, least: Mapping[str, float]) -> list[str]:
    """The models that get a menu for a budget of 1 ms, each of which reaches so many milliseconds."""

    def start(run: FakeRun, entry: Entry, until: Deadline) -> SimpleNamespace:
        run.now[0] += 10
        decision = Decision("w", "width", (Option("8"), Option("4")))
        menu = Menu("g", (decision,), (Term("latency_ms", (0,), np.array([4.0, least[entry.name]])),))
        return SimpleNamespace(entry=entry, menu=menu, curtailed="", unsure=False)

    monkeypatch.setattr(recipe, "_opened", start)
    monkeypatch.setattr(recipe.report_facts, "write_menus", lambda *_: None)
    monkeypatch.setattr(recipe.time_plan, "menus_until", lambda r: r.deadline.share(0.5))
    monkeypatch.setattr(recipe.time_plan, "measured_from", lambda r: r.deadline.before(5))
    monkeypatch.setattr(recipe.time, "monotonic", lambda: run.now[0])
    return [s.entry.name for s in recipe._open(run, ROWS, [(Limit("latency_ms", 1.0),)])]  # type: ignore[arg-type]


ALL = {"large": 0.9, "middle": 0.5, "small": 0.1}
NOT_THE_FIRST = ALL | {"middle": 1.5}


def test_menus_are_opened_as_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert opened(monkeypatch, FakeRun(starts=2, seconds=1000), ALL) == ["middle", "large"]
    run = FakeRun(starts=2, seconds=30)
    assert opened(monkeypatch, run, ALL) == ["middle"]
    assert run.said == ["no time for the menu of large"]


def test_while_no_menu_reaches_the_budget_there_is_time_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert opened(monkeypatch, FakeRun(starts=1, seconds=1000), NOT_THE_FIRST) == ["middle", "large"]
    run = FakeRun(starts=2, seconds=30)
    assert opened(monkeypatch, run, NOT_THE_FIRST) == ["middle", "large"], "though the first took all that menus have"
    assert not run.said
    run = FakeRun(starts=3, seconds=14)
    assert opened(monkeypatch, run, NOT_THE_FIRST) == ["middle"], "what is left is for the files"
    assert run.said == ["no time for the menu of large"]
