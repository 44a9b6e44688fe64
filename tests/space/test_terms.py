"""What stands on axes: cut, split and made the same by hand."""

from __future__ import annotations

from chipfit.space.terms import FIXED, Row, Terms, fixed, length


def sizes(terms: Terms, row: Row) -> list[list[int]]:
    """The factors of each segment, fixed ones negative."""
    return [[-size if atom == FIXED else size for atom, size in product] for product in terms.current(row)]


def test_a_cut_makes_a_sum_wherever_the_group_stands() -> None:
    terms = Terms()
    a = terms.new(12)
    before, after = terms.cut(a, 5)
    assert sizes(terms, before) == [[5]]
    assert sizes(terms, after) == [[7]]
    assert sizes(terms, a) == [[5], [7]]
    assert sizes(terms, terms.times(a, fixed(4))) == [[5, -4], [7, -4]]


def test_a_channel_that_is_cut_in_two_is_fixed_alone() -> None:
    terms = Terms()
    a = terms.new(5)
    before, after = terms.cut(terms.times(a, fixed(2)), 5)
    assert sizes(terms, before) == [[2, -2], [-1]]
    assert sizes(terms, after) == [[-1], [2, -2]]
    assert sizes(terms, a) == [[2], [-1], [2]]
    assert [size for _, size in terms.atoms(a)] == [2, 2]


def test_a_split_makes_a_product() -> None:
    terms = Terms()
    a = terms.new(24)
    outer, inner = terms.split(a, 8, "")
    slow, fast = terms.split(inner, 4, "")
    assert sizes(terms, a) == [[3, 2, 4]]
    assert [sizes(terms, row) for row in (outer, slow, fast)] == [[[3]], [[2]], [[4]]]
    assert sizes(terms, terms.times(fast, outer)) == [[4, 3]]


def test_equal_parts_side_by_side_are_one_part_several_times() -> None:
    """The first half of a shuffle: parts that stand in the same places of a product are tied."""
    terms = Terms()
    a, b = terms.new(6), terms.new(6)
    outer, inner = terms.split((*a, *b), 6, "")
    assert sizes(terms, outer) == [[-2]]
    assert terms.current(a) == terms.current(b) == terms.current(inner)
    long, short = terms.new(8), terms.new(4)
    outer, inner = terms.split((*long, *short), 6, "")
    assert (length(outer), length(inner)) == (2, 6)
    assert sizes(terms, long) == [[2], [4], [2]]


def test_sums_are_joined_border_by_border() -> None:
    terms = Terms()
    a, b, c = terms.new(12), terms.new(4), terms.new(16)
    terms.join((*a, *b), c, "")
    assert sizes(terms, c) == [[12], [4]]
    d, e = terms.new(8), terms.new(8)
    terms.join((*a, *b), (*d, *e), "")
    assert sizes(terms, c) == sizes(terms, (*d, *e)) == [[8], [4], [4]]
    assert list(terms.atoms(c)) == list(terms.atoms((*d, *e)))


def test_products_are_joined_factor_by_factor() -> None:
    terms = Terms()
    a, b, whole = terms.new(3), terms.new(8), terms.new(24)
    terms.join(terms.times(a, b), whole, "")
    assert sizes(terms, whole) == [[3, 8]]
    other = terms.times(terms.new(6), terms.new(4))
    terms.join(whole, other, "")
    assert sizes(terms, other) == sizes(terms, whole) == [[3, 2, 4]]


def test_what_cannot_be_the_same_is_frozen() -> None:
    terms = Terms()
    a, b = terms.times(terms.new(4), terms.new(6)), terms.times(terms.new(6), terms.new(4))
    terms.join(a, b, "they differ")
    assert {terms.reasons[atom] for row in (a, b) for atom, _ in terms.atoms(row)} == {"they differ"}
    c = terms.new(6)
    terms.join(c, fixed(6), "fixed")
    (((atom, _),),) = c
    assert terms.reasons[atom] == "fixed"


def test_parts_of_what_is_frozen_are_frozen() -> None:
    terms = Terms()
    a = terms.new(8, "kept")
    first, _ = terms.cut(a, 4)
    slow, fast = terms.split(first, 2, "")
    assert {terms.reasons[atom] for row in (slow, fast) for atom, _ in terms.atoms(row)} == {"kept"}
    free = terms.new(8)
    terms.join(a, free, "")
    assert {terms.reasons[atom] for atom, _ in terms.atoms(free)} == {"kept"}
