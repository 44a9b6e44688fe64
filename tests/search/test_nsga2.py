from __future__ import annotations

from collections.abc import Callable

import moocore
import numpy as np
import pytest

from chipfit.core.errors import BadInput
from chipfit.core.types import Candidate, Limit, Measurement, Trial
from chipfit.search.nsga2 import Nsga2, crowding_distance, survival
from chipfit.search.random import Random
from chipfit.space.choices import Choices, MenuSpace
from chipfit.space.menu import Menu

X, Y = ("x0", "x1", "x2"), ("y0", "y1", "y2")
SPACE = Choices({name: tuple(range(6)) for name in X + Y})


def trial(candidate: Candidate, **metrics: float) -> Trial:
    return Trial(candidate, tuple(Measurement(n, v, "counted") for n, v in metrics.items()))


def sums(candidate: Candidate) -> tuple[float, float]:
    x, y = (float(sum(candidate.values[n] for n in names)) for names in (X, Y))  # type: ignore[misc]
    return x, y


def schaffer(candidate: Candidate) -> Trial:
    """Two goals in conflict along x (0..15), which both want y (0..15) at 0: Schaffer's problem with a ballast."""
    x, y = sums(candidate)
    return trial(candidate, damage=x**2 + 10 * y, latency_ms=(x - 10) ** 2 + 10 * y, accuracy=-y)


def at(x: int) -> Candidate:
    return SPACE.decode(np.array([x, 0, 0, 0, 0, 0]))


def run(strategy: Random | Nsga2, answer: Callable[[Candidate], Trial], budget: int, batch: int = 10) -> list[Trial]:
    trials: list[Trial] = []
    while len(trials) < budget and (asked := strategy.ask(min(batch, budget - len(trials)))):
        replies = [answer(c) for c in asked]
        strategy.tell(replies)
        trials += replies
    return trials


def test_crowding_is_the_gap_between_neighbours() -> None:
    goals = np.array([[0.0, 10.0], [1.0, 6.0], [4.0, 4.0], [10.0, 0.0]])
    np.testing.assert_allclose(crowding_distance(goals), [np.inf, 0.4 + 0.6, 0.9 + 0.6, np.inf])
    # one point, and an objective without span
    assert crowding_distance(np.array([[1.0, 2.0]])) == [np.inf]
    np.testing.assert_array_equal(crowding_distance(np.array([[1.0], [1.0], [1.0]])), [np.inf, 0.0, np.inf])


def test_survival_puts_constraints_before_fronts_before_crowding() -> None:
    goals = np.array(
        [
            [0.0, 0.0],  # 0 best of all, but beyond a limit
            [5.0, 5.0],  # 1 second front
            [1.0, 4.0],  # 2 first front, end
            [2.0, 2.5],  # 3 first front, middle
            [4.0, 1.0],  # 4 first front, end
            [0.0, 0.0],  # 5 further beyond the limit
            [2.1, 2.4],  # 6 first front, middle, crowded between 3 and 4
        ]
    )
    excess = np.array([0.1, 0, 0, 0, 0, 0.3, 0])
    assert survival(goals, excess).tolist() == [2, 4, 6, 3, 1, 0, 5]
    assert survival(goals[[0, 5]], np.array([0.3, 0.1])).tolist() == [1, 0]


def test_it_evolves_towards_the_front() -> None:
    goals = [("damage", False), ("latency_ms", False)]
    trials = run(Nsga2(SPACE, goals, np.random.default_rng(0), population=20), schaffer, 300)
    early, late = (np.array([sums(t.candidate) for t in part]) for part in (trials[:40], trials[-40:]))
    assert late[:, 1].mean() < 0.5 * early[:, 1].mean()
    # both ends of the conflict stay populated, and little beyond them
    assert late[:, 0].min() <= 2
    assert late[:, 0].max() >= 8
    assert np.mean(late[:, 0] > 11) < np.mean(early[:, 0] > 11) + 0.05


def test_larger_is_better_where_it_is_said() -> None:
    up = run(Nsga2(SPACE, [("accuracy", True)], np.random.default_rng(0), population=10), schaffer, 200)
    down = run(Nsga2(SPACE, [("accuracy", False)], np.random.default_rng(0), population=10), schaffer, 200)
    assert np.mean([t.get("accuracy") for t in up[-40:]]) > -4
    assert np.mean([t.get("accuracy") for t in down[-40:]]) < -11


@pytest.mark.parametrize("limit", [Limit("latency_ms", 20), Limit("accuracy", -2, at_least=True)])
def test_limits_pull_the_population_inside(limit: Limit) -> None:
    strategy = Nsga2(SPACE, [("damage", False)], np.random.default_rng(1), limits=[limit], population=20)
    trials = run(strategy, schaffer, 300)
    met = [limit.met(t.get(limit.metric)) for t in trials]
    assert np.mean(met[:40]) < 0.1
    assert np.mean(met[-40:]) > 0.2
    best = min(t.get("damage") for t, inside in zip(trials, met, strict=True) if inside)
    least = {"latency_ms": 36.0, "accuracy": 0.0}[limit.metric]  # at x = 6 and at x = 0, both with y = 0
    assert least <= best <= least + 25


def test_the_hypervolume_beats_random_search(residual_menu: Callable[..., Menu]) -> None:
    menu = residual_menu(2, np.random.default_rng(0), stages=2, options=6)
    space = MenuSpace(menu)

    def answer(candidate: Candidate) -> Trial:
        a = space.assignment(candidate)
        return trial(candidate, damage=menu.total("damage", a), latency_ms=menu.total("latency_ms", a))

    def volume(strategy: Random | Nsga2) -> float:
        points = np.array([(t.get("damage"), t.get("latency_ms")) for t in run(strategy, answer, 240, batch=20)])
        worst = [2.0, menu.total("latency_ms", menu.as_is)]
        return float(moocore.hypervolume(points, ref=worst)) / (worst[0] * worst[1])

    goals = [("damage", False), ("latency_ms", False)]
    seeds = range(3)
    ours = [volume(Nsga2(space, goals, np.random.default_rng(s), population=20)) for s in seeds]
    theirs = [volume(Random(space, np.random.default_rng(s))) for s in seeds]
    assert np.mean(ours) > np.mean(theirs) + 0.03
    assert min(ours) > max(theirs)


def test_start_comes_first_and_once() -> None:
    start = [at(3), at(5), at(3)]
    strategy = Nsga2(SPACE, [("damage", False)], np.random.default_rng(0), population=4, start=start)
    asked = strategy.ask(4)
    assert asked[:2] == start[:2]
    assert len({c.key for c in asked}) == 4


def test_any_number_can_be_asked_for() -> None:
    strategy = Nsga2(SPACE, [("damage", False)], np.random.default_rng(0), population=6)
    keys = [t.candidate.key for n in (1, 17, 3, 40) for t in run(strategy, schaffer, n, batch=n)]
    assert len(keys) == len(set(keys)) == 61


def test_values_that_are_not_numbers_do_not_compete() -> None:
    strategy = Nsga2(SPACE, [("damage", False)], np.random.default_rng(0), population=2)
    bad, good, better = (at(i) for i in range(3))
    strategy.tell([trial(bad, damage=float("nan")), trial(good, damage=2.0), trial(better, damage=1.0)])
    assert [m.candidate for m in strategy._survivors] == [better, good]
    strategy.tell([trial(good, damage=0.5)])
    assert [m.candidate for m in strategy._survivors] == [good, better]


def test_a_missing_metric_is_an_error_not_a_default() -> None:
    strategy = Nsga2(SPACE, [("damage", False)], np.random.default_rng(0), limits=[Limit("size_mb", 1)])
    with pytest.raises(BadInput, match="has no 'size_mb'; it has damage"):
        strategy.tell([trial(at(0), damage=1.0)])
    with pytest.raises(BadInput, match="has no 'damage'; it has none"):
        strategy.tell([Trial(at(0))])


def test_what_cannot_be_asked_for() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(BadInput, match="objectives are empty"):
        Nsga2(SPACE, [], rng)
    with pytest.raises(BadInput, match="population 1 is too small"):
        Nsga2(SPACE, [("damage", False)], rng, population=1)
    with pytest.raises(BadInput, match="latency_ms <= 60% is relative"):
        Nsga2(SPACE, [("damage", False)], rng, limits=[Limit("latency_ms", 0.6, relative=True)])
