from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chipfit.core.data import Split
from chipfit.core.errors import BadInput
from chipfit.data.split import PARTS, TRAIN_AT_LEAST, Part, Parts, complete, stratified


def numbered(n: int, targets: list[int] | None = None, first: int = 0) -> Split:
    """Rows that each hold their own number, so that a part tells which rows it got."""
    inputs = np.arange(first, first + n, dtype=np.float32)[:, None]
    return Split(inputs, None if targets is None else np.asarray(targets, np.int64))


def rows(split: Split) -> list[int]:
    return [int(x) for x in split.inputs[:, 0]]


def parts_of(parts: Parts) -> list[list[int]]:
    return [rows(parts.train), rows(parts.validation), rows(parts.test)]


@given(st.lists(st.integers(3, 40), min_size=1, max_size=5), st.booleans())
def test_a_cut_gives_disjoint_parts_that_hold_every_row_and_every_class(sizes: list[int], labelled: bool) -> None:
    targets = [c for c, n in enumerate(sizes) for _ in range(n)]
    whole = numbered(len(targets), targets if labelled else None)
    cut = complete({"train": whole})
    numbers = parts_of(cut)
    assert sorted(n for part in numbers for n in part) == list(range(len(targets)))
    if labelled and (len(cut.train) >= TRAIN_AT_LEAST or len(targets) < 20) and len(cut.test) >= len(sizes):
        for part in (cut.train, cut.validation, cut.test):
            assert part.targets is not None
            assert set(part.targets.tolist()) == set(range(len(sizes)))
            assert [targets[r] for r in rows(part)] == part.targets.tolist()


def test_a_part_of_few_rows_has_one_of_each_class_before_two_of_the_largest() -> None:
    cut = complete({"train": numbered(20, [0] * 3 + [1] * 17)})
    parts = (cut.train, cut.validation, cut.test)
    assert [np.bincount(p.targets).tolist() for p in parts if p.targets is not None] == [[1, 15], [1, 1], [1, 1]]


def test_the_default_is_80_10_10_of_each_class_and_always_the_same() -> None:
    whole = numbered(400, [0] * 100 + [1] * 300)
    cut = complete({"train": whole})
    counts = [np.bincount(p.targets).tolist() for p in (cut.train, cut.validation, cut.test) if p.targets is not None]
    assert counts == [[80, 240], [10, 30], [10, 30]]
    assert parts_of(cut) == parts_of(complete({"train": whole}))
    assert cut.notes == ("split 80/10/10 of each class into train, validation and test, at random with seed 0",)
    assert rows(cut.test) != list(range(90, 100)) + list(range(370, 400))


@pytest.mark.parametrize("absent", ["validation", "test"])
def test_one_missing_part_is_the_last_tenth_of_each_class(absent: Part) -> None:
    there: Part = "test" if absent == "validation" else "validation"
    cut = complete({"train": numbered(40, [0, 1] * 20), there: numbered(5, [0, 1, 0, 1, 0], first=900)})
    got = dict(zip(PARTS, parts_of(cut), strict=True))
    assert got[absent] == [36, 37, 38, 39]
    assert got["train"] == list(range(36))
    assert got[there] == [900, 901, 902, 903, 904]
    assert cut.notes == (f"{absent}: the last tenth of each class of train",)


def test_parts_that_are_given_stay_and_shared_rows_are_told() -> None:
    train, other = numbered(10, [0] * 10), numbered(4, [0] * 4, first=8)
    parts = complete({"train": train, "validation": other, "test": numbered(3, [0] * 3, first=50)})
    assert parts.train is train
    assert parts.validation is other
    assert parts.notes == ("2 of 4 validation rows stand in train too: scores on them read too high",)


def test_repeats_within_a_part_are_no_overlap_but_each_shared_row_counts() -> None:
    twice = Split(np.full((4, 1), 7, np.float32))
    apart = complete({"train": numbered(3), "validation": twice, "test": numbered(2, first=20)})
    assert apart.notes == ()
    shared = complete({"train": numbered(3), "validation": twice, "test": twice})
    assert shared.notes == ("4 of 4 test rows stand in train or validation too: scores on them read too high",)


def counts(split: Split, classes: int) -> list[int]:
    assert split.targets is not None
    return np.bincount(split.targets, minlength=classes).tolist()


@pytest.mark.parametrize("small", [1, 2])
def test_a_class_too_small_to_be_cut_stays_in_train_and_is_named(small: int) -> None:
    cut = complete({"train": numbered(30 + small, [0] * 30 + [1] * small)}, ("cat", "owl"))
    assert [counts(p, 2) for p in (cut.train, cut.validation, cut.test)] == [[24, small], [3, 0], [3, 0]]
    said = "holds no row of 1 of 2 classes (owl): scores on it say nothing of them"
    assert cut.notes[1:] == (f"validation {said}", f"test {said}")


@pytest.mark.parametrize(("rows_of_each", "classes"), [(5, 4), (2, 10), (3, 10), (4, 5)])
def test_few_rows_of_many_classes_leave_train_four_fifths(rows_of_each: int, classes: int) -> None:
    n = rows_of_each * classes
    cut = complete({"train": numbered(n, [c for c in range(classes) for _ in range(rows_of_each)])})
    assert [len(p) for p in (cut.train, cut.validation, cut.test)] == [n - 2 * (n // 10), n // 10, n // 10]
    assert min(counts(cut.train, classes)) >= 1
    assert "validation holds no row of" in cut.notes[1]
    assert sorted(r for part in parts_of(cut) for r in part) == list(range(n))


def test_nothing_can_be_cut_where_every_class_has_one_row() -> None:
    with pytest.raises(BadInput, match=r"class owl has too few rows \(1\), and so has every other"):
        complete({"train": numbered(20, list(range(20)))}, ("owl",))
    with pytest.raises(BadInput, match="train has too few rows to cut validation and test from it"):
        complete({"train": numbered(1)})


def test_classes_that_a_given_part_lacks_are_named() -> None:
    train = numbered(8, list(range(8)))
    parts = complete(
        {"train": train, "validation": numbered(2, [0, 1], first=50), "test": numbered(8, [*range(8)], 90)}
    )
    assert parts.notes == (
        "validation holds no row of 6 of 8 classes (2, 3, 4, ...): scores on it say nothing of them",
    )


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_every_prefix_of_a_stratified_order_is_balanced(labels: list[int]) -> None:
    targets = np.asarray(labels, np.int64)
    order = stratified(targets, np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(len(labels)))
    total = np.bincount(targets, minlength=4)
    for n in range(1, len(labels) + 1):
        counts = np.bincount(targets[order[:n]], minlength=4)
        assert np.abs(counts - n * total / len(labels)).max() <= 2.0
