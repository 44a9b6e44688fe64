"""What training makes small: the task's loss against targets, and what draws answers towards a teacher's.

Squared errors are divided by the variance of the targets, so that rates and clipping mean the same whatever their unit.
Yes-or-no labels of an input are added up, as damage has them: in their mean, one wrong label of ten would weigh a tenth
of a wrong class, and rates that suit classes would be ten times too low.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from chipfit.core.errors import BadInput
from chipfit.core.metric import IGNORED
from chipfit.core.task import Task
from chipfit.nets.ending import as_logits

TEMPERATURE = 2.0
"""Softening of teacher and student in the distillation term (Hinton et al. 2015)."""


def loss_of(task: Task, answers: Tensor, targets: Tensor | None, teacher: Tensor | None) -> Tensor:
    """The loss of a batch: against targets, against the teacher's answers, or half of each.

    The teacher's are logits, also where a network answers with probabilities; only a loss of the user's own sees those.

    Raises:
        ValueError: neither is there.
    """
    if teacher is None:
        if targets is None:
            raise ValueError("a loss needs targets or a teacher")
        return against_targets(task, answers, targets)
    towards = towards_teacher(task, as_logits(answers, task), teacher)
    return towards if targets is None else 0.5 * against_targets(task, answers, targets) + 0.5 * towards


def against_targets(task: Task, answers: Tensor, targets: Tensor) -> Tensor:
    """The task's loss, or the user's own."""
    if task.own_loss is not None:
        loss: Any = task.own_loss(answers, targets)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            form = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
            raise BadInput(f"your loss returns {form}; return one number as a tensor, such as the mean over the batch")
        scalar: Tensor = loss.reshape(())
        return scalar
    return _LOSSES[task.loss](task, as_logits(answers, task), targets)


def towards_teacher(task: Task, answers: Tensor, teacher: Tensor) -> Tensor:
    """How far answers are from a teacher's: T²·KL of softened classes, KL of labels, the squared error of numbers."""
    if task.divergence == "bernoulli":
        chances = torch.sigmoid(teacher)
        return _of_labels(answers, chances) - _of_labels(teacher, chances)
    if task.divergence == "squared":
        return F.mse_loss(answers, teacher) / task.scale
    positions = answers.numel() // (len(answers) * answers.shape[task.axis])
    soft = F.kl_div(
        F.log_softmax(answers / TEMPERATURE, task.axis), F.log_softmax(teacher / TEMPERATURE, task.axis),
        reduction="batchmean", log_target=True,
    ) * TEMPERATURE**2  # fmt: skip
    return soft if positions == 1 else soft / positions


def _cross_entropy(task: Task, answers: Tensor, targets: Tensor) -> Tensor:
    classes_first = answers if task.axis == 1 else answers.movedim(task.axis, 1)
    return F.cross_entropy(classes_first, targets, ignore_index=IGNORED)


def _binary(task: Task, answers: Tensor, targets: Tensor) -> Tensor:
    return _of_labels(answers, targets.to(answers.dtype))


def _of_labels(answers: Tensor, chances: Tensor) -> Tensor:
    """Cross-entropy of logits (n, labels, ...) and chances of yes: summed over labels, mean over inputs and places."""
    labels = answers.shape[1] if answers.ndim > 1 else 1
    mean: Tensor = F.binary_cross_entropy_with_logits(answers, chances.reshape(answers.shape))
    return labels * mean


def _squared(task: Task, answers: Tensor, targets: Tensor) -> Tensor:
    return F.mse_loss(answers, targets) / task.scale


def _absolute(task: Task, answers: Tensor, targets: Tensor) -> Tensor:
    deviation: float = task.scale**0.5
    return F.l1_loss(answers, targets) / deviation


def _huber(task: Task, answers: Tensor, targets: Tensor) -> Tensor:
    """Quadratic within a standard deviation of the targets, and linear beyond."""
    deviation: float = task.scale**0.5
    loss: Tensor = F.huber_loss(answers / deviation, targets / deviation)
    return loss


_LOSSES: Mapping[str, Callable[[Task, Tensor, Tensor], Tensor]] = {
    "cross_entropy": _cross_entropy, "bce": _binary, "mse": _squared, "l1": _absolute, "huber": _huber,
}  # fmt: skip
