from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chipfit.core.data import Dataset
from chipfit.core.errors import BadInput
from chipfit.data.own import load

HEAD = """
import numpy as np
def batches(n=20, classes=3, first=0, kind=np.uint8, shape=(1, 4, 4)):
    x = (np.arange(first, first + n).reshape(-1, *[1] * len(shape)) + np.zeros(shape)).astype(kind)
    y = np.arange(n) % classes
    for k in range(0, n, 8):
        yield x[k:k+8], y[k:k+8]
"""
WHOLE = "train=batches(30), validation=batches(6, first=100), test=batches(9, first=200)"


def own(tmp_path: Path, returned: str, head: str = HEAD) -> Dataset:
    (tmp_path / "mine.py").write_text(f"{head}\ndef loaders():\n    return {returned}\n")
    return load(f"{tmp_path}/mine.py:loaders")


def test_batches_are_joined_in_order(tmp_path: Path) -> None:
    d = own(tmp_path, f"dict({WHOLE})")
    assert d.classes == ("0", "1", "2")
    assert d.input_shape == (1, 4, 4)
    assert d.train.inputs.dtype == np.uint8
    assert d.train.inputs[:, 0, 0, 0].tolist() == list(range(30))
    assert d.validation.targets is not None
    assert d.validation.targets.tolist() == [0, 1, 2, 0, 1, 2]
    assert d.open_test().inputs[:, 0, 0, 0].tolist() == list(range(200, 209))
    assert (d.flip, d.shift) == (False, 0)


def test_a_missing_part_is_cut_from_train(tmp_path: Path) -> None:
    d = own(tmp_path, "dict(train=batches(30))")
    assert (len(d.train), len(d.validation), len(d.open_test())) == (24, 3, 3)
    assert any(n.startswith("split 80/10/10") for n in d.notes)


def test_float_inputs_keep_the_users_normalisation(tmp_path: Path) -> None:
    d = own(tmp_path, "dict(train=batches(30, kind=np.float64, shape=(5,)))")
    assert d.train.inputs.dtype == np.float32
    assert d.input_shape == (5,)
    assert np.array_equal(d.normalise(d.train.inputs), d.train.inputs)


def test_torch_tensors_single_rows_and_named_task(tmp_path: Path) -> None:
    head = "import torch\n"
    rows = "[(torch.full((1, 3, 3), float(k)), k % 2) for k in range(20)]"
    d = own(tmp_path, f"dict(train={rows}, loss='cross_entropy', metric='accuracy')", head)
    assert d.input_shape == (1, 3, 3)
    assert len(d.train) == 16
    assert d.classes == ("0", "1")


@pytest.mark.parametrize("item", ["x", "(x, None)", "[x]"])
def test_without_targets_the_data_set_is_unlabelled(tmp_path: Path, item: str) -> None:
    d = own(tmp_path, f"dict(train=[{item} for x, y in batches(30)])")
    assert not d.labelled
    assert d.classes == ()
    assert d.open_test().targets is None


def test_labels_far_apart_are_counted_and_told(tmp_path: Path) -> None:
    d = own(tmp_path, "dict(train=[(x, y * 4000) for x, y in batches(30)])")
    assert len(d.classes) == 8001
    assert "labels run from 0 to 8000, and 3 of these 8001 classes occur in train" in d.notes


def test_numbers_are_cut_like_rows_without_classes_and_few_whole_ones_stay_class_numbers(tmp_path: Path) -> None:
    d = own(tmp_path, "dict(train=[(x, y + .5) for x, y in batches(40)])")
    assert d.train.targets is not None
    assert (d.train.targets.dtype, d.classes, len(d.train), len(d.validation)) == (np.float32, (), 32, 4)
    whole = own(tmp_path, "dict(train=[(x, 1. * y) for x, y in batches(40)])")
    assert whole.train.targets is not None
    assert whole.train.targets.dtype == np.int64
    rows = "(np.zeros((n, 4), np.float32), y) for n, y in"
    ages = f"dict(train=[{rows} [(200, np.arange(200.))]], test=[{rows} [(9, np.ones(9))]])"
    d = own(tmp_path, ages)
    assert [part.targets.dtype for part in (d.train, d.validation, d.open_test())] == [np.float32] * 3  # type: ignore[union-attr]
    assert not any("class numbers" in note for note in d.notes)


def test_loss_metric_and_collate_come_with_the_data(tmp_path: Path) -> None:
    head = f"{HEAD}\ndef joined(rows):\n    return tuple(np.concatenate(parts) for parts in zip(*rows))\n"
    d = own(tmp_path, "dict(train=batches(), loss=max, metric=('worst', 'min', min), collate=joined)", head)
    assert d.task.own_loss is max
    assert (d.task.metric.name, d.task.metric.larger, d.task.metric.own) == ("worst", False, min)
    assert len(d.train) == 16
    assert own(tmp_path, "dict(train=batches(), metric=('mae', 'min'))").task.metric.name == "mae"
    assert own(tmp_path, "dict(train=batches(), loss='huber')").task.loss == "huber"


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("3", r"returned an int; return dict\(train=, validation=, test=\)"),
        ("dict(test=[])", "'train' is missing"),
        ("dict(train=[], valdation=[])", "key 'valdation' is unknown; did you mean 'validation'"),
        ("dict(train=batches(), loss='mes')", "loss 'mes' is not known; did you mean 'mse'.; give cross_entropy, bce"),
        ("dict(train=batches(), loss=3)", "loss is an int; give a function"),
        ("dict(train=batches(), metric='accurcy')", "metric 'accurcy' is not known; did you mean 'accuracy'"),
        ("dict(train=batches(), metric=('f2', 'more', len))", "is no .name, 'max' or 'min', function."),
        ("dict(train=batches(), metric=('f2', 'max'))", "without a function it is one of accuracy"),
        ("dict(train=batches(), metric=('rmse', 'min', len))", "metric 'rmse' is the name of one that chipfit has"),
        ("dict(train=batches(), collate=3)", "collate is an int; give a function"),
        ("dict(train=3)", "train is an int; give an iterable"),
        ("dict(train=[])", "train has no rows"),
        ("dict(train=[(1, 2, 3)])", r"train gives a tuple of 3; give \(inputs, targets\)"),
        ("dict(train=[{'labels': 1}])", "train gives a dict without inputs"),
        ("dict(train=1 / 0)", "mine.py:loaders raised ZeroDivisionError"),
        ("dict(train=(1 / 0 for _ in 'a'))", r"train raised ZeroDivisionError: division by zero \(mine.py, line \d+\)"),
        ("dict(train=[(np.zeros((2, 4, 4), np.uint8), [0, 1])])", r"inputs of shape \(2, 4, 4\); give \(n, channels"),
        ("dict(train=[(np.zeros((2, 1, 4, 4)).astype(int), [0, 1])])", "inputs of type int64; give uint8"),
        ("dict(train=[(np.zeros((2, 4), np.uint8), ['a', 'b'])])", "targets of type <U1; give whole class numbers"),
        (
            "dict(train=[(x, np.eye(3)[y]) for x, y in batches()], test=[(x, np.eye(5)[y]) for x, y in batches()])",
            r"targets are \(3,\) in train and \(5,\) in test; give all one shape",
        ),
        ("dict(train=[(np.zeros((2, 4), np.uint8), [0])])", "a batch of 2 inputs with 1 targets"),
        ("dict(train=[(np.zeros((2, 4), np.uint8), [0, -1])])", "label -1; labels are 0, 1, ..., classes - 1"),
        (
            "dict(train=batches(9), test=batches(9, classes=5))",
            r"label 4 in test is outside 0\.\.2, the labels of train",
        ),
        (
            "dict(train=[*batches(8, kind=np.float32), (np.full((2, 1, 4, 4), np.nan), [0, 1])])",
            "NaN or infinite inputs in 2 rows of a batch, the first is row 8",
        ),
        ("dict(train=[*batches(8), (np.zeros((2, 1, 4, 4), np.uint8), None)])", "targets in 1 of 2 batches"),
        ("dict(train=[*batches(8), *batches(8, shape=(1, 5, 4))])", r"inputs of different kinds: uint8 \(1, 4, 4\), "),
        ("dict(train=batches(9), test=batches(9, shape=(2, 4, 4)))", r"uint8 \(1, 4, 4\) in train and .* in test"),
        ("dict(train=batches(9), test=[x for x, y in batches(9)])", "test has no targets, other parts have"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(tmp_path: Path, returned: str, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        own(tmp_path, returned)
    assert "\n" not in str(caught.value)
    assert "mine.py:loaders" in str(caught.value)
