"""Who is trained with AdamW, and that it moves what SGD leaves where it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from chipfit.core.data import Dataset, Split
from chipfit.core.graph import Network
from chipfit.nets.build import build
from chipfit.nets.trace import trace
from chipfit.train.jobs import Job, find_rate
from chipfit.train.loop import Schedule, accuracy, train
from chipfit.train.optimiser import ADAPTIVE_RATES, RATES, adaptive, is_adaptive, optimiser_of, rates
from compress.networks import network_of
from models.transformer_graph import transformer

WORDS, LENGTH = 200, 6


class Text(nn.Module):
    """The mean of what words mean."""

    def __init__(self) -> None:
        super().__init__()
        self.look, self.head = nn.Embedding(WORDS, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.head(self.look(x).mean(1))
        return answer


def text() -> Network:
    torch.manual_seed(0)
    return trace(Text().eval(), (LENGTH,), whole=True)


def data() -> Dataset:
    """Each word is for one of two classes; most words decide."""
    rng = np.random.default_rng(0)
    side, x = rng.integers(0, 2, WORDS), rng.integers(0, WORDS, (600, LENGTH))
    part = Split(x, (side[x].mean(1) > 0.5).astype(np.int64))
    return Dataset("words", ("a", "b"), (0.0,), (1.0,), part, part, lambda: part)


def test_networks_with_tables_of_words_or_layer_norms_are_trained_with_adamw() -> None:
    assert adaptive(text().graph)
    assert adaptive(transformer())
    assert rates(transformer()) == ADAPTIVE_RATES
    small = network_of("vgg6")
    assert not adaptive(small.graph)
    assert rates(small.graph) == RATES
    assert [is_adaptive(build(n)) for n in (text(), small)] == [True, False]
    assert [is_adaptive(n) for n in (Text(), nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))] == [True, False]


def test_its_decay_is_larger_where_rates_are_lower() -> None:
    parts: list[dict[str, object]] = [{"params": [nn.Parameter(torch.ones(2, 2))], "weight_decay": 1e-3}]
    sgd, adam = (optimiser_of(parts, 0.1, momentum=0.9, adaptively=how) for how in (False, True))
    assert isinstance(sgd, torch.optim.SGD)
    assert isinstance(adam, torch.optim.AdamW)
    assert (sgd.param_groups[0]["weight_decay"], adam.param_groups[0]["weight_decay"]) == (1e-3, pytest.approx(0.02))


def test_words_are_learnt_in_few_steps() -> None:
    """By SGD at the highest of its rates most words stay what they were."""
    net, schedule = text(), Schedule(steps=60, peak=0.0, batch=100)
    rate = find_rate(Job("text", net, schedule, 0), data(), None)
    assert rate in ADAPTIVE_RATES
    module = build(net)
    train(module, data(), Schedule(steps=150, peak=0.03, batch=100), np.random.default_rng(0))
    assert accuracy(module, data(), data().train) > 0.9
