from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipfit.core.deadline import Deadline
from chipfit.core.errors import BadInput, ChipfitError, Infeasible
from chipfit.core.types import Limit
from chipfit.search.assign import assign, reachable
from chipfit.space.menu import Assignment, Decision, Menu, Option, Term


def decision(name: str, n: int) -> Decision:
    return Decision(name, "width", tuple(Option(str(i)) for i in range(n)))


def table(*rows: object) -> np.ndarray:
    return np.array(rows, float)


def every(menu: Menu) -> list[Assignment]:
    return [a for a in np.ndindex(*(int(n) for n in menu.sizes)) if menu.valid(a)]


def within(menu: Menu, limits: list[Limit]) -> list[Assignment]:
    return [a for a in every(menu) if all(x.met(menu.total(x.metric, a)) for x in limits)]


@st.composite
def menus(draw: st.DrawFn, whole: bool | None = None) -> Menu:
    """Small coupled menus: terms over 0 to 4 decisions, some of them twice, and now and then ties."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # whole numbers make many assignments equal and many totals fall exactly on a limit
    round_ = draw(st.booleans()) if whole is None else whole
    decisions = tuple(decision(f"d{i}", n) for i, n in enumerate(sizes))

    def made(metric: str, on: list[int]) -> Term:
        shape = tuple(sizes[d] for d in on)
        values = rng.integers(-2, 4, shape).astype(float) if round_ else rng.normal(1.0, 1.0, shape)
        return Term(metric, tuple(on), values)

    where = st.lists(st.integers(0, len(sizes) - 1), max_size=4)
    terms = [
        made(metric, on)
        for metric in ("damage", "latency_ms", "size_mb", "accuracy")
        for on in draw(st.lists(where, min_size=1, max_size=5))
    ]
    choice = st.integers(0, len(sizes) - 1).flatmap(lambda d: st.tuples(st.just(d), st.integers(0, sizes[d] - 1)))
    ties = draw(st.lists(st.tuples(choice, choice), max_size=2))
    return Menu("small", decisions, tuple(terms), tuple(ties))


@st.composite
def problems(draw: st.DrawFn, whole: bool | None = None) -> tuple[Menu, list[Limit]]:
    """A menu with up to three limits that fall on, just beside, or anywhere between its totals."""
    menu = draw(menus(whole))
    limits = []
    for metric in draw(st.lists(st.sampled_from(["latency_ms", "size_mb", "accuracy", "damage"]), max_size=3)):
        totals = sorted(menu.total(metric, a) for a in np.ndindex(*(int(n) for n in menu.sizes)))
        value = totals[draw(st.integers(0, len(totals) - 1))]
        value += draw(st.sampled_from([0.0, 0.0, -1e-9, 1e-9, 0.1, -0.1]))
        limits.append(Limit(metric, value, at_least=metric == "accuracy"))
    return menu, limits


@given(problems(), st.sampled_from(["damage", "latency_ms", "accuracy"]))
@settings(max_examples=150)
def test_it_finds_what_brute_force_finds(problem: tuple[Menu, list[Limit]], objective: str) -> None:
    menu, limits = problem
    allowed = within(menu, limits)
    if not allowed:
        with pytest.raises(ChipfitError):
            assign(menu, limits, objective=objective)
        return
    found = assign(menu, limits, objective=objective)
    assert menu.valid(found)
    assert all(x.met(menu.total(x.metric, found)) for x in limits)
    totals = [menu.total(objective, a) for a in allowed]
    best = max(totals) if objective == "accuracy" else min(totals)
    assert menu.total(objective, found) == pytest.approx(best, abs=1e-7)


@given(problems())
@settings(max_examples=60)
def test_what_is_nearest_is_what_can_be_reached(problem: tuple[Menu, list[Limit]]) -> None:
    menu, limits = problem
    if within(menu, limits) or not every(menu):
        return
    with pytest.raises(Infeasible) as error:
        assign(menu, limits)
    assert "\n" not in str(error.value)
    for x in limits:
        totals = [menu.total(x.metric, a) for a in every(menu)]
        assert error.value.nearest[x.metric] == pytest.approx(max(totals) if x.at_least else min(totals))


@given(problems(), st.floats(-1, 4))
@settings(max_examples=60)
def test_another_limit_never_improves_the_objective(problem: tuple[Menu, list[Limit]], value: float) -> None:
    menu, limits = problem
    more = [*limits, Limit("size_mb", value)]
    if within(menu, more):
        with_more, without = assign(menu, more), assign(menu, limits)
        assert menu.total("damage", with_more) >= menu.total("damage", without) - 1e-7


@given(problems(whole=False), st.data())
@settings(max_examples=80)
def test_scale_multiplies_the_objective(problem: tuple[Menu, list[Limit]], data: st.DataObject) -> None:
    menu, limits = problem
    n = len(menu.decisions)
    scale = np.array(data.draw(st.lists(st.floats(0, 2), min_size=n, max_size=n)))
    allowed = within(menu, limits)
    if not allowed:
        return
    weights = {t.on: float(scale[sorted(set(t.on))].mean()) if t.on else 1.0 for t in menu.terms}

    def scaled(a: Assignment) -> float:
        return sum(weights[t.on] * t.table[tuple(a[d] for d in t.on)] for t in menu.terms if t.metric == "damage")

    found = assign(menu, limits, scale=scale)
    assert scaled(found) == pytest.approx(min(map(scaled, allowed)), abs=1e-7)


@given(problems(whole=True))
@settings(max_examples=80)
def test_equal_objectives_are_told_apart_by_the_first_limit(problem: tuple[Menu, list[Limit]]) -> None:
    menu, limits = problem
    allowed = within(menu, limits)
    if not allowed or not limits:
        return
    sign = -1 if limits[0].at_least else 1
    least = min(menu.total("damage", a) for a in allowed)
    cost = min(sign * menu.total(limits[0].metric, a) for a in allowed if menu.total("damage", a) == least)
    found = assign(menu, limits)
    assert (menu.total("damage", found), sign * menu.total(limits[0].metric, found)) == (least, cost)


def test_equal_options_give_the_lower_index() -> None:
    equal = Term("damage", (0,), table(1, 0, 0, 0))
    menu = Menu("g", (decision("a", 4),), (equal, Term("latency_ms", (0,), table(3, 2, 1, 1))))
    assert assign(menu, [Limit("latency_ms", 5)]) == (2,)
    assert assign(menu, []) == (1,)


def test_a_coupled_cost_is_not_the_sum_of_savings() -> None:
    """Halving both widths of w_in * w_out leaves a quarter, which no single-site cost can say."""
    cost = table((8, 4), (4, 2))
    menu = Menu(
        "g",
        (decision("in", 2), decision("out", 2)),
        (
            Term("latency_ms", (0, 1), cost),
            Term("damage", (0,), table(0, 0.1)),
            Term("damage", (1,), table(0, 0.3)),
        ),
    )
    assert assign(menu, [Limit("latency_ms", 4)]) == (1, 0)
    assert assign(menu, [Limit("latency_ms", 2)]) == (1, 1)
    assert assign(menu, [Limit("latency_ms", 8)]) == (0, 0)


def test_ties_are_taken_together() -> None:
    menu = Menu(
        "g",
        (decision("a", 2), decision("b", 2)),
        (
            Term("damage", (0,), table(0, 1)),
            Term("damage", (1,), table(0, 5)),
            Term("latency_ms", (0,), table(2, 1)),
            Term("latency_ms", (1,), table(2, 2)),
        ),
        ties=(((0, 1), (1, 1)),),
    )
    assert assign(menu, [Limit("latency_ms", 3)]) == (1, 1)


def test_any_metric_can_be_the_objective_and_damage_a_limit(residual_menu: Callable[..., Menu]) -> None:
    menu = residual_menu(2, np.random.default_rng(0), options=4)
    found = assign(menu, [Limit("damage", 0.2)], objective="latency_ms")
    assert menu.total("damage", found) <= 0.2
    ms = menu.total("latency_ms", found)
    # the same corner from the other side
    back = assign(menu, [Limit("latency_ms", ms)])
    assert menu.total("damage", back) <= menu.total("damage", found) + 1e-9
    with pytest.raises(Infeasible, match="not together: within the rest, the least damage that any choice reaches is"):
        assign(menu, [Limit("damage", 0.2), Limit("latency_ms", 0.99 * ms)], objective="size_mb")


def test_a_large_menu_is_solved_to_the_optimum(residual_menu: Callable[..., Menu]) -> None:
    """ResNet-20's size, against a relaxation-free check: no single or double change is better."""
    menu = residual_menu(3, np.random.default_rng(1))
    limits = [Limit(m, 0.4 * menu.total(m, menu.as_is)) for m in ("latency_ms", "size_mb")]
    found = assign(menu, limits)
    rows = [found]
    for a in range(len(found)):
        for b in range(a):
            for i, j in np.ndindex(int(menu.sizes[a]), int(menu.sizes[b])):
                near = list(found)
                near[a], near[b] = i, j
                rows.append(tuple(near))
    near_ = np.array(rows)
    fits = np.all([menu.totals(x.metric, near_) <= x.value for x in limits], axis=0)
    assert fits[0]
    assert menu.totals("damage", near_)[fits].min() == pytest.approx(menu.total("damage", found), abs=1e-12)


def test_the_same_menu_gives_the_same_answer(residual_menu: Callable[..., Menu]) -> None:
    menu = residual_menu(3, np.random.default_rng(2), identical=True)
    limits = [Limit("latency_ms", 0.5 * menu.total("latency_ms", menu.as_is))]
    assert assign(menu, limits) == assign(menu, limits)


def test_reachable_is_the_least_or_the_most() -> None:
    menu = Menu(
        "g",
        (decision("a", 3),),
        (
            Term("latency_ms", (0,), table(3, 1, 2)),
            Term("accuracy", (0,), table(0.9, 0.5, 0.7)),
            Term("macs", (), table(4)[0]),
        ),
    )
    assert reachable(menu, "latency_ms") == (1.0, (1,))
    assert reachable(menu, "accuracy") == (0.9, (0,))
    assert reachable(menu, "macs") == (4.0, (0,))


def test_what_cannot_be_met_says_what_can() -> None:
    menu = Menu(
        "g",
        (decision("a", 3),),
        (
            Term("latency_ms", (0,), table(9, 7, 6.1)),
            Term("size_mb", (0,), table(1, 2, 3)),
            Term("accuracy", (0,), table(0.9, 0.8, 0.7)),
            Term("damage", (0,), table(0, 1, 2)),
        ),
    )
    with pytest.raises(Infeasible) as error:
        assign(menu, [Limit("latency_ms", 5), Limit("size_mb", 2)])
    assert str(error.value) == (
        "latency_ms <= 5 is impossible: the least latency_ms that any choice reaches is 6.1; relax latency_ms"
    )
    assert error.value.nearest == {"latency_ms": 6.1, "size_mb": 1.0}
    assert error.value.exit_code == 3
    with pytest.raises(Infeasible) as error:
        assign(menu, [Limit("latency_ms", 6.5), Limit("size_mb", 2.5)])
    assert str(error.value) == (
        "latency_ms <= 6.5 and size_mb <= 2.5 can each be met alone, but not together: within the rest, the least "
        "latency_ms that any choice reaches is 7; relax one of them"
    )
    with pytest.raises(Infeasible, match=r"accuracy >= 0\.95 is impossible: the most accuracy .* is 0\.9"):
        assign(menu, [Limit("accuracy", 0.95, at_least=True)])
    # the rest alone is impossible too: nothing to say about the first within it
    with pytest.raises(Infeasible, match="not together; relax one"):
        assign(menu, [Limit("damage", 1), Limit("latency_ms", 6.5), Limit("size_mb", 2.5)])


def test_a_limit_on_a_constant_metric_is_met_or_not() -> None:
    menu = Menu("g", (decision("a", 2),), (Term("damage", (0,), table(1, 0)), Term("macs", (0,), table(5, 5))))
    assert assign(menu, [Limit("macs", 5)]) == (1,)
    with pytest.raises(Infeasible, match="macs <= 4.9 is impossible"):
        assign(menu, [Limit("macs", 4.9)])


@pytest.mark.parametrize("decisions", [(), (decision("a", 1),)])
def test_a_menu_without_a_choice(decisions: tuple[Decision, ...]) -> None:
    menu = Menu("g", decisions, (Term("damage", (), np.array(0.0)), Term("latency_ms", (), np.array(2.0))))
    assert assign(menu, [Limit("latency_ms", 2)]) == (0,) * len(decisions)
    with pytest.raises(Infeasible, match="latency_ms <= 1 is impossible"):
        assign(menu, [Limit("latency_ms", 1)])


def test_ties_that_contradict_each_other() -> None:
    menu = Menu(
        "g",
        (decision("a", 2), decision("b", 2)),
        (Term("damage", (0,), table(0, 1)),),
        ties=(((0, 0), (1, 0)), ((0, 0), (1, 1))),
    )
    with pytest.raises(ChipfitError, match="ties of the menu contradict"):
        assign(menu, [])
    with pytest.raises(ChipfitError, match="ties of the menu contradict"):
        assign(menu, [Limit("damage", 3)])


def test_what_cannot_be_asked_for() -> None:
    menu = Menu("g", (decision("a", 2),), (Term("latency_ms", (0,), table(0, 1)),))
    with pytest.raises(BadInput, match="the menu has no costs for 'damage'; it has latency_ms"):
        assign(menu, [])
    with pytest.raises(BadInput, match="no costs for 'latency'; did you mean 'latency_ms'"):
        reachable(menu, "latency")
    with pytest.raises(BadInput, match="latency_ms <= 60% is relative"):
        assign(menu, [Limit("latency_ms", 0.6, relative=True)], objective="latency_ms")


def test_no_time_is_a_good_answer_and_enough_time_the_best(residual_menu: Callable[..., Menu]) -> None:
    menu = residual_menu(3, np.random.default_rng(0))
    limits = [Limit("latency_ms", 0.5 * menu.total("latency_ms", menu.as_is))]
    late = assign(menu, limits, deadline=Deadline(0.0, clock=lambda: 1.0))
    assert menu.valid(late)
    assert limits[0].met(menu.total("latency_ms", late))
    assert assign(menu, limits, deadline=Deadline.after(3600)) == assign(menu, limits)
