"""What a data set is for, seen beside the networks or told; classification stays what it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from chipfit.core.data import Dataset, Split
from chipfit.core.errors import BadInput
from chipfit.core.metric import Metric
from chipfit.core.task import CLASSIFICATION, TASKS
from chipfit.data.meant import meant

X = np.random.default_rng(0).random((12, 1, 4, 4)).astype(np.float32)


def data(targets: Any, classes: tuple[str, ...] = (), **more: Any) -> Dataset:
    part = Split(X, targets)
    return Dataset("mine", classes, (0.0,), (1.0,), part, part, lambda: part, **more)


def test_classes_are_left_as_they_are() -> None:
    d = data(np.arange(12) % 3, ("a", "b", "c"))
    found = meant(d, {"net": (3,)})
    assert found == d
    assert found.digest() == d.digest()
    unlabelled = data(None)
    assert meant(unlabelled, {"net": (3,)}) == unlabelled
    assert meant(d, {"net": (3,)}, "classification").classes == ("a", "b", "c")


def test_numbers_get_the_answers_shape_and_their_own_scale() -> None:
    y = np.arange(12, dtype=np.float32) * 10
    found = meant(data(y), {"net": (1,)})
    for part in (found.train, found.validation, found.open_test()):
        assert part.targets is not None
        assert (part.targets.shape, part.targets.dtype) == ((12, 1), np.float32)
    assert (found.task.name, found.task.metric.name) == ("regression", "rmse")
    assert found.task.scale == pytest.approx(y.var())
    assert any(n.startswith("taken for regression") for n in found.notes)
    assert meant(data(y), {"net": ()}).train.targets.shape == (12,)  # type: ignore[union-attr]


def test_whole_numbers_beside_one_output_are_numbers_and_no_classes() -> None:
    taken = ("targets of type float64 were taken as class numbers", "kept")
    found = meant(data(np.arange(12) * 3, tuple("abc"), notes=taken), {"net": (1,)})
    assert (found.task.name, found.classes, found.train.targets.dtype) == ("regression", (), np.float32)  # type: ignore[union-attr]
    assert found.notes[0] == "kept"


def test_labels_maps_and_pictures() -> None:
    several = np.maximum(np.eye(4)[np.arange(12) % 4], np.eye(4)[np.arange(12) % 3]).astype(np.float32)
    labels = meant(data(several), {"net": (4,)})
    assert (labels.task.name, labels.classes) == ("multi-label", ())
    maps = meant(data(np.arange(192).reshape(12, 4, 4) % 3), {"net": (3, 4, 4)})
    assert (maps.task.name, maps.classes, maps.task.axis) == ("segmentation", ("0", "1", "2"), 1)
    assert meant(data(np.arange(60).reshape(12, 5) % 3), {"net": (5, 3)}).task.axis == -1
    pictures = meant(data(X), {"net": (1, 4, 4)})
    assert (pictures.task.name, pictures.task.metric.peak) == ("image", 1.0)
    assert meant(data(3 * X), {"net": (1, 4, 4)}).task.metric.peak == pytest.approx(3 * (X.max() - X.min()))


def test_one_hot_targets_are_classes_unless_they_are_said_to_be_labels() -> None:
    targets = np.eye(4)[np.arange(12) % 4].astype(np.float32)
    for told in (None, "classification"):
        found = meant(data(targets), {"net": (4,)}, told)
        assert (found.task.name, found.classes) == ("classification", ("0", "1", "2", "3"))
        for part in (found.train, found.validation, found.open_test()):
            np.testing.assert_array_equal(part.targets, np.arange(12) % 4)
            assert part.targets is not None
            assert part.targets.dtype == np.int64
        assert any("a single 1 in each row" in n for n in found.notes)
    assert meant(data(targets), {"net": (4,)}, "multi-label").task.name == "multi-label"
    assert meant(data(np.eye(4)[np.arange(12) % 4], tuple("abcd")), {"net": (4,)}).classes == tuple("abcd")


@pytest.mark.parametrize("part", ["validation", "test"])
def test_one_hot_targets_are_so_in_every_part(part: str) -> None:
    targets = np.eye(4)[np.arange(12) % 4].astype(np.float32)
    odd = targets.copy()
    odd[3] = [1, 1, 0, 0]
    given = data(targets)
    bad = Split(given.validation.inputs, odd)
    given = replace(given, validation=bad) if part == "validation" else replace(given, open_test=lambda: bad)
    with pytest.raises(BadInput, match=rf"{part} has the targets \[1.0, 1.0, 0.0, 0.0\] in row 3.*--task multi-label"):
        meant(given, {"net": (4,)})
    assert meant(given, {"net": (4,)}, "multi-label").task.name == "multi-label"


def test_class_numbers_may_stand_in_a_column() -> None:
    for column in ((np.arange(12) % 3)[:, None], (np.arange(12) % 3)[:, None].astype(np.float32)):
        found = meant(data(column), {"net": (3,)})
        assert (found.task.name, found.classes) == ("classification", ("0", "1", "2"))
        for part in (found.train, found.validation, found.open_test()):
            np.testing.assert_array_equal(part.targets, np.arange(12) % 3)
        assert meant(data(column), {"net": (1,)}, "regression").task.name == "regression"


def test_outputs_may_be_more_than_the_classes_that_have_rows_where_those_are_numbered() -> None:
    numbered = data(np.arange(12) % 3, ("0", "1", "2"))
    found = meant(numbered, {"net": (5,)})
    assert found.classes == ("0", "1", "2", "3", "4")
    assert "labels run from 0 to 2, and the model has 5 outputs: the others stay without rows" in found.notes
    assert meant(numbered, {"net": (3,)}) == numbered
    named = data(np.arange(12) % 3, ("a", "b", "c"))
    assert meant(named, {"net": (5,)}).classes == ("a", "b", "c")


def test_a_void_label_of_255_is_told_what_is_wanted() -> None:
    targets = np.full((12, 4, 4), 255)
    targets[:, :2] = 1
    with pytest.raises(BadInput, match="class number 255 and the model 3 classes; .*, or -100 in the place of 255"):
        meant(data(targets), {"net": (3, 4, 4)}, "segmentation")


def test_models_answer_with_logits_or_with_probabilities() -> None:
    classes = np.arange(12) % 4
    assert not meant(data(classes), {"net": (4,)}).task.probabilities
    found = meant(data(classes), {"net": (4,)}, probabilities={"net": True})
    assert found.task.probabilities
    assert found.digest() != meant(data(classes), {"net": (4,)}).digest()
    numbers = meant(data(X[:, 0, 0, :1]), {"net": (1,)}, probabilities={"net": True})
    assert not numbers.task.probabilities, "a number between 0 and 1 is a number"
    with pytest.raises(BadInput, match="of the models a ends in a softmax or sigmoid, and b in logits"):
        meant(data(classes), {"a": (4,), "b": (4,)}, probabilities={"a": True, "b": False})


def test_what_is_told_comes_before_what_is_seen() -> None:
    d = data(np.arange(60).reshape(12, 5) % 3)
    assert meant(d, {"net": (5, 5)}, "tokens").task.name == "tokens"
    assert meant(replace(d, task=TASKS["tokens"]), {"net": (5, 5)}).task.name == "tokens"
    assert meant(data(None), {"net": (5, 8, 8)}, "segmentation").task.divergence == "kl"
    unlabelled = meant(data(None), {"net": (1,)})
    assert unlabelled.task.divergence == "squared"
    assert any("answers are held against each other" in n for n in unlabelled.notes)


def test_the_datas_own_loss_and_metric_stay_with_a_task_that_is_seen() -> None:
    worst = Metric("worst", False, "", own=max)
    own = replace(CLASSIFICATION, own_loss=max, metric=worst)
    found = meant(data(np.linspace(0, 1, 12, dtype=np.float32), task=own), {"net": (1,)}).task
    assert (found.name, found.own_loss, found.metric.own) == ("regression", max, max)
    huber = replace(CLASSIFICATION, loss="huber")
    assert meant(data(np.arange(12) % 2, task=huber), {"net": (1,)}).task.loss == "huber"
    judged = meant(data(X, task=replace(CLASSIFICATION, metric=TASKS["regression"].metric)), {"net": (1, 4, 4)})
    assert judged.task.metric.name == "rmse"
    assert meant(data(X), {"net": (1, 4, 4)}, judged="mae").task.metric.name == "mae"


@pytest.mark.parametrize(
    ("targets", "answers", "told", "said"),
    [
        (np.arange(12) % 2, {"net": (1,)}, None, "give --task multi-label or --task regression"),
        (np.arange(12) % 2, {"a": (2,), "b": (3,)}, None, "the models answer in different shapes"),
        (np.arange(192).reshape(12, 4, 4) % 9, {"net": (3, 4, 4)}, None, "class number 8 and the model 3 classes"),
        (np.arange(12) % 3, {"net": (3,)}, "regression", "--task regression wants a number for each output"),
        (np.arange(12) % 3, {"net": (3,)}, "regresion", "--task 'regresion' is unknown; did you mean 'regression'"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(targets: Any, answers: Any, told: str | None, said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        meant(data(targets), answers, told)
    assert "\n" not in str(caught.value)
