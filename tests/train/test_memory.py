"""Where memory is too small for a batch it is cut, and the gradients stay those of the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from chipfit.core.data import Dataset
from chipfit.data.load import load_data
from chipfit.nets.trace import trace
from chipfit.train import loop
from chipfit.train.jobs import Job, train_job
from chipfit.train.loop import Schedule, logits_of, train
from chipfit.train.memory import Pieces, in_halves
from recipes import small


class Cramped(nn.Module):
    """A linear network that cannot take more than `most` inputs at once."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.layer = most, nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        out: Tensor = self.layer(x.flatten(1))
        return out


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data("digits")


@pytest.fixture(autouse=True)
def _in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16, where it is native, rounds sums of pieces otherwise than those of the whole."""
    monkeypatch.setattr(loop, "fast_bf16", lambda: False)


def trained(digits: Dataset, most: int) -> tuple[nn.Module, int]:
    torch.manual_seed(0)
    net, pieces = Cramped(most), Pieces()
    train(net, digits, Schedule(30, 0.05, batch=64), np.random.default_rng(0), pieces=pieces)
    return net, pieces.count


@pytest.mark.parametrize(("most", "pieces"), [(64, 1), (63, 2), (20, 4), (1, 64)])
def test_pieces_give_the_gradients_of_the_whole(digits: Dataset, most: int, pieces: int) -> None:
    whole, cut = trained(digits, 1000)[0], trained(digits, most)
    assert cut[1] == pieces
    for a, b in zip(whole.parameters(), cut[0].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_memory_for_less_than_one_input_is_an_error(digits: Dataset) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        trained(digits, 0)


def test_answers_are_the_same_in_halves(digits: Dataset) -> None:
    torch.manual_seed(0)
    net, inputs = Cramped(1000), torch.from_numpy(np.array(digits.validation.inputs[:101]))
    whole = logits_of(net, digits, inputs)
    net.most = 7
    torch.testing.assert_close(logits_of(net, digits, inputs), whole, rtol=1e-4, atol=1e-5)
    with pytest.raises(torch.OutOfMemoryError):
        in_halves(Cramped(0), torch.zeros(3, 64))


def test_a_finished_job_tells_that_nothing_was_cut(digits: Dataset) -> None:
    job = Job("a", trace(small.plain().eval(), digits.input_shape), Schedule(3, 0.05, batch=16), 0)
    assert train_job(job, digits, None).pieces == 1
