"""Loaders of several inputs: every form of them gives the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from chipfit.core.errors import BadInput
from chipfit.core.ports import Port, Ports
from chipfit.data.batches import Batches

RNG = np.random.default_rng(0)
A, B = RNG.random((20, 1, 3)).astype(np.float32), RNG.integers(0, 9, (20, 4))
Y = np.arange(20) % 3
ROWS = np.concatenate([A.reshape(20, 3), B], axis=1).astype(np.float32)


class Indexed:
    def __init__(self, form: Any) -> None:
        self.form = form

    def __len__(self) -> int:
        return 20

    def __getitem__(self, k: int) -> Any:
        if k >= 20:
            raise IndexError
        return self.form(A[k], B[k], int(Y[k]))


def by_name(a: Any, b: Any, y: Any) -> Any:
    return {"a": a, "b": b}, y


def all_in_one(a: Any, b: Any, y: Any) -> Any:
    return {"a": a, "b": b, "labels": y}


def in_order(a: Any, b: Any, y: Any) -> Any:
    return (a, b), y


def walked(items: object) -> tuple[Ports, Any, Any]:
    batches = Batches("mine.py: train", items)
    found = list(batches)
    return batches.ports, np.concatenate([x for x, _ in found]), np.concatenate([y for _, y in found])  # type: ignore[misc]


@pytest.mark.parametrize("form", [by_name, all_in_one, in_order])
def test_every_form_gives_the_same_rows(form: Any) -> None:
    named = ("0", "1") if form is in_order else ("a", "b")
    pieces = [slice(0, 9), slice(9, 18), slice(18, 20)]
    rows = [form(torch.from_numpy(a), torch.from_numpy(b), int(y)) for a, b, y in zip(A, B, Y, strict=True)]
    for items in (
        [form(A, B, Y)], [form(A[p], torch.from_numpy(B[p]), Y[p]) for p in pieces], rows,
        Indexed(form), DataLoader(Indexed(form), batch_size=9),  # type: ignore[arg-type]
    ):  # fmt: skip
        ports, x, y = walked(items)
        assert ports == (Port(named[0], (1, 3)), Port(named[1], (4,), True))
        np.testing.assert_array_equal(x, ROWS)
        np.testing.assert_array_equal(y, Y)


@pytest.mark.parametrize("inputs", [(A, B), {"0": A, "1": B}])
def test_whole_arrays_of_several_inputs_come_with_their_targets(inputs: Any) -> None:
    for targets in (Y, Y.tolist(), torch.from_numpy(Y)):
        ports, x, y = walked((inputs, targets))
        assert ports == (Port("0", (1, 3)), Port("1", (4,), True))
        np.testing.assert_array_equal(x, ROWS)
        np.testing.assert_array_equal(y, Y)


def test_inputs_by_name_need_no_targets_and_one_of_them_is_one_input() -> None:
    ((x, y),) = Batches("mine.py: train", [{"a": A, "b": B}])
    np.testing.assert_array_equal(x, ROWS)
    assert y is None
    alone = Batches("mine.py: train", [({"a": A}, Y)])
    ((x, _),) = alone
    np.testing.assert_array_equal(x, A)
    assert alone.ports == ()


def test_bytes_are_scaled_and_a_batch_of_rows_is_no_list_of_inputs() -> None:
    ((x, _),) = Batches("mine.py: train", [({"a": np.full((2, 3), 255, np.uint8), "b": np.ones(2)}, [0, 1])])
    np.testing.assert_array_equal(x, np.ones((2, 4)))
    ((x, _),) = Batches("mine.py: train", [(tuple(A.reshape(20, 1, 1, 3)), Y)])
    assert x.shape == (20, 1, 1, 3)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([({"a": A, "b": B[:7]}, Y)], r"inputs have different numbers of rows .a 20, b 7."),
        ([({"a": A, "b": B}, Y), ({"a": A, "b": B[:, :2]}, Y)], "batches of different inputs: .*b=4:int; .*b=2:int"),
        ([({"a": A * np.nan, "b": B}, Y)], "NaN or infinite inputs in 20 rows"),
        ([({"a": A, "b": B * 10**8}, Y)], "whole numbers from 16777216 on in input 'b'"),
        ([({"a": A, "b": np.array(["x"] * 20)}, Y)], "an input 'b' of type <U1"),
        ([(A, B, Y)], r"gives a tuple of 3; give \(inputs, targets\), or \(\(a, b\), targets\) for two inputs"),
        ([{"labels": Y}], "gives a dict without inputs"),
    ],
)
def test_what_cannot_be_used_is_one_line(items: object, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        list(Batches("mine.py: train", items))
    assert "\n" not in str(caught.value)
