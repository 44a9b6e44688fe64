"""How far changed answers are from the original's, in nats, input by input: what damage is made of.

    kl         Σ p log(p / q) over the classes, mean over positions (pixels, tokens)
    bernoulli  the same of each yes-or-no label, summed over labels, mean over positions where there are many
    squared    (a - b)² / 2σ², mean over values: the KL divergence of two normal distributions around the answers

σ² is the variance of the original's answers over the inputs: what a network that always answers with the mean is off
by is half a nat, whatever the unit of the answers.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid

from chipfit.core.task import CLASSIFICATION, Task
from chipfit.nets.ending import as_logits

Floats = NDArray[np.float32]


def divergence(teacher: Floats, student: Floats, task: Task = CLASSIFICATION) -> float:
    """Mean over inputs of how far the student's answers (n, ...) are from the teacher's, in nats."""
    return float(divergences(teacher, student, task).mean())


def divergences(teacher: Floats, student: Floats, task: Task = CLASSIFICATION) -> NDArray[np.float64]:
    """The same of each input, (n,)."""
    a, b = (as_logits(torch.from_numpy(np.asarray(x)).double(), task) for x in (teacher, student))
    match task.divergence:
        case "kl":
            each = _of_classes(a, b, task.axis)
        case "bernoulli":
            each = _of_labels(a, b)
        case _:
            each = _of_numbers(a, b)
    found: NDArray[np.float64] = each.numpy()
    return found


def _of_classes(teacher: Tensor, student: Tensor, axis: int) -> Tensor:
    p, q = (torch.log_softmax(x, axis) for x in (teacher, student))
    at_each = (p.exp() * (p - q)).sum(axis)
    return at_each.flatten(1).mean(1) if at_each.ndim > 1 else at_each


def _of_labels(teacher: Tensor, student: Tensor) -> Tensor:
    """Of logits; labels (n, k) are summed, maps (n, ..., H, W) averaged over what lies behind the first axis."""
    p = torch.sigmoid(teacher)
    yes = p * (logsigmoid(teacher) - logsigmoid(student))
    no = (1 - p) * (logsigmoid(-teacher) - logsigmoid(-student))
    each = yes + no
    if each.ndim <= 2:
        return each.reshape(len(each), -1).sum(1)
    return each.flatten(2).mean(2).sum(1)


def _of_numbers(teacher: Tensor, student: Tensor) -> Tensor:
    spread = float(((teacher - teacher.mean(0)) ** 2).mean())
    if spread <= 0:  # one input, or one answer for all: their own size is the only scale there is
        spread = float((teacher**2).mean()) or 1.0
    return ((teacher - student) ** 2).reshape(len(teacher), -1).mean(1) / (2 * spread)
