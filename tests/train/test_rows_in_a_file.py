"""Training on rows that stay in a file is training on the rows themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from chipfit.core import data as core
from chipfit.core.data import Dataset, Split, in_file
from chipfit.data import limits
from chipfit.data.gather import gathered
from chipfit.data.load import load_data
from chipfit.train.distill import teach
from chipfit.train.loop import Schedule, accuracy, answered_at_once, as_tensor, train


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10))


def in_a_file(split: Split) -> Split:
    return Split(gathered([split.inputs]), split.targets)


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> tuple[Dataset, Dataset]:
    """Digits in memory, and in a file."""
    here = load_data("digits")
    monkeypatch.setattr(limits, "IN_MEMORY", 1000)
    there = replace(here, train=in_a_file(here.train), validation=in_a_file(here.validation))
    assert in_file(there.train.inputs) is not None
    return here, there


def test_the_same_network_comes_of_it(pair: tuple[Dataset, Dataset]) -> None:
    trained = []
    for dataset in pair:
        net = small_net()
        train(net, dataset, Schedule(steps=12, batch=64, peak=0.05), np.random.default_rng(0))
        trained.append((net, dataset))
    (a, here), (b, there) = trained
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        torch.testing.assert_close(p, q)
    assert accuracy(a, here, here.validation) == accuracy(b, there, there.validation)
    torch.testing.assert_close(teach(a, here, 2).logits, teach(b, there, 2).logits)


def test_the_rows_are_not_copied(pair: tuple[Dataset, Dataset]) -> None:
    here, there = pair
    assert as_tensor(there.train).data_ptr() == there.train.inputs.ctypes.data
    assert as_tensor(here.train).data_ptr() != here.train.inputs.ctypes.data


def test_accuracy_is_that_of_all_pieces(pair: tuple[Dataset, Dataset], monkeypatch: pytest.MonkeyPatch) -> None:
    net = small_net()
    whole = accuracy(net, pair[0], pair[0].validation)
    monkeypatch.setattr(core, "PIECE_BYTES", 4 * 64 * 30)
    assert accuracy(net, pair[1], pair[1].validation) == pytest.approx(whole, abs=0.011)  # a tie may fall otherwise


def test_large_inputs_are_answered_in_smaller_batches(pair: tuple[Dataset, Dataset]) -> None:
    assert answered_at_once(pair[0]) == 500
    large = replace(pair[0], train=Split(np.zeros((1, 3, 224, 224), np.uint8)))
    assert answered_at_once(large) == 40
