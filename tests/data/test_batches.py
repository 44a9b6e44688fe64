"""Loaders in every form that Python has for one; labels and inputs of every type; none that is endless."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from chipfit.core.errors import BadInput
from chipfit.data import limits
from chipfit.data.batches import Batches

X = np.random.default_rng(0).random((20, 1, 4, 4)).astype(np.float32)
Y = np.arange(20) % 3


def walked(items: object) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    batches = list(Batches("mine.py: train", items))
    y = [y for _, y in batches if y is not None]
    return np.concatenate([x for x, _ in batches]), np.concatenate(y) if y else None


class Indexed:
    """A torch Dataset without torch: a length and an index that never ends by itself."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, k: int) -> tuple[Any, int]:
        return X[k % 20], int(Y[k % 20])


def generator() -> Iterator[Any]:
    """One buffer, filled again for each batch."""
    buffer = np.empty((5, 1, 4, 4), np.float32)
    for k in range(0, 20, 5):
        buffer[:] = X[k : k + 5]
        yield buffer, Y[k : k + 5]


TENSORS = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))


@pytest.mark.parametrize(
    "items",
    [
        [(X, Y)], (X, Y), [X, Y], (torch.from_numpy(X), torch.from_numpy(Y)), (X, Y.tolist()), generator(),
        DataLoader(TENSORS, batch_size=6), TENSORS, Indexed(), [(x, y) for x, y in zip(X, Y, strict=True)],
        [(torch.from_numpy(X).requires_grad_(), Y)], [(X[:0], Y[:0]), (X, Y)], [(X.tolist(), Y.tolist())],
        iter([[X, Y]]), [(X.astype(np.float64), Y.astype(np.uint8))], [(X, Y.astype(np.uint64))],
    ],
)  # fmt: skip
def test_every_form_of_loader_gives_the_same_rows(items: object) -> None:
    x, y = walked(items)
    np.testing.assert_array_equal(x, X)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(y, Y)


@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (Y + 0.5, np.float32), (np.eye(3)[Y], np.float32), (np.eye(3, dtype=bool)[Y], np.int64), (Y[:, None], np.int64),
        (np.stack([Y] * 16, 1).reshape(20, 4, 4) - 100, np.int64), (X, np.float32), (-1.0 * Y, np.float32),
        (3e5 * Y, np.float32),
    ],
)  # fmt: skip
def test_targets_may_be_numbers_labels_maps_and_pictures(y: Any, kind: type) -> None:
    for items in ([(X, y)], (X, y), [(X[:9], y[:9]), (torch.from_numpy(X[9:]), torch.from_numpy(y[9:]))]):
        _, found = walked(items)
        assert found is not None
        assert found.dtype == kind
        np.testing.assert_allclose(found, y, rtol=1e-6)


def test_rows_of_a_data_set_may_have_arrays_for_targets() -> None:
    for y in (np.eye(3, dtype=np.float32)[Y], X[:, 0], X):
        x, found = walked(TensorDataset(torch.from_numpy(X), torch.from_numpy(y)))
        np.testing.assert_array_equal(x, X)
        np.testing.assert_array_equal(found, y)


def test_bytes_of_pictures_as_targets_are_scaled_like_pixels() -> None:
    pictures = np.arange(320).reshape(20, 1, 4, 4).astype(np.uint8)
    batches = Batches("mine.py: train", [(X, pictures)], numbers=True)
    ((_, y),) = batches
    np.testing.assert_allclose(y, pictures / 255, atol=1e-7)


def test_whole_numbers_are_numbers_where_that_is_told() -> None:
    ((_, y),) = Batches("mine.py: train", [(X, Y - 7)], numbers=True)
    assert y is not None
    assert (y.dtype, y.tolist()) == (np.float32, (Y - 7).tolist())


def test_whole_numbers_in_rows_are_tokens_and_signals_are_floats() -> None:
    x, _ = walked([(np.arange(60).reshape(20, 3), Y)])
    assert (x.dtype, x.shape) == (np.int64, (20, 3))
    x, _ = walked([(X[:, 0].astype(np.float64), Y)])
    assert (x.dtype, x.shape) == (np.float32, (20, 4, 4))


def test_a_function_of_the_users_makes_batches_of_items() -> None:
    def collate(rows: list[tuple[Any, int]]) -> tuple[Any, Any]:
        return np.stack([x for x, _ in rows]), np.array([y for _, y in rows])

    for items in (Indexed(), list(zip(X, Y, strict=True))):
        ((x, y),) = Batches("mine.py: train", items, collate=collate)
        np.testing.assert_array_equal(x, X)
        np.testing.assert_array_equal(y, Y)


@pytest.mark.parametrize("items", [X, torch.from_numpy(X), [X], [[X]], [(X, None)], iter([X[:9], X[9:]])])
def test_inputs_alone_are_unlabelled(items: object) -> None:
    x, y = walked(items)
    np.testing.assert_array_equal(x, X)
    assert y is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_other_sizes_become_float32(dtype: torch.dtype) -> None:
    x, _ = walked([torch.from_numpy(X).to(dtype)])
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, X, atol=5e-3)


@pytest.mark.parametrize("y", [Y % 2 == 1, Y.astype(np.float64), torch.from_numpy(Y).float()])
def test_truths_and_whole_floats_are_class_numbers_and_said(y: Any) -> None:
    batches = Batches("mine.py: train", [(X, y)])
    ((_, labels),) = batches
    assert labels is not None
    assert labels.dtype == np.int64
    assert labels.tolist() == [int(v) for v in y]
    assert [n.endswith("were taken as class numbers") for n in batches.notes] == [True]


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([(X, np.full(20, 10**9))], "label 1000000000; labels are 0, 1, ..., classes - 1, with at most 100000 classes"),
        ([(X, np.full(20, 2**64 - 1, np.uint64))], "label 18446744073709551615; labels are 0"),
        ([(X, np.full(20, -1, np.int8))], "label -1; labels are 0"),
        ([(X, np.full(20, 1e300))], "targets too large for float32"),
        ([(X, np.full(20, np.nan))], "targets that are NaN or infinite"),
        ([(X, np.full((20, 2), np.inf))], "targets that are NaN or infinite"),
        ([(X, Y[:, None] - 101)], "label -101; labels are 0"),
        ([(X, np.eye(3)[Y]), (X, np.eye(4)[Y])], r"targets of different shapes: \(3,\), \(4,\)"),
        ([(X, np.eye(3)[Y][:7])], "a batch of 20 inputs with 7 targets"),
        ([(Y.reshape(2, 10) - 1, [0, 1])], "has the number -1 among its inputs; whole numbers are those of tokens"),
        ([(X, [str(v) for v in Y])], "targets of type <U1; give whole class numbers"),
        ([(X, [10**30] * 20)], "targets of type object; give whole class numbers"),
        ([(X.astype(np.int64), Y)], "inputs of type int64; give uint8"),
        ([(X > 0, Y)], "inputs of type bool; give uint8"),
        ([(X.astype(complex), Y)], "inputs of type complex128; give uint8"),
        ([(np.full((2, 3), 1e300), [0, 1])], "too large for float32, in 2 rows of a batch, the first is row 0"),
        ([(X, Y), (np.full((2, 1, 4, 4), np.inf), [0, 1])], "in 2 rows of a batch, the first is row 20"),
        ([(np.zeros((2, 0, 4, 4), np.uint8), [0, 1])], r"inputs of shape \(2, 0, 4, 4\)"),
        ([(np.zeros((2, 9, 8, 3), np.uint8), [0, 1])], "look like .n, height, width, channels.; give channels before"),
        ([(np.zeros((9, 8, 3), np.uint8), 0)], "look like"),
        ([(X, Y), (X[:, :, :3], Y)], r"inputs of different kinds: float32 \(1, 3, 4\), float32 \(1, 4, 4\)"),
        ([(X, Y), (np.zeros((2, 1, 4, 4), np.uint8), [0, 1])], "inputs of different kinds: float32 .*, uint8 "),
        ([([[1.0, 2.0], [3.0]], [0, 1])], "gives a list that is no array"),
        ([({}, 1)], r"inputs of shape \(1,\)|gives a dict that is no array"),
        ([3.0], r"inputs of shape \(\)"),
        ([(3.0, [1, 2])], r"inputs of shape \(\)"),
        ([(X, Y[:5])], "a batch of 20 inputs with 5 targets"),
        ([(X[:0], Y[:0])], "has no rows"),
        (iter(()), "has no rows"),
        ({"x": X}, "train is a dict; give an iterable"),
        ("train.npz", "train is a str; give an iterable"),
        (None, "train is a NoneType; give an iterable"),
        (np.zeros((4, 4, 4), np.uint8), r"inputs of shape \(4, 4, 4\)"),
        (np.float32(3), "train is a float32; give an iterable"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(items: object, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        walked(items)
    assert "\n" not in str(caught.value)
    assert "mine.py: train" in str(caught.value)
    assert len(str(caught.value)) < 500


class Broken:
    """A set whose length is a lie."""

    def __len__(self) -> int:
        raise RuntimeError("no\nlength")

    def __getitem__(self, k: int) -> int:
        return k


class Sparse:
    """What has a shape and no length, like a sparse matrix."""

    shape, ndim = (20, 4), 2

    def __len__(self) -> int:
        raise TypeError("length is ambiguous")


class Endless:
    """A set that says it is larger than any."""

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, k: int) -> object:
        return X[0], 0


def leaves() -> Iterator[Any]:
    yield X, Y
    raise SystemExit(7)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (Broken(), "raised RuntimeError: no length"),
        ((Sparse(), Y), "raised TypeError: length is ambiguous"),
        (Endless(), "train has 1000000000 rows, at most 2000000 are possible"),
        (leaves(), r"raised SystemExit: 7 \(test_batches.py, line"),
        ((1 // 0 for _ in "a"), "raised ZeroDivisionError: "),
    ],
)
def test_what_the_users_code_raises_is_told_with_its_part(items: object, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        walked(items)


def test_a_loader_that_never_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FILES", 100)
    for endless in (itertools.repeat((X, Y)), itertools.repeat((X[:0], Y[:0]))):
        with pytest.raises(BadInput, match="train gives more than 100 rows; does it ever end"):
            walked(endless)
    monkeypatch.setattr(limits, "EMPTY_BATCHES", 10)
    with pytest.raises(BadInput, match="train gives 11 batches without rows; does it ever end"):
        walked(itertools.repeat((X[:0], Y[:0])))
    monkeypatch.setattr(limits, "LOADER_SECONDS", 0.0)
    with pytest.raises(BadInput, match="gave 0 rows in 0 s and has not ended; does it ever"):
        walked(itertools.repeat((X, Y)))


def test_a_pair_of_inputs_by_name_and_targets_is_one_batch() -> None:
    batches = Batches("mine.py: train", ({"a": X[:, 0, 0], "b": X[:, 0, 1]}, Y))
    ((x, y),) = batches
    assert (x.shape, [port.name for port in batches.ports]) == ((20, 8), ["a", "b"])
    np.testing.assert_array_equal(y, Y)


@pytest.mark.parametrize("items", [(X, Y[:9]), [X, Y[:9].tolist()], ({"a": X, "b": X}, Y[:9])])
def test_other_numbers_of_targets_than_of_inputs_are_named(items: object) -> None:
    with pytest.raises(BadInput, match="20 inputs with 9 targets; give one for each"):
        walked(items)
