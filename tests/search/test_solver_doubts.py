"""A solver that errs, hesitates or prints: what assign does about it."""

from __future__ import annotations

import os

import numpy as np
import pytest

from chipfit.core.deadline import Deadline
from chipfit.core.errors import ChipfitError, Infeasible
from chipfit.core.types import Limit
from chipfit.search import assign as module
from chipfit.search.assign import assign
from chipfit.space.menu import Decision, Menu, Option, Term


def decision(name: str, n: int) -> Decision:
    return Decision(name, "width", tuple(Option(str(i)) for i in range(n)))


def table(*rows: object) -> np.ndarray:
    return np.array(rows, float)


class Answer:
    def __init__(self, x: object, status: int = 0) -> None:
        self.x, self.status, self.message = x, status, "made up"


def small() -> Menu:
    """Two choices that save a millisecond each; the first costs less. No cell alone is beyond 3 ms."""
    return Menu(
        "g",
        (decision("a", 2), decision("b", 2)),
        (
            Term("damage", (0,), table(0, 1)),
            Term("damage", (1,), table(0, 2)),
            Term("latency_ms", (0,), table(2, 1)),
            Term("latency_ms", (1,), table(2, 1)),
        ),
    )


LIMITS = [Limit("latency_ms", 3)]


def beyond(aim: np.ndarray) -> Answer:
    """(0, 0), which takes 4 ms."""
    x = np.zeros(len(aim))
    x[[0, 2]] = 1.0
    return Answer(x)


def test_an_answer_beyond_a_limit_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver that takes its tolerance is asked again, without the answer it gave."""
    asked: list[int] = []
    real = module.milp

    def loose(aim: np.ndarray, **kw: object) -> object:
        asked.append(kw["constraints"][-1].A.shape[0])  # type: ignore[index]
        return beyond(aim) if len(asked) == 1 else real(aim, **kw)

    monkeypatch.setattr(module, "milp", loose)
    assert assign(small(), LIMITS) == (1, 0)
    assert asked == [1, 2]


def test_a_solver_that_never_keeps_a_limit_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[np.ndarray] = []

    def stubborn(aim: np.ndarray, **kw: object) -> object:
        rows.append(kw["constraints"][-1].ub[0])  # type: ignore[index]
        return beyond(aim)

    monkeypatch.setattr(module, "milp", stubborn)
    with pytest.raises(Infeasible):
        assign(small(), LIMITS)
    assert 20 < len(rows) < 100
    assert rows[15] < rows[0], "the rows are closed when cutting does not help"


def test_an_undecided_solver_is_asked_again_without_presolve(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.milp
    tried: list[object] = []

    def undecided(aim: np.ndarray, **kw: object) -> object:
        tried.append(kw["options"]["presolve"])  # type: ignore[index]
        return Answer(None, 4) if len(tried) < 3 else real(aim, **kw)

    monkeypatch.setattr(module, "milp", undecided)
    assert assign(small(), LIMITS) == (1, 0)
    assert tried == [False, True, False]
    monkeypatch.setattr(module, "milp", lambda *a, **k: Answer(None, 4))
    with pytest.raises(ChipfitError, match="the solver failed on this menu: made up"):
        assign(small(), LIMITS)


def test_infeasible_is_believed_after_a_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.milp
    tried: list[object] = []

    def hasty(aim: np.ndarray, **kw: object) -> object:
        tried.append(kw["options"]["presolve"])  # type: ignore[index]
        if len(tried) == 1:
            return Answer(None, 1)
        return Answer(None, 2) if tried[-1] else real(aim, **kw)

    monkeypatch.setattr(module, "milp", hasty)
    assert assign(small(), LIMITS) == (1, 0)
    assert tried == [False, True, False]
    # a second look that takes too long does not change the answer
    tight = [Limit("latency_ms", 3), Limit("damage", 0.5)]

    def slow(aim: np.ndarray, **kw: object) -> object:
        if len(kw["constraints"]) == 1:  # type: ignore[arg-type]
            return real(aim, **kw)
        return Answer(None, 2 if kw["options"]["presolve"] else 1)  # type: ignore[index]

    monkeypatch.setattr(module, "milp", slow)
    with pytest.raises(Infeasible, match="not together"):
        assign(small(), tight)


def test_a_first_look_that_ends_late_still_answers_with_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.milp

    def late(aim: np.ndarray, **kw: object) -> object:
        return Answer(real(aim, **kw).x, 1)

    monkeypatch.setattr(module, "milp", late)
    assert assign(small(), LIMITS, deadline=Deadline.after(0.0)) == (1, 0)


def test_what_the_solver_prints_is_not_among_the_results(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real = module.milp

    def loud(aim: np.ndarray, **kw: object) -> object:
        os.write(1, b"HighsMipSolverData::transformNewIntegerFeasibleSolution tmpSolver.run();\n")
        return real(aim, **kw)

    monkeypatch.setattr(module, "milp", loud)
    assign(small(), LIMITS)
    os.write(1, b"after\n")
    assert capfd.readouterr().out == "after\n"
    monkeypatch.setattr(module.os, "name", "nt")
    assign(small(), LIMITS)
    assert "HighsMip" in capfd.readouterr().out
