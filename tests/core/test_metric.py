"""What answers are judged by: values by hand, in pieces as in one, errors that say how sure they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, r2_score

from chipfit.core.metric import ACCURACY, F1, IGNORED, IOU, MAE, PSNR, R2, RMSE, Metric, Scored

RNG = np.random.default_rng(0)


def scored(metric: Metric, answers: Any, targets: Any, axis: int = 1, pieces: int = 1) -> tuple[float, float]:
    taken = Scored(metric, axis)
    for rows in np.array_split(np.arange(len(answers)), pieces):
        taken.add(answers[rows], targets[rows])
    return taken.result()


def test_accuracy_is_the_share_of_right_answers_and_never_sure() -> None:
    logits, labels = np.eye(4)[[0, 1, 2, 3]], np.array([0, 1, 2, 0])
    value, error = scored(ACCURACY, logits, labels)
    assert value == 0.75
    p = 4 / 6  # one more right, one more wrong
    assert error == pytest.approx((p * (1 - p) / 6) ** 0.5)
    assert scored(ACCURACY, logits, np.arange(4))[1] > 0


def test_positions_that_are_not_to_be_counted_are_not() -> None:
    logits = np.moveaxis(np.eye(3)[[[0, 1], [2, 2]]], -1, 1)  # (2, 3, 2)
    assert scored(ACCURACY, logits, np.array([[0, 1], [2, IGNORED]]))[0] == 1.0
    assert scored(ACCURACY, logits, np.array([[0, 2], [2, IGNORED]]))[0] == pytest.approx(2 / 3)
    last = np.moveaxis(logits, 1, -1)
    assert scored(ACCURACY, last, np.array([[0, 2], [2, IGNORED]]), axis=-1)[0] == pytest.approx(2 / 3)


def test_overlap_is_the_mean_over_classes_that_occur() -> None:
    logits = np.moveaxis(np.eye(4)[[[0, 0, 1, 1]]], -1, 1)
    value, _ = scored(IOU, logits, np.array([[0, 1, 1, 1]]))
    assert value == pytest.approx((1 / 2 + 2 / 3) / 2), "classes 2 and 3 are in neither"
    assert scored(IOU, logits, np.array([[0, IGNORED, 1, 1]]))[0] == 1.0


def test_labels_errors_and_variances_are_those_of_scikit_learn() -> None:
    logits, labels = RNG.normal(size=(50, 6)), (RNG.random((50, 6)) < 0.3).astype(np.float32)
    assert scored(F1, logits, labels)[0] == pytest.approx(f1_score(labels, logits > 0, average="micro"))
    told, true = RNG.normal(size=(60, 2)).astype(np.float32), RNG.normal(size=(60, 2)).astype(np.float32)
    assert scored(RMSE, told, true)[0] == pytest.approx(float(((told - true) ** 2).mean() ** 0.5), rel=1e-6)
    assert scored(MAE, told, true)[0] == pytest.approx(float(np.abs(told - true).mean()), rel=1e-6)
    near = true + 0.1 * told
    want = r2_score(true, near, multioutput="variance_weighted")
    assert scored(R2, near, true)[0] == pytest.approx(want, rel=1e-5)


def test_a_signal_to_noise_ratio_is_of_the_range_of_the_values() -> None:
    true = RNG.random((4, 1, 8, 8))
    assert scored(PSNR, true + 0.1, true)[0] == pytest.approx(20.0)
    assert scored(Metric("psnr", True, "", peak=10.0), true + 0.1, true)[0] == pytest.approx(40.0)


@pytest.mark.parametrize("metric", [ACCURACY, IOU, F1, RMSE, MAE, R2, PSNR])
def test_pieces_give_what_the_whole_gives(metric: Metric) -> None:
    if metric in (ACCURACY, IOU):
        answers, targets = RNG.normal(size=(30, 4, 5)), RNG.integers(0, 4, (30, 5))
    else:
        answers, targets = RNG.normal(size=(30, 4)), (RNG.random((30, 4)) < 0.5).astype(np.float32)
    np.testing.assert_allclose(scored(metric, answers, targets, pieces=7), scored(metric, answers, targets), rtol=1e-9)


def test_the_error_is_that_of_drawing_other_inputs() -> None:
    def drawn(n: int) -> tuple[float, float]:
        true = RNG.normal(size=(n, 1))
        return scored(RMSE, true + RNG.normal(size=(n, 1)), true)

    values, errors = np.array([drawn(200) for _ in range(300)]).T
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)


def test_a_metric_of_the_users_own_gives_a_number_for_each_input_or_one_for_all() -> None:
    answers, targets = RNG.normal(size=(40, 2)), RNG.normal(size=(40, 2))
    each = Metric("own", False, "", own=lambda a, t: np.abs(a - t).max(1))
    value, error = scored(each, answers, targets, pieces=3)
    found = np.abs(answers - targets).max(1)
    assert value == pytest.approx(found.mean())
    assert error == pytest.approx(found.std(ddof=1) / 40**0.5)
    whole = Metric("own", False, "", own=lambda a, t: float(np.abs(a - t).max(1).mean()))
    value, error = scored(whole, answers, targets, pieces=3)
    assert value == pytest.approx(found.mean())
    assert error == pytest.approx(found.std(ddof=1) / 40**0.5, rel=0.5)


def test_values_are_ranked_and_weighed_by_their_direction() -> None:
    assert ACCURACY.rank(0.9) > ACCURACY.rank(0.8)
    assert RMSE.rank(0.1) > RMSE.rank(0.2)
    assert ACCURACY.worth(0.91) - ACCURACY.worth(0.9) == pytest.approx(0.01)
    assert RMSE.worth(1.0) - RMSE.worth(1.01) == pytest.approx(0.01, rel=0.01), "a per cent of an error is a point"
    ten_times = PSNR.worth(40.0) - PSNR.worth(20.0)
    assert ten_times == pytest.approx(RMSE.worth(0.01) - RMSE.worth(0.1))
