"""A data set built by hand is looked at before anything works on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from chipfit.api.config import Config
from chipfit.api.inputs import Given, data_name, load, load_entries
from chipfit.core.data import Dataset, Split
from chipfit.core.errors import BadInput
from chipfit.data.given import checked
from chipfit.data.load import load_data

X, Y = np.random.default_rng(0).random((12, 1, 4, 4)).astype(np.float32), np.arange(12) % 3
PART = Split(X, Y)
GOOD = Dataset("mine", ("a", "b", "c"), (0.5,), (0.25,), PART, PART, lambda: PART)


def test_what_is_sound_stays_what_it_is() -> None:
    for dataset in (GOOD, load_data("digits")):
        same = checked(dataset)
        assert same.train is dataset.train
        assert same.digest() == dataset.digest()
        assert same.open_test() is dataset.open_test()


def test_other_types_are_converted() -> None:
    tensors: Any = Split(torch.from_numpy(X).double(), torch.from_numpy(Y).int())  # type: ignore[arg-type]
    d = checked(replace(GOOD, train=tensors, open_test=lambda: tensors))
    for part in (d.train, d.open_test()):
        np.testing.assert_array_equal(part.inputs, X)
        assert (part.inputs.dtype, part.targets.dtype) == (np.float32, np.int64)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"train": (X, Y)}, "train is a tuple; give a chipfit.Split"),
        ({"train": Split(X, Y[:5])}, "train has 12 inputs and 5 targets"),
        ({"validation": Split(X[:0], Y[:0])}, "validation has no rows"),
        ({"train": Split(np.full_like(X, np.nan), Y)}, "train has NaN or infinite inputs"),
        ({"train": Split(X, Y + 10**9)}, "train has the label 1000000002"),
        ({"train": Split(X, Y + 1)}, "has the label 3 but 3 classes; name a class for each label"),
        ({"validation": Split(X, Y + 1)}, r"label 3 in validation is outside 0\.\.2"),
        ({"validation": Split(X[:, :, :2], Y)}, "inputs are float32 .* in train and .* in validation"),
        ({"validation": Split(X)}, "validation has no targets, other parts have"),
        ({"mean": (0.5, 0.5)}, r"has mean=\(0.5, 0.5\); give 1 finite values"),
        ({"std": (0.0,)}, "has a deviation of 0; it must be above zero"),
        ({"std": (float("nan"),)}, "has std=.*; give 1 finite values"),
        ({"mean": 0.5}, "has mean=0.5; give 1 finite values"),
        ({"mean": ("a",)}, "has mean=.*; give 1 finite values"),
        ({"mean": (1e39,)}, "has mean=.*; give 1 finite values"),
        ({"std": (1e-320,)}, "has std=.*; give values above 1e-38"),
        ({"open_test": None}, "open_test is no function"),
        ({"name": 3}, "data 3 has no text for a name"),
    ],
)
def test_what_is_not_is_told_before_the_run(changes: dict[str, Any], said: str) -> None:
    config = Config.of({"models": "zoo:fashion-mnist/resnet8", "data": "object:mine"})
    with pytest.raises(BadInput, match=said) as caught:
        load(config, Given(data=replace(GOOD, **changes)))
    assert "\n" not in str(caught.value)


def test_a_test_part_that_is_not_sound_is_told_when_it_opens() -> None:
    d = checked(replace(GOOD, open_test=lambda: Split(X, -Y)))
    with pytest.raises(BadInput, match="test has the label -2"):
        d.open_test()


@pytest.mark.parametrize("error", [SystemExit(4), ZeroDivisionError("no test")])
def test_what_opens_the_test_part_is_code_of_the_users(error: BaseException) -> None:
    def fail() -> Split:
        raise error

    with pytest.raises(BadInput, match="data 'mine': open_test raised"):
        checked(replace(GOOD, open_test=fail)).open_test()


@pytest.mark.parametrize("model", [None, 3, torch.nn.Linear, b"x", {"a": 1}, [None]])
def test_what_is_no_model_is_told_by_its_type(model: Any) -> None:
    with pytest.raises(BadInput, match="a model is (NoneType|int|type|bytes|dict); give a torch module"):
        Given.of(model)
    with pytest.raises(BadInput, match=r"a model is type; give a torch module, such as Linear\(\)"):
        Given.of(torch.nn.Linear)  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [(X, Y), X, 3])
def test_what_is_no_data_is_told_by_its_type(data: Any) -> None:
    with pytest.raises(BadInput, match=r"data is a (tuple|ndarray|int); give a name, a path, dict\(train=, "):
        data_name(data)


def test_a_dict_of_arrays_or_loaders_is_data() -> None:
    rows = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))
    for train in ((X, Y), torch.utils.data.DataLoader(rows, batch_size=5)):
        data = {"train": train, "validation": (X, Y), "test": (X, Y)}
        given = Given.of(module, data)
        config = Config.of({"models": given.names, "data": data_name(data), "train": False, "max": "size_mb=1"})
        found = load(config, given).dataset
        assert found.name == "data"
        np.testing.assert_array_equal(found.train.inputs, X)
    with pytest.raises(BadInput, match="data: key 'valid' is unknown"):
        load(config, Given.of(module, {"train": (X, Y), "valid": (X, Y)}))


def test_weights_beside_a_module_are_not_passed_over() -> None:
    given = Given.of(torch.nn.Linear(16, 3))
    config = Config.of({"models": given.names, "weights": "w.pt", "input_shape": (16,)})
    with pytest.raises(BadInput, match="load them into the module before it is given"):
        load_entries(config, given, None)
