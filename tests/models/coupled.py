"""A transformer small enough to look at, with attention as people write it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, HEADS = 24, 3


class Packed(nn.Module):
    """Queries, keys and values of one dense layer, as timm has them."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, HEADS, c // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.proj(y.transpose(1, 2).reshape(b, n, c))


class ByHand(nn.Module):
    """Three dense layers, views, two products and a softmax, with a bias for each head and pair of positions."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.proj = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.bias = nn.Parameter(torch.randn(HEADS, tokens, tokens))

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        q, k, v = (f(x).view(b, n, HEADS, c // HEADS).transpose(1, 2) for f in (self.q, self.k, self.v))
        scores = q @ k.transpose(-2, -1) / (c // HEADS) ** 0.5 + self.bias
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, c))


class Block(nn.Module):
    """Attention and a dense block, each with a norm before it and a shortcut beside it; or behind, as in BERT."""

    def __init__(self, attention: nn.Module, *, behind: bool = False) -> None:
        super().__init__()
        self.attention, self.behind = attention, behind
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def dense(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))

    def forward(self, x: Tensor) -> Tensor:
        if self.behind:
            x = self.norm1(x + self.attention(x))
            return self.norm2(x + self.dense(x))
        x = x + self.attention(self.norm1(x))
        return x + self.dense(self.norm2(x))


class Vit(nn.Module):
    """Patches of 4, a class token and positions; half of the blocks by hand, the other half packed."""

    def __init__(self, *, behind: bool = False) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, WIDTH, 4, 4)
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, WIDTH)), nn.Parameter(torch.randn(1, 17, WIDTH))
        self.blocks = nn.ModuleList(Block(a, behind=behind) for a in (Packed(), ByHand(17)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.token.expand(len(x), -1, -1), y], 1) + self.positions
        for block in self.blocks:
            y = block(y)
        return self.head(self.norm(y)[:, 0])
