"""Networks that end in a softmax or sigmoid are learnt, held against each other and judged like their logits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chipfit.core.task import TASKS
from chipfit.evaluate.divergence import divergences
from chipfit.nets.ending import as_logits, ends_in_probabilities
from chipfit.nets.trace import trace
from chipfit.train.losses import loss_of

ENDS = {"classification": lambda x: torch.softmax(x, 1), "multi-label": torch.sigmoid}
LOGITS = 4 * torch.randn(64, 5, generator=torch.Generator().manual_seed(0))
OTHERS = LOGITS + torch.randn(64, 5, generator=torch.Generator().manual_seed(1))
CLASSES = torch.arange(64) % 5
LABELS = (torch.arange(320).reshape(64, 5) % 3 > 0).float()


class Ended(nn.Module):
    def __init__(self, end: nn.Module) -> None:
        super().__init__()
        self.layer, self.end = nn.Linear(6, 5), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.layer(x)).reshape(-1, 5, 1).flatten(1)


@pytest.mark.parametrize(
    ("end", "found"),
    [
        (nn.Softmax(1), True),
        (nn.Sigmoid(), True),
        (nn.Identity(), False),
        (nn.Tanh(), False),
        (nn.LogSoftmax(1), False),
    ],
)
def test_the_end_is_seen_behind_views(end: nn.Module, found: bool) -> None:
    assert ends_in_probabilities(trace(Ended(end).eval(), (6,)).graph) == found


@pytest.mark.parametrize("name", ENDS)
def test_loss_divergence_and_score_are_those_of_the_logits(name: str) -> None:
    task = TASKS[name]
    likely, targets = replace(task, probabilities=True), CLASSES if name == "classification" else LABELS
    p, q = ENDS[name](LOGITS), ENDS[name](OTHERS)
    close = {"rtol": 1e-3, "atol": 1e-3}
    torch.testing.assert_close(loss_of(likely, q, targets, LOGITS), loss_of(task, OTHERS, targets, LOGITS), **close)
    torch.testing.assert_close(loss_of(likely, q, targets, None), loss_of(task, OTHERS, targets, None), **close)
    np.testing.assert_allclose(
        divergences(p.numpy(), q.numpy(), likely), divergences(LOGITS.numpy(), OTHERS.numpy(), task), **close
    )
    scores = []
    for of, answers in ((likely, q), (task, OTHERS)):
        scored = of.scored()
        scored.add(answers.numpy(), targets.numpy())
        scores.append(scored.result())
    assert scores[0] == scores[1]
    assert 0 < scores[0][0] < 1


@pytest.mark.parametrize("name", ENDS)
def test_certain_answers_have_finite_losses_and_gradients(name: str) -> None:
    task = replace(TASKS[name], probabilities=True)
    logits = (60 * LOGITS).requires_grad_()
    loss = loss_of(task, ENDS[name](logits), CLASSES if name == "classification" else LABELS, 60 * OTHERS)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    assert torch.isfinite(as_logits(torch.tensor([[0.0, 1.0]]), task)).all()
