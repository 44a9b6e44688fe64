"""What training makes small: the task's loss against targets, and what draws answers towards a teacher's.

Squared errors are divided by the variance of the targets, so that rates and clipping mean the same whatever their unit.
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

TEMPERATURE = 2.0
"""Softening of teacher and student in the distillation term (Hinton et al. 2015)."""


def loss_of(task: Task, answers: Tensor, targets: Tensor | None, teacher: Tensor | None) -> Tensor:
    """The loss of a batch: against targets, against the teacher's answers, or half of each.

    Raises:
        ValueError: neither is there.
    """
    if teacher is None:
        if targets is None:
            raise ValueError("a loss needs targets or a teacher")
        return against_targets(task, answers, targets)
    towards = towards_teacher(task, answers, teacher)
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
    return _LOSSES[task.loss](task, answers, targets)


def towards_teacher(task: Task, answers: Tensor, teacher: Tensor) -> Tensor:
    """How far answers are from a teacher's: T²·KL of softened classes, KL of labels, the squared error of numbers."""
    if task.divergence == "bernoulli":
        sure = F.binary_cross_entropy_with_logits(teacher, torch.sigmoid(teacher))
        return F.binary_cross_entropy_with_logits(answers, torch.sigmoid(teacher)) - sure
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
    return F.binary_cross_entropy_with_logits(answers, targets.to(answers.dtype))


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
