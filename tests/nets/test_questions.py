"""What a module is asked is what it takes: numbers of columns that each have a table of their own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from chipfit.core.data import Dataset, Split
from chipfit.nets.load import entry_of


class Columns(nn.Module):
    """Two columns of categories, twelve and five of them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Embedding(12, 6), nn.Embedding(5, 6), nn.Linear(12, 3)

    def forward(self, columns: Tensor) -> Tensor:
        return self.head(torch.cat([self.first(columns[:, 0]), self.second(columns[:, 1])], 1))


def test_columns_are_asked_within_what_the_data_have_in_each() -> None:
    rng = np.random.default_rng(0)
    rows = np.stack([rng.integers(0, 12, 64), rng.integers(0, 5, 64)], 1).astype(np.int64)
    part = Split(rows, np.arange(64) % 3)
    data = Dataset("table", ("a", "b", "c"), (0.0,), (1.0,), part, part, lambda: part)
    entry = entry_of("columns", "columns", Columns().eval(), (2,), data)
    assert entry.network.graph.ops[0].get("integer")
    assert entry.answers is not None
    assert entry.answers.inputs.max(0).tolist() <= [11, 4]
    assert entry.answers.inputs[:, 0].max() > 4
