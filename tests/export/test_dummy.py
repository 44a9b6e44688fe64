"""Weights of networks that are only timed give finite answers."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from chipfit.export.formats import timing_bytes
from chipfit.nets.trace import trace


class Rooted(nn.Module):
    """A root mean square norm by hand, whose constant keeps the root real, behind a table of words."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.gain, self.head = nn.Embedding(40, 48), nn.Parameter(torch.ones(48)), nn.Linear(48, 40)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids)
        return self.head(x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.gain)


def test_what_is_added_under_a_root_stays_above_zero() -> None:
    graph = trace(Rooted().eval(), (16,), whole=True).graph
    session = ort.InferenceSession(timing_bytes(graph, "onnx"))
    ids = np.random.default_rng(0).integers(0, 40, (1, 16))
    assert np.isfinite(session.run(None, {"input": ids})[0]).all()
