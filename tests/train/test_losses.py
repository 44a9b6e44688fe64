"""What training makes small, for every task."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from chipfit.core.errors import BadInput
from chipfit.core.metric import IGNORED
from chipfit.core.task import CLASSIFICATION, TASKS
from chipfit.evaluate.divergence import divergence
from chipfit.train.losses import against_targets, loss_of, towards_teacher


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_classification_is_what_it_was() -> None:
    logits, teacher, labels = torch.randn(6, 4), torch.randn(6, 4), torch.arange(6) % 4
    soft = F.kl_div(
        F.log_softmax(logits / 2.0, 1), F.log_softmax(teacher / 2.0, 1), reduction="batchmean", log_target=True
    ) * 2.0**2  # fmt: skip
    hard = F.cross_entropy(logits, labels)
    assert torch.equal(loss_of(CLASSIFICATION, logits, labels, None), hard)
    assert torch.equal(loss_of(CLASSIFICATION, logits, None, teacher), soft)
    assert torch.equal(loss_of(CLASSIFICATION, logits, labels, teacher), 0.5 * hard + 0.5 * soft)


def test_positions_are_so_many_rows_and_those_to_be_ignored_none() -> None:
    logits, teacher, labels = torch.randn(3, 5, 4, 2), torch.randn(3, 5, 4, 2), torch.randint(0, 5, (3, 4, 2))
    flat, taught = (x.movedim(1, -1).reshape(-1, 5) for x in (logits, teacher))
    want = loss_of(CLASSIFICATION, flat, labels.reshape(-1), taught)
    assert torch.allclose(loss_of(TASKS["segmentation"], logits, labels, teacher), want)
    last = loss_of(TASKS["tokens"], logits.movedim(1, -1), labels, teacher.movedim(1, -1))
    assert torch.allclose(last, want)
    labels[0] = IGNORED
    want = F.cross_entropy(flat[8:], labels.reshape(-1)[8:])
    assert torch.allclose(against_targets(TASKS["segmentation"], logits, labels), want)


@pytest.mark.parametrize("loss", ["mse", "l1", "huber"])
def test_errors_of_numbers_mean_the_same_in_any_unit(loss: str) -> None:
    answers, targets = torch.randn(50, 2), torch.randn(50, 2)
    task = replace(TASKS["regression"], loss=loss)
    small = against_targets(task, answers, targets)
    large = against_targets(replace(task, scale=1e6), 1000 * answers, 1000 * targets)
    assert torch.allclose(small, large, rtol=1e-4)


@pytest.mark.parametrize("name", ["multi-label", "regression", "image", "segmentation", "tokens"])
def test_a_student_that_answers_like_its_teacher_has_nothing_to_learn(name: str) -> None:
    task = TASKS[name]
    answers = torch.randn(4, 3, 3, 3).requires_grad_()
    loss = towards_teacher(task, answers, answers.detach().clone())
    loss.backward()
    assert answers.grad is not None
    assert abs(loss.item()) < 1e-6
    assert float(answers.grad.abs().max()) < 1e-6


def test_labels_of_an_input_are_added_up_as_damage_has_them() -> None:
    logits, teacher = torch.randn(6, 8), torch.randn(6, 8)
    task = TASKS["multi-label"]
    towards = towards_teacher(task, logits, teacher)
    assert float(towards) == pytest.approx(divergence(teacher.numpy(), logits.numpy(), task), rel=1e-5)
    yes = (teacher > 0).long()
    each = F.binary_cross_entropy_with_logits(logits, yes.float(), reduction="none")
    assert torch.allclose(against_targets(task, logits, yes), each.sum(1).mean())
    masks = torch.randn(2, 1, 5, 5)
    want = F.binary_cross_entropy_with_logits(masks, (masks > 0).float())
    assert torch.allclose(against_targets(task, masks, masks[:, 0] > 0), want), "one label at each of many places"


def test_a_loss_of_the_users_own_takes_the_place_of_the_tasks() -> None:
    task = replace(TASKS["regression"], own_loss=lambda a, t: (a - t).abs().max())
    assert float(loss_of(task, torch.tensor([1.0, 4.0]), torch.tensor([1.0, 2.0]), None)) == 2.0
    with pytest.raises(BadInput, match=r"your loss returns a tensor of shape \(2,\); return one number"):
        against_targets(replace(task, own_loss=lambda a, t: a - t), torch.zeros(2), torch.zeros(2))
    with pytest.raises(BadInput, match="your loss returns a float"):
        against_targets(replace(task, own_loss=lambda a, t: 1.0), torch.zeros(2), torch.zeros(2))
