from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipfit.core.errors import BadInput
from chipfit.core.types import Candidate
from chipfit.space.choices import Choices, Joined, MenuSpace
from chipfit.space.menu import Decision, Menu, Option, Term


def decision(name: str, n: int) -> Decision:
    return Decision(name, "width", tuple(Option(str(i)) for i in range(n)))


def tied(*ties: tuple[tuple[int, int], tuple[int, int]], sizes: tuple[int, ...] = (3, 3, 2)) -> Menu:
    return Menu("g", tuple(decision(f"d{i}", n) for i, n in enumerate(sizes)), (), ties)


def test_choices_are_a_product_of_plain_values() -> None:
    space = Choices({"kernel": ((3, 3), (5, 5)), "bias": (True, 1, 1.0, None)})
    found = {space.decode(np.array(g)).key for g in np.ndindex(2, 4)}
    assert len(found) == 8
    for genes in np.ndindex(2, 4):
        np.testing.assert_array_equal(space.encode(space.decode(np.array(genes))), genes)


def test_genes_beyond_the_ends_are_clipped() -> None:
    space = Choices({"a": (1, 2, 3)})
    assert space.decode(np.array([9])).values == {"a": 3}
    assert space.decode(np.array([-1])).values == {"a": 1}


def test_a_value_that_is_not_offered_is_named() -> None:
    space = Choices({"activation": ("relu", "silu")})
    with pytest.raises(
        BadInput, match="gene 'activation' is 'rellu'; it must be one of \"relu\", \"silu\"; did you mean"
    ):
        space.encode(Candidate({"activation": "rellu"}))
    with pytest.raises(BadInput, match="gene 'activation' is None"):
        space.encode(Candidate({}))
    with pytest.raises(BadInput, match="give at least one"):
        Choices({"a": ()})
    with pytest.raises(BadInput, match="each once"):
        Choices({"a": (1, 1)})


def test_mutation_changes_one_gene_on_average() -> None:
    space = Choices({f"g{i}": tuple(range(5)) for i in range(10)} | {"fixed": (0,)})
    rng = np.random.default_rng(0)
    start = space.sample(rng)
    changes = [np.count_nonzero(space.encode(space.mutate(start, rng)) != space.encode(start)) for _ in range(400)]
    assert min(changes) >= 1
    assert 1.1 < np.mean(changes) < 1.7


def test_mutation_reaches_every_other_value_equally() -> None:
    space = Choices({"a": (0, 1, 2, 3)})
    rng = np.random.default_rng(0)
    values = [space.mutate(Candidate({"a": 1}), rng).values["a"] for _ in range(600)]
    counts = np.bincount(values, minlength=4)
    assert counts[1] == 0
    assert counts[[0, 2, 3]].min() > 150


def test_a_child_has_genes_of_both_parents_and_of_nobody_else() -> None:
    space = Choices({f"g{i}": tuple(range(4)) for i in range(200)})
    a, b = space.decode(np.zeros(200, np.int64)), space.decode(np.full(200, 3))
    child = space.encode(space.cross(a, b, np.random.default_rng(0)))
    assert set(child) == {0, 3}
    assert 60 < np.count_nonzero(child == 3) < 140


def test_a_menus_candidates_are_its_assignments() -> None:
    space = MenuSpace(tied())
    assert space.candidate((1, 2, 0)).values == {"d0": 1, "d1": 2, "d2": 0}
    assert space.assignment(space.candidate((1, 2, 0))) == (1, 2, 0)
    for bad in ({"d0": 3, "d1": 0, "d2": 0}, {"d0": 0, "d1": 0}, {"d0": 0.5, "d1": 0, "d2": 0}):
        with pytest.raises(BadInput, match="it must be an option index from 0 to"):
            space.encode(Candidate(bad))


def test_a_broken_tie_is_repaired_near_by() -> None:
    space = MenuSpace(tied(((0, 2), (1, 2))))
    assert space.assignment(space.candidate((2, 2, 1))) == (2, 2, 1)
    assert space.assignment(space.candidate((2, 0, 1))) == (2, 2, 1), "the first decision is kept, the tied one follows"
    assert space.assignment(space.candidate((0, 2, 1))) == (0, 1, 1), "the nearest option that is not tied"


def test_repair_goes_back_where_the_last_decision_leaves_nothing() -> None:
    # d2 = 0 needs d0 = 0 and d2 = 1 needs d1 = 0, so that (1, 1, ...) has to change an earlier decision
    space = MenuSpace(tied(((2, 0), (0, 0)), ((2, 1), (1, 0))))
    repaired = space.repaired((1, 1, 0))
    assert space.menu.valid(repaired)
    assert repaired == (1, 0, 1)


def test_an_option_tied_to_another_of_its_own_decision_is_never_taken() -> None:
    space = MenuSpace(tied(((0, 1), (0, 2))))
    assert {space.repaired((o, 0, 0))[0] for o in range(3)} == {0}


def test_ties_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(BadInput, match="contradict"):
        MenuSpace(tied(((0, 0), (1, 0)), ((0, 0), (1, 1)), sizes=(2, 2, 2)))


def test_decisions_must_have_names_of_their_own() -> None:
    with pytest.raises(BadInput, match="two decisions named 'a'"):
        MenuSpace(Menu("g", (decision("a", 2), decision("a", 2))))


@given(st.data())
def test_repair_is_exact_and_keeps_what_is_valid(data: st.DataObject) -> None:
    sizes = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=5)))
    choice = st.integers(0, len(sizes) - 1).flatmap(lambda d: st.tuples(st.just(d), st.integers(0, sizes[d] - 1)))
    menu = tied(*data.draw(st.lists(st.tuples(choice, choice), max_size=4)), sizes=sizes)
    valid = [a for a in np.ndindex(*sizes) if menu.valid(a)]
    if not valid:
        with pytest.raises(BadInput, match="contradict"):
            MenuSpace(menu)
        return
    space = MenuSpace(menu)
    wanted = data.draw(st.sampled_from(list(np.ndindex(*sizes))))
    repaired = space.repaired(wanted)
    assert menu.valid(repaired)
    assert repaired == min(valid, key=lambda a: [(abs(o - w), o) for o, w in zip(a, wanted, strict=True)])


def skippable(extra: tuple[Term, ...] = (), ties: tuple = ()) -> Menu:
    """A block's width (the last option skips it) and its precision, which then costs nothing either way."""
    width, bits = decision("width", 3), decision("bits", 2)
    cost = np.array([[4.0, 2.0], [2.0, 1.0], [0.0, 0.0]])
    terms = (
        Term("latency_ms", (0, 1), cost),
        Term("damage", (0,), np.array([0.0, 1.0, 2.0])),
        Term("latency_ms", (1, 1), np.diag([1.0, 1.0])),
    )
    return Menu("g", (width, bits), terms + extra, ties)


def test_a_decision_that_nothing_sees_is_set_to_its_first_option() -> None:
    space = MenuSpace(skippable())
    assert space.assignment(space.candidate((2, 1))) == (2, 0)
    assert space.assignment(space.candidate((1, 1))) == (1, 1)
    assert len({space.decode(np.array(g)).key for g in np.ndindex(3, 2)}) == 5


def test_a_decision_that_some_metric_sees_stays() -> None:
    space = MenuSpace(skippable((Term("damage", (1,), np.array([0.0, 0.1])),)))
    assert space.assignment(space.candidate((2, 1))) == (2, 1)
    # a precision and itself: only the diagonal of the table counts
    space = MenuSpace(skippable((Term("damage", (1, 1), np.array([[0.0, 5.0], [5.0, 0.1]])),)))
    assert space.assignment(space.candidate((2, 1))) == (2, 1)


def test_a_decision_without_any_cost_stays() -> None:
    """Not priced is not the same as not seen."""
    space = MenuSpace(tied())
    assert space.assignment(space.candidate((2, 1, 1))) == (2, 1, 1)


def test_a_decision_that_a_tie_holds_stays() -> None:
    space = MenuSpace(skippable(ties=(((0, 2), (1, 1)),)))
    assert space.assignment(space.candidate((2, 1))) == (2, 1)


def test_mutation_of_a_menu_changes_the_design() -> None:
    space = MenuSpace(skippable())
    rng = np.random.default_rng(0)
    start = space.candidate((2, 0))
    assert all(space.mutate(start, rng).key != start.key for _ in range(50))
    alone = MenuSpace(Menu("g", (decision("a", 1),)))
    assert alone.mutate(alone.candidate((0,)), rng) == alone.candidate((0,))


def test_spaces_join() -> None:
    space = Choices({"clock": (100, 200)}) + MenuSpace(skippable()) + Choices({"lanes": (1, 2, 4)})
    assert isinstance(space, Joined)
    np.testing.assert_array_equal(space.upper, [1, 2, 1, 2])
    candidate = space.decode(np.array([1, 2, 1, 0]))
    assert candidate.values == {"clock": 200, "width": 2, "bits": 0, "lanes": 1}
    assert [c.values for c in space.split(candidate)] == [{"clock": 200}, {"width": 2, "bits": 0}, {"lanes": 1}]
    assert (MenuSpace(skippable()) + Choices({"lanes": (1,)})).upper.tolist() == [2, 1, 0]
    with pytest.raises(BadInput, match="value named 'clock'"):
        Choices({"clock": (1,)}) + Choices({"clock": (2,)})


def test_mutation_of_a_join_changes_one_part_in_proportion_to_its_genes() -> None:
    space = Choices({"a": (0, 1)}) + Choices({"b": (0, 1), "c": (0, 1), "d": (0, 1)}) + Choices({"fixed": (0,)})
    rng = np.random.default_rng(0)
    start = space.decode(np.zeros(5, np.int64))
    mutants = [space.mutate(start, rng).values for _ in range(400)]
    in_a = np.array([m["a"] for m in mutants], bool)
    in_rest = np.array([m["b"] or m["c"] or m["d"] for m in mutants], bool)
    assert np.all(in_a ^ in_rest)
    assert 60 < in_a.sum() < 140
    fixed = Choices({"x": (0,)}) + Choices({"y": (0,)})
    assert fixed.mutate(fixed.sample(rng), rng) == fixed.sample(rng)
