"""What is done with edits of any kind: applied together, refused, written and read."""

from __future__ import annotations

import pytest

from chipfit.core.edits import Edit, Edited, Same
from chipfit.space.edits import (
    KINDS,
    Precision,
    Skip,
    Swap,
    Width,
    apply,
    computed_in,
    drops,
    edited,
    from_plain,
    kind_of,
    narrowed_to,
    structural,
    to_plain,
)
from chipfit.space.edits.expand import Expand
from chipfit.space.edits.fixed import Fixed
from chipfit.space.edits.pattern import Pattern
from models.residual import residual


def test_edits_change_shapes_macs_and_bits() -> None:
    graph = residual()
    edited = apply(graph, [Width("stem", (0, 1, 5, 7)), Width("a1", tuple(range(8))), Precision("b1", 8)])
    assert {n: edited[n].shape[0] for n in ("stem", "a1", "a2", "short")} == {"stem": 4, "a1": 8, "a2": 4, "short": 32}
    assert edited.weight_shapes(edited["a2"])["a2.weight"] == (4, 8, 3, 3)
    assert edited.macs(edited["a2"]) == 4 * 8 * 9 * 64
    assert [o.name for o in edited if o.bits == 8] == ["b1", "rb", "b2", "short", "add_b", "r2"]
    assert apply(graph, []) is graph


def test_without_edits_all_is_as_it_was() -> None:
    graph = residual()
    made = edited(graph, ())
    assert made == Edited.nothing(graph)
    assert made.arrays["stem.weight"] == Same("stem.weight")
    assert made.arrays.keys() == {f"{n}.{r}" for n in ("stem", "a1", "a2", "b1", "b2", "short", "head")
                                  for r in ("weight", "bias")}  # fmt: skip


@pytest.mark.parametrize(
    ("edits", "error", "text"),
    [
        ([Width("nope", (0,))], KeyError, "no channel group"),
        ([Width("a1", ())], ValueError, "give ascending channels of 0..23"),
        ([Width("a1", (0, 24))], ValueError, "give ascending channels"),
        ([Width("a1", (1, 0))], ValueError, "give ascending channels"),
        ([Width("a1", (0,)), Width("a1", (1,))], ValueError, "two width edits on 'a1'"),
        ([Skip("head")], KeyError, "no residual block 'head'"),
        ([Skip("add_a"), Skip("add_a")], ValueError, "two skip edits on 'add_a'"),
        ([Precision("head", 8)], KeyError, "no precision site 'head'"),
        ([Precision("b1", 8), Precision("b1", 32)], ValueError, "two precision edits on 'b1'"),
    ],
)
def test_edits_that_fit_nothing(edits: list[Edit], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        apply(residual(), edits)


def test_edits_are_plain_data_and_back() -> None:
    made = (Precision("s", 8), Width("g", (0, 2)), Width("a", (1,)), Skip("b"))
    plain = to_plain(made)
    assert plain == [["skip", "b"], ["width", "a", [1]], ["width", "g", [0, 2]], ["precision", "s", 8]]
    assert set(from_plain(plain)) == set(made)  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match="edit of unknown kind 'grow'; known: skip, width, swap, expand, pattern, fixed, precision"
    ):
        from_plain([["grow", "g"]])


def test_each_kind_is_known_by_its_record_and_has_words() -> None:
    numbers = (Fixed("m", 1, 5), Precision("s", 8))
    examples = (
        Skip("b"),
        Width("g", (0, 2)),
        Swap("p", "conv(x, KxK, M)"),
        Expand("k"),
        Pattern("l", ((0, 4),)),
        *numbers,
    )
    assert [kind_of(e) for e in examples] == list(KINDS)
    words = [
        "leaving out 'b'",
        "'g' at 2 channels",
        "'p' as conv(x, KxK, M)",
        "'k' with wider kernels",
        "'l' with 2 taps a kernel",
        "'m' with weights of 6 bits",
        "'s' at 8 bits",
    ]
    assert [kind_of(e).in_words(e) for e in examples] == words
    assert [n for e in examples if (n := narrowed_to([e]))] == [2]
    assert [n for e in examples if (n := computed_in([e]))] == [8]
    assert [e for e in examples if drops([e])] == [Skip("b")]
    assert structural(examples) == examples[:-1], "other numbers to compute in need no repair"
    assert len({k.name for k in KINDS}) == len({k.changed for k in KINDS}) == len({k.caption for k in KINDS})
