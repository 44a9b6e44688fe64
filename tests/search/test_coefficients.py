from __future__ import annotations

import numpy as np
import pytest

from chipfit.core.deadline import Deadline
from chipfit.core.errors import Infeasible, OutOfTime
from chipfit.core.types import Limit
from chipfit.search import coefficients as module
from chipfit.search.coefficients import search_coefficients
from chipfit.space.menu import Assignment, Decision, Menu, Option, Term

N = 6
LIMITS = [Limit("latency_ms", N + 3)]


def menu() -> Menu:
    """Six decisions that cost 2 or 1 ms; three must be changed. Their stated damages mislead."""
    options = (Option("full"), Option("half"))
    decisions = tuple(Decision(f"d{i}", "width", options) for i in range(N))
    damage = [Term("damage", (i,), np.array([0.0, 1.0 + 0.1 * i])) for i in range(N)]
    cost = [Term("latency_ms", (i,), np.array([2.0, 1.0])) for i in range(N)]
    return Menu("g", decisions, (*damage, *cost))


def truth(assignment: Assignment) -> float:
    """Really the first decisions are the ones that hurt."""
    return float(sum((N - i) * o for i, o in enumerate(assignment)))


PLAIN = (1, 1, 1, 0, 0, 0)
BEST = (0, 0, 0, 1, 1, 1)


def test_scores_correct_damages_that_mislead() -> None:
    seen: list[Assignment] = []

    def score(a: Assignment) -> float:
        seen.append(a)
        return truth(a)

    found = search_coefficients(menu(), LIMITS, score, np.random.default_rng(0), confirm=truth, random_rounds=80)
    assert found.assignment == BEST
    assert seen[0] == PLAIN
    assert len(set(seen)) == len(seen), "an assignment was scored twice"
    assert all(menu().total("latency_ms", a) <= N + 3 for a in seen)


def test_one_seed_gives_one_answer() -> None:
    runs = []
    for _ in range(2):
        seen: list[Assignment] = []
        search_coefficients(
            menu(), LIMITS, lambda a, s=seen: s.append(a) or truth(a), np.random.default_rng(5), max_solves=20
        )
        runs.append(seen)
    assert runs[0] == runs[1]


def test_a_winner_that_the_second_score_does_not_confirm_is_dropped() -> None:
    m = menu()
    found = search_coefficients(
        m, LIMITS, truth, np.random.default_rng(0), confirm=lambda a: m.total("damage", a), max_solves=60
    )
    assert found.assignment == PLAIN
    assert search_coefficients(m, LIMITS, truth, np.random.default_rng(0), max_solves=60).assignment != PLAIN


def test_the_plain_optimum_stays_where_it_scores_best() -> None:
    def never(a: Assignment) -> float:
        raise AssertionError("nothing to confirm")

    m = menu()
    score = lambda a: m.total("damage", a)  # noqa: E731
    found = search_coefficients(m, LIMITS, score, np.random.default_rng(0), confirm=never, max_solves=30)
    assert found.assignment == PLAIN
    np.testing.assert_array_equal(found.scale, 1.0)


@pytest.fixture
def solves(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray | None]:
    """The coefficients of every solve."""
    asked: list[np.ndarray | None] = []
    real = module.solved

    def counted(*args: object, scale: np.ndarray | None = None, **kw: object) -> Assignment:
        asked.append(scale)
        return real(*args, scale=scale, **kw)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "solved", counted)
    return asked


def test_it_stops_at_its_budget_and_without_gain(solves: list[np.ndarray | None]) -> None:
    flat = lambda a: 0.0  # noqa: E731
    search_coefficients(menu(), LIMITS, flat, np.random.default_rng(0), random_rounds=4, patience=3, max_solves=50)
    assert len(solves) == 1 + 4 + 3
    solves.clear()
    search_coefficients(menu(), LIMITS, flat, np.random.default_rng(0), random_rounds=4, patience=9, max_solves=5)
    assert len(solves) == 1 + 5


def test_random_rounds_are_uniform_and_local_search_redraws_a_tenth(solves: list[np.ndarray | None]) -> None:
    flat = lambda a: 0.0  # noqa: E731
    search_coefficients(menu(), LIMITS, flat, np.random.default_rng(0), random_rounds=20, patience=10)
    plain, *drawn = solves
    assert plain is None
    random, local = np.array(drawn[:20]), np.array(drawn[20:])
    assert len(np.unique(random)) == 20 * N
    assert random.min() >= 0
    assert random.max() <= 1
    assert 0.4 < random.mean() < 0.6
    # nothing beat the plain optimum, whose coefficients are all 1: one of six is drawn again
    np.testing.assert_array_equal((local != 1.0).sum(1), 1)


def test_time_ends_the_search_and_keeps_the_best() -> None:
    now = [0.0]

    def score(a: Assignment) -> float:
        now[0] += 1.0
        return truth(a)

    seen = []
    deadline = Deadline.after(4.5, clock=lambda: now[0])
    found = search_coefficients(
        menu(), LIMITS, lambda a: (seen.append(a), score(a))[1], np.random.default_rng(0), deadline=deadline
    )
    assert len(seen) == 5
    assert truth(found.assignment) == min(map(truth, seen))


def test_a_solve_that_runs_out_of_time_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    real = module.solved

    def slow(*args: object, scale: np.ndarray | None = None, **kw: object) -> Assignment:
        if scale is not None:
            now[0] = 9.0
            raise OutOfTime("time ran out")
        return real(*args, **kw)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "solved", slow)
    deadline = Deadline.after(5.0, clock=lambda: now[0])
    found = search_coefficients(menu(), LIMITS, truth, np.random.default_rng(0), deadline=deadline)
    assert found.assignment == PLAIN
    now[0] = 0.0
    with pytest.raises(OutOfTime, match="time ran out"):
        search_coefficients(menu(), LIMITS, truth, np.random.default_rng(0))


def test_an_impossible_limit_is_infeasible() -> None:
    with pytest.raises(Infeasible, match="latency_ms <= 1 is impossible"):
        search_coefficients(menu(), [Limit("latency_ms", 1)], truth, np.random.default_rng(0))
