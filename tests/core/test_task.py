"""The task that is seen in targets and answers, and the flag that is named where several may be."""

from __future__ import annotations

import numpy as np
import pytest

from chipfit.core.errors import BadInput
from chipfit.core.task import CLASSIFICATION, TASKS, Seen, check_targets, seen, seen_in

N = 6
REAL = np.linspace(0.1, 1.9, N)


def whole(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.arange(N * int(np.prod(shape))).reshape(N, *shape) % 5


@pytest.mark.parametrize(
    ("targets", "answers", "name"),
    [
        (whole(), (5,), "classification"),
        (whole() % 2, (2,), "classification"),
        (np.eye(3)[whole() % 3], (3,), "classification"),  # one-hot
        (np.array([[1, 0], [1, 1], [0, 0]]), (2,), "multi-label"),
        (whole(3) % 2, (3,), "multi-label"),
        (whole(8, 8) % 2, (1, 8, 8), "multi-label"),
        (REAL, (), "regression"),
        (REAL, (1,), "regression"),
        (REAL[:, None], (), "regression"),
        (whole(), (1,), "regression"),
        (np.repeat(REAL[:, None], 3, 1), (3,), "regression"),
        (whole(3), (3,), "regression"),
        (whole(8, 9), (5, 8, 9), "segmentation"),
        (whole(12), (5, 12), "segmentation"),
        (whole(12), (12, 5), "tokens"),
        (np.repeat(REAL[:, None, None, None], 4, 1), (4, 1, 1), "image"),
    ],
)
def test_a_task_is_seen_in_targets_beside_answers(targets: np.ndarray, answers: tuple[int, ...], name: str) -> None:
    looks = seen(targets)
    assert seen_in(looks, answers, "data").name == name
    check_targets(TASKS[name], looks, answers, "data")


@pytest.mark.parametrize(
    ("targets", "answers", "said"),
    [
        (whole() % 2, (1,), "--task multi-label or --task regression"),
        (whole(5), (5, 5), "--task segmentation or --task tokens"),
        (whole(), (5, 8, 8), "which no task has; give targets of one class a row"),
        (REAL, (3,), r"targets of shape \(n,\) and the model answers \(n, 3\), which no task has"),
    ],
)
def test_what_may_be_several_or_none_is_told_with_the_flag(
    targets: np.ndarray, answers: tuple[int, ...], said: str
) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        seen_in(seen(targets), answers, "data 'mine'")
    assert "\n" not in str(caught.value)


def test_a_loss_narrows_down_what_may_be_meant() -> None:
    looks = seen(whole() % 2)
    assert seen_in(looks, (1,), "data", ("multi-label",)).name == "multi-label"
    assert seen_in(looks, (1,), "data", ("regression", "image")).name == "regression"


@pytest.mark.parametrize(
    ("name", "looks", "answers", "said"),
    [
        ("classification", Seen((3,), False), (3,), "wants one class number a row"),
        ("segmentation", Seen((8, 8), True), (5, 4, 4), r"wants class numbers \(n, H, W\)"),
        ("tokens", Seen((7,), True), (5, 7), r"wants class numbers \(n, T\)"),
        ("multi-label", Seen((3,), True, False), (3,), "wants 0 or 1 for each output"),
        ("regression", Seen((2,), False), (3,), "wants a number for each output"),
    ],
)
def test_targets_that_are_not_what_a_told_task_needs_are_refused(
    name: str, looks: Seen, answers: tuple[int, ...], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        check_targets(TASKS[name], looks, answers, "data")


def test_a_task_is_judged_by_its_own_metrics_alone() -> None:
    assert TASKS["segmentation"].judged_by("accuracy").metric.name == "accuracy"
    assert TASKS["regression"].judged_by("mae").metric.larger is False
    with pytest.raises(BadInput, match="metric 'rmse' is none of classification; it is judged by one of accuracy"):
        CLASSIFICATION.judged_by("rmse")
