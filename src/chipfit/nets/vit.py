"""A vision transformer (Dosovitskiy et al. 2020): patches as tokens, a class token, learnt positions, norms before."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head self-attention over (n, tokens, width), queries, keys and values of one layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """What each token takes from the others."""
        n, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.out(y.transpose(1, 2).reshape(n, tokens, width))
        return out


class Block(nn.Module):
    """Attention and a feed-forward network, each on a normalised copy and added."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))

    def forward(self, x: Tensor) -> Tensor:
        """The tokens after the block."""
        x = x + self.attention(self.first(x))
        out: Tensor = x + self.feed(self.second(x))
        return out


class ViT(nn.Module):
    """A vision transformer for square pictures; the class token is classified.

    `left_out` is the share of patches that a training step does not see, others in each: steps are that much cheaper,
    and little is lost (Liu et al. 2023, "PatchDropout").
    """

    def __init__(
        self,
        patch: int = 4,
        depth: int = 6,
        width: int = 96,
        heads: int = 4,
        side: int = 28,
        channels: int = 1,
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, (side // patch) ** 2 + 1, width))
        self.blocks = nn.Sequential(*(Block(width, heads, 2 * width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        self.left_out = 0.0

    def forward(self, x: Tensor) -> Tensor:
        """(n, classes) logits."""
        y = self.patches(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.token.expand(len(y), -1, -1), y], 1) + self.positions
        if self.training and self.left_out:
            y = y[:, self._seen(y.shape[1])]
        logits: Tensor = self.head(self.norm(self.blocks(y))[:, 0])
        return logits

    def _seen(self, tokens: int) -> Tensor:
        """The class token and some patches, drawn."""
        kept = round((tokens - 1) * (1 - self.left_out))
        return torch.cat([torch.zeros(1, dtype=torch.long), 1 + torch.randperm(tokens - 1)[:kept].sort().values])
