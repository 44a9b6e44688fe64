from __future__ import annotations

import numpy as np
import pytest

from chipfit.space.edits import Precision, Skip, Width
from chipfit.space.menu import Decision, Menu, Option, Term


def menu() -> Menu:
    """A width of 4, 2 or 0 (skipped) and a precision, the skip tied to full precision; costs w * w * bits."""
    width = Decision(
        "inner",
        "width",
        (
            Option("4"),
            Option("2", (Width("inner", (0, 1)),)),
            Option("skip", (Skip("block"), Width("inner", (0,)))),
        ),
    )
    bits = Decision("bits", "precision", (Option("fp32"), Option("int8", (Precision("site", 8),))))
    macs = np.array([16.0, 4.0, 0.0])
    return Menu(
        "key",
        (width, bits),
        (
            Term("macs", (0,), macs),
            Term("bops", (0, 1), np.outer(macs, [1024.0, 64.0])),
            Term("macs", (), np.array(10.0), "head"),
        ),
    )


def test_the_first_assignment_changes_nothing() -> None:
    assert menu().as_is == (0, 0)
    assert menu().edits(menu().as_is) == ()
    assert menu().total("macs", menu().as_is) == 26.0


def test_what_two_options_say_counts_once() -> None:
    gone = Option("skip", (Skip("block"),))
    both = Menu("key", tuple(Decision(name, "width", (Option("4"), gone)) for name in ("inner", "other")))
    assert both.edits((1, 1)) == (Skip("block"),)


def test_totals_are_sums_of_cells() -> None:
    m = menu()
    assert m.total("macs", (1, 1)) == 14.0
    assert m.total("bops", (1, 1)) == 256.0
    rows = np.array([[0, 0], [1, 1], [2, 0]])
    for metric in m.metrics:
        np.testing.assert_array_equal(m.totals(metric, rows), [m.total(metric, tuple(r)) for r in rows.tolist()])


def test_an_unknown_metric_names_those_there_are() -> None:
    with pytest.raises(KeyError, match="no terms for 'size_mb'; it has macs, bops"):
        menu().total("size_mb", (0, 0))
    with pytest.raises(KeyError, match="it has none"):
        Menu("key", ()).total("macs", ())


def test_pricing_replaces_a_metric_and_leaves_the_others() -> None:
    m = menu().priced([Term("macs", (), np.array(1.0)), Term("latency_ms", (1,), np.array([2.0, 1.0]))])
    assert set(m.metrics) == {"macs", "bops", "latency_ms"}
    assert m.total("macs", (0, 0)) == 1.0
    assert m.total("bops", (0, 0)) == menu().total("bops", (0, 0))
    assert m.total("latency_ms", (0, 1)) == 1.0


def test_ties_are_taken_together_or_not_at_all() -> None:
    m = Menu(menu().graph_key, menu().decisions, ties=(((0, 2), (1, 1)),))
    assert [a for a in np.ndindex(3, 2) if m.valid(a)] == [(0, 0), (1, 0), (2, 1)]


@pytest.mark.parametrize("assignment", [(0,), (0, 0, 0), (3, 0), (0, -1)])
def test_an_assignment_of_other_options_is_not_valid(assignment: tuple[int, ...]) -> None:
    assert not menu().valid(assignment)


def test_edits_and_labels_are_those_of_the_chosen_options() -> None:
    assert menu().edits((2, 1)) == (Skip("block"), Width("inner", (0,)), Precision("site", 8))
    assert menu().labels((2, 1)) == {"inner": "skip", "bits": "int8"}
    assert menu().find("bits") == 1
    np.testing.assert_array_equal(menu().sizes, [3, 2])


def test_tables_must_have_the_shape_of_their_decisions() -> None:
    with pytest.raises(ValueError, match="is on 1 decisions but its table has 2 axes"):
        Term("macs", (0,), np.ones((2, 2)))
    with pytest.raises(ValueError, match="is on 6 decisions; split it into terms on 5"):
        Term("macs", (0, 1, 0, 1, 0, 1), np.ones((3, 2, 3, 2, 3, 2)))
    with pytest.raises(ValueError, match=r"shape \(2,\); its decisions have \(3,\) options"):
        Menu("key", menu().decisions, (Term("macs", (0,), np.ones(2)),))
