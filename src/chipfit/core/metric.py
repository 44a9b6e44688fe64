"""What answers are judged by: a number with a name, a direction and a unit, read off answers and targets.

A metric is a function of sums over inputs: right answers and all of them, squared errors and their number. So a large
part is scored piece by piece, and the standard error is that of the jackknife over inputs, whose positions (pixels,
tokens, labels) hang together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
OwnFunction = Callable[[Any, Any], Any]
"""The user's own: (answers (n, ...), targets (n, ...)) to a number for each input (n,), or to one for all of them."""

IGNORED = -100
"""A class number that says "do not count this position", as torch's cross-entropy has it."""

BLOCKS = 20
"""Blocks of inputs whose scores tell the error of an own metric that gives one number for all inputs."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What quality is measured in.

    Args:
        name: as limits, rows and columns have it.
        larger: is better.
        words: what it is, for a reader.
        share: it lies between 0 and 1 and is shown in per cent.
        unit: behind the number, where it has one of its own.
        peak: the range of the values that are restored, for a signal-to-noise ratio.
        own: the user's function, where it is theirs.
    """

    name: str
    larger: bool
    words: str
    share: bool = False
    unit: str = ""
    peak: float = 1.0
    own: OwnFunction | None = field(default=None, compare=False, repr=False)

    @property
    def scale(self) -> float:
        """What a value is multiplied by before it is shown."""
        return 100.0 if self.share else 1.0

    @property
    def digits(self) -> str:
        """The format of a shown value."""
        return ".2f" if self.share else ".4g"

    @property
    def shown_unit(self) -> str:
        """Behind a shown number; empty where there is none."""
        return "%" if self.share else self.unit

    @property
    def title(self) -> str:
        """Its name with the unit: "accuracy, %"."""
        return f"{self.name}, {self.shown_unit}" if self.shown_unit else self.name

    def rank(self, value: float) -> float:
        """The value with a sign by which larger is better."""
        return value if self.larger else -value

    def worth(self, value: float) -> float:
        """A number by which networks are weighed against cost: .01 is a point of a share, or a per cent of an error.

        Errors count by their logarithm, and a ratio in decibels is one already: 20 dB are a factor of 10.
        """
        if self.name == PSNR.name:
            return value * math.log(10) / 20
        return value if self.larger else -math.log(max(value, 1e-12))

    def amount(self, value: float) -> str:
        """The value as a reader sees it.

        >>> ACCURACY.amount(0.9123), RMSE.amount(0.05231)
        ('91.23 %', '0.05231')
        """
        unit = f" {self.shown_unit}" if self.shown_unit else ""
        return f"{value * self.scale:{self.digits}}{unit}"


ACCURACY = Metric("accuracy", True, "share of right answers", share=True)
IOU = Metric("iou", True, "intersection over union, mean over the classes that occur", share=True)
F1 = Metric("f1", True, "F1 over all labels of all inputs (micro)", share=True)
RMSE = Metric("rmse", False, "root of the mean squared error")
MAE = Metric("mae", False, "mean absolute error")
R2 = Metric("r2", True, "share of the targets' variance that is explained", share=True)
PSNR = Metric("psnr", True, "peak signal over noise", unit="dB")

KNOWN: Mapping[str, Metric] = {m.name: m for m in (ACCURACY, IOU, F1, RMSE, MAE, R2, PSNR)}
"""Metrics by name; a user's own have other names."""


def sums(
    metric: Metric, answers: NDArray[Any], targets: NDArray[Any], axis: int = 1, threshold: float = 0.0
) -> Numbers:
    """What each input adds to the sums that a metric is made of, (n, k).

    `axis` of the answers holds classes; labels are told by answers above the `threshold`.
    """
    found = np.asarray(answers)
    if threshold and found.shape == np.shape(targets):
        found = found - threshold
    return _SUMS[metric.name](found, np.asarray(targets), axis)


def value_of(metric: Metric, total: Numbers) -> Numbers:
    """The metric of sums (..., k) over inputs."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if metric.name == PSNR.name:
            squared = total[..., 0] / total[..., 1]
            ratio: Numbers = 10 * np.log10(metric.peak**2 / np.maximum(squared, 1e-20))
            return ratio
        return _VALUES[metric.name](total)


def score(metric: Metric, rows: Numbers) -> tuple[float, float]:
    """(value, standard error) of a metric, from what each input adds to its sums, (n, k)."""
    total = rows.sum(0)
    value = float(value_of(metric, total))
    if metric.name == ACCURACY.name and bool((rows[:, 1] == 1).all()):
        return value, _error_of_share(value, len(rows))
    return value, _jackknife(metric, rows, total)


class Scored:
    """The score of answers that come in pieces.

    `axis` of the answers holds classes; labels are told by answers above the `threshold`.
    """

    def __init__(self, metric: Metric, axis: int = 1, threshold: float = 0.0) -> None:
        self.metric = metric
        self.axis = axis
        self.threshold = threshold
        self._rows: list[Numbers] = []
        self._whole: list[tuple[NDArray[Any], NDArray[Any]]] = []

    def add(self, answers: NDArray[Any], targets: NDArray[Any]) -> None:
        """Takes the answers (n, ...) to some inputs, and their targets (n, ...)."""
        if self.metric.own is not None:
            self._whole.append((answers, targets))
        else:
            self._rows.append(sums(self.metric, answers, targets, self.axis, self.threshold))

    def result(self) -> tuple[float, float]:
        """(value, standard error) over all that was added."""
        if self.metric.own is not None:
            answers, targets = (np.concatenate(parts) for parts in zip(*self._whole, strict=True))
            return score_own(self.metric, answers, targets)
        return score(self.metric, np.concatenate(self._rows))


def score_own(metric: Metric, answers: NDArray[Any], targets: NDArray[Any]) -> tuple[float, float]:
    """The same of the user's own metric, which sees all answers at once."""
    assert metric.own is not None
    found = np.asarray(metric.own(answers, targets), np.float64)
    if found.ndim == 1 and len(found) == len(answers):
        error = float(found.std(ddof=1) / math.sqrt(len(found))) if len(found) > 1 else 0.0
        return float(found.mean()), error
    blocks = np.array_split(np.arange(len(answers)), min(BLOCKS, len(answers)))
    parts = np.array([float(np.asarray(metric.own(answers[b], targets[b])).mean()) for b in blocks])
    return float(found.mean()), float(parts.std(ddof=1) / math.sqrt(len(parts))) if len(parts) > 1 else 0.0


def _error_of_share(share: float, n: int) -> float:
    """Standard error of a share of `n` answers, as if one more were right and one more wrong.

    So that three right ones of three are not taken for certainty (Agresti & Coull 1998, with one of each instead of
    two).
    """
    p = (share * n + 1) / (n + 2)
    return float((p * (1 - p) / (n + 2)) ** 0.5)


def _jackknife(metric: Metric, rows: Numbers, total: Numbers) -> float:
    """√((n - 1) / n · Σ (vᵢ - v̄)²), vᵢ being the metric without input i (Tukey 1958)."""
    n = len(rows)
    if n < 2:
        return 0.0
    without = value_of(metric, total - rows)
    without = without[np.isfinite(without)]
    return float(math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))) if len(without) > 1 else 0.0


# -- sums of each input, and the value of the sums ---------------------------------------------------------------------


def _classes(answers: NDArray[Any], axis: int) -> NDArray[np.intp]:
    likeliest: NDArray[np.intp] = answers.argmax(axis)
    return likeliest


def _flat(values: NDArray[Any]) -> NDArray[Any]:
    return values.reshape(len(values), -1)


def _right(answers: NDArray[Any], targets: NDArray[Any], axis: int) -> Numbers:
    """(right, counted) positions of each input; of several yes-or-no labels those that were told."""
    if answers.shape == targets.shape:
        hits, counted = _flat((answers > 0) == (targets > 0.5)), np.ones(_flat(targets).shape, bool)
    else:
        counted = _flat(targets != IGNORED)
        hits = _flat(_classes(answers, axis) == targets) & counted
    return np.stack([hits.sum(1), counted.sum(1)], 1).astype(np.float64)


def _overlaps(answers: NDArray[Any], targets: NDArray[Any], axis: int) -> Numbers:
    """Positions of each class in both, then in either: (n, 2 · classes)."""
    classes, told, true = answers.shape[axis], _flat(_classes(answers, axis)), _flat(targets)
    counted = true != IGNORED
    both, either = np.empty((len(true), classes)), np.empty((len(true), classes))
    for c in range(classes):
        mine, theirs = (told == c) & counted, true == c
        both[:, c], either[:, c] = (mine & theirs).sum(1), (mine | theirs).sum(1)
    return np.concatenate([both, either], 1)


def _labels(answers: NDArray[Any], targets: NDArray[Any], axis: int) -> Numbers:
    """(twice the true positives, all positives told and true) of each input."""
    told, true = _flat(answers > 0), _flat(targets > 0.5)
    return np.stack([2.0 * (told & true).sum(1), (told.sum(1) + true.sum(1)).astype(np.float64)], 1)


def _squared(answers: NDArray[Any], targets: NDArray[Any], axis: int) -> Numbers:
    """(squared errors, values) of each input."""
    errors = _flat(answers.astype(np.float64) - targets)
    return np.stack([(errors**2).sum(1), np.full(len(errors), float(errors.shape[1]))], 1)


def _absolute(answers: NDArray[Any], targets: NDArray[Any], axis: int) -> Numbers:
    """(absolute errors, values) of each input."""
    errors = np.abs(_flat(answers.astype(np.float64) - targets))
    return np.stack([errors.sum(1), np.full(len(errors), float(errors.shape[1]))], 1)


def _variances(answers: NDArray[Any], targets: NDArray[Any], axis: int) -> Numbers:
    """(squared errors, squared targets, 1, targets ...) of each input."""
    true = _flat(targets).astype(np.float64)
    errors = _flat(answers.astype(np.float64)) - true
    return np.concatenate([(errors**2).sum(1)[:, None], (true**2).sum(1)[:, None], np.ones((len(true), 1)), true], 1)


def _share(total: Numbers) -> Numbers:
    ratio: Numbers = total[..., 0] / total[..., 1]
    return ratio


def _root(total: Numbers) -> Numbers:
    root: Numbers = np.sqrt(np.maximum(total[..., 0], 0.0) / total[..., 1])
    return root


def _mean_overlap(total: Numbers) -> Numbers:
    both, either = np.split(total, 2, -1)
    there = either > 0
    found: Numbers = np.where(there, both / np.maximum(either, 1), 0.0).sum(-1) / np.maximum(there.sum(-1), 1)
    return found


def _explained(total: Numbers) -> Numbers:
    squared, n = total[..., 1], total[..., 2]
    variance = squared - (total[..., 3:] ** 2).sum(-1) / n
    explained: Numbers = 1 - total[..., 0] / variance
    return explained


_SUMS: Mapping[str, Callable[[NDArray[Any], NDArray[Any], int], Numbers]] = {
    "accuracy": _right, "iou": _overlaps, "f1": _labels, "rmse": _squared, "mae": _absolute, "r2": _variances,
    "psnr": _squared,
}  # fmt: skip
_VALUES: Mapping[str, Callable[[Numbers], Numbers]] = {
    "accuracy": _share, "iou": _mean_overlap, "f1": _share, "rmse": _root, "mae": _share, "r2": _explained,
}  # fmt: skip
