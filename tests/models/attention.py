"""Two small transformers as people write them: a ViT for 28x28 pictures, a BERT-like classifier of token numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chipfit.nets.vit import Block, ViT


class Bert(nn.Module):
    """An encoder of token numbers (n, T) with learnt positions, and a classifier on the first one."""

    def __init__(self, words: int = 500, length: int = 24, depth: int = 2, width: int = 64, heads: int = 4) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.positions = nn.Embedding(length, width)
        self.register_buffer("places", torch.arange(length)[None], persistent=False)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.Sequential(*(Block(width, heads, 2 * width) for _ in range(depth)))
        self.pool = nn.Linear(width, width)
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 4) logits."""
        y = self.norm(self.words(x) + self.positions(self.places))
        logits: Tensor = self.head(torch.tanh(self.pool(self.blocks(y)[:, 0])))
        return logits


def vit() -> nn.Module:
    """The ViT with weights of a fixed seed."""
    torch.manual_seed(0)
    return ViT().eval()


def bert() -> nn.Module:
    """The encoder with weights of a fixed seed."""
    torch.manual_seed(0)
    return Bert().eval()
