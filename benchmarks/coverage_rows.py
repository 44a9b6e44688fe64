"""A zoo for `coverage.py`: small networks for rows, words, graphs and several inputs, as people write them.

python benchmarks/coverage.py --zoo benchmarks/coverage_rows.py
"""

# ruff: noqa: D101  what a class is stands in the line above it

from __future__ import annotations

import math

import torch
from coverage_zoo import Zoo, conv, into
from torch import Tensor, nn
from torch.nn import functional as F

Z: Zoo = {}
network = into(Z)


@network("WaveNet: gated dilated convolutions, skips summed", 1, 128)
class WaveNet(nn.Module):
    """van den Oord et al. 2016, small."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 16, 1)
        self.filters = nn.ModuleList(nn.Conv1d(16, 16, 2, dilation=2**n) for n in range(4))
        self.gates = nn.ModuleList(nn.Conv1d(16, 16, 2, dilation=2**n) for n in range(4))
        self.skips = nn.ModuleList(nn.Conv1d(16, 16, 1) for _ in range(4))
        self.last = nn.Conv1d(16, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, total = self.first(x), None
        for n, (f, g, s) in enumerate(zip(self.filters, self.gates, self.skips, strict=True)):
            padded = F.pad(x, (2**n, 0))
            y = torch.tanh(f(padded)) * torch.sigmoid(g(padded))
            skip = s(y)
            total = skip if total is None else total + skip
            x = x + y
        return self.last(F.relu(total))


@network("Siamese: two pictures through one trunk, cosine", "left=3,24,24", "right=3,24,24")
class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(conv(3, 16), nn.MaxPool2d(2), conv(16, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return F.cosine_similarity(self.trunk(left), self.trunk(right)).unsqueeze(1)


@network("FiLM: features scaled and shifted by a second input", "image=3,24,24", "about=6")
class FiLM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.film = conv(3, 16), conv(16, 16), nn.Linear(6, 32)
        self.head = nn.Linear(16, 5)

    def forward(self, image: Tensor, about: Tensor) -> Tensor:
        gamma, beta = self.film(about).chunk(2, dim=1)
        x = self.first(image) * (1 + gamma[:, :, None, None]) + beta[..., None, None]
        return self.head(self.second(x).mean([2, 3]))


@network("GRU forecaster: last state, batch second inside", 20, 6)
class Forecaster(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(6, 16, 2), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        _, state = self.gru(x.transpose(0, 1))
        return self.head(state[-1])


@network("LSTM with attention over its steps", "words=12:int", "mask=12:int")
class AttendedLSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.rnn = nn.Embedding(50, 16, padding_idx=0), nn.LSTM(16, 16, batch_first=True)
        self.score, self.head = nn.Linear(16, 1), nn.Linear(16, 4)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        y, _ = self.rnn(self.words(words))
        scores = self.score(y).squeeze(-1).masked_fill(mask == 0, -1e9)
        return self.head(torch.bmm(F.softmax(scores, dim=1).unsqueeze(1), y).squeeze(1))


@network("transformer encoder with a mask of padding", "words=12:int", "padding_mask=12:int")
class PaddedEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(50, 32), nn.Parameter(torch.randn(1, 12, 32) * 0.02)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 4)

    def forward(self, words: Tensor, padding_mask: Tensor) -> Tensor:
        x = self.words(words) + self.places
        return self.head(self.encoder(x, src_key_padding_mask=padding_mask.bool()).mean(1))


@network("graph convolution on a dense adjacency", "nodes=10,6", "adjacency=10,10")
class GCN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 32), nn.Linear(32, 32), nn.Linear(32, 3)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        a = adjacency.abs() + torch.eye(10, device=nodes.device)
        scale = a.sum(-1).pow(-0.5)
        a = scale.unsqueeze(-1) * a * scale.unsqueeze(-2)
        x = F.relu(a @ self.first(nodes))
        return self.head(F.relu(torch.bmm(a, self.second(x))).mean(1))


@network("graph attention on a dense adjacency", "nodes=10,6", "adjacency=10,10")
class GAT(nn.Module):
    """Velickovic et al. 2018, as the widespread implementation has it."""

    def __init__(self) -> None:
        super().__init__()
        self.W, self.a = nn.Parameter(torch.randn(6, 16) * 0.3), nn.Parameter(torch.randn(32, 1) * 0.3)
        self.head = nn.Linear(16, 3)

    def forward(self, nodes: Tensor, adjacency: Tensor) -> Tensor:
        h = torch.matmul(nodes, self.W)
        scores = torch.matmul(h, self.a[:16]) + torch.matmul(h, self.a[16:]).transpose(1, 2)
        scores = F.leaky_relu(scores, 0.2)
        scores = torch.where(adjacency > 0, scores, -9e15 * torch.ones_like(scores))
        return self.head(F.elu(torch.matmul(F.softmax(scores, dim=2), h)).mean(1))


@network("NeRF: positions as sines, a skip, two answers joined", 6)
class NeRF(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(39, 64), nn.Linear(64 + 39, 64)
        self.density, self.colour = nn.Linear(64, 1), nn.Linear(64 + 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        place, view = torch.split(x, [3, 3], dim=-1)
        waves = [place]
        for n in range(6):
            waves += [torch.sin(2.0**n * place), torch.cos(2.0**n * place)]
        y = torch.cat(waves, -1)
        h = F.relu(self.second(torch.cat([F.relu(self.first(y)), y], -1)))
        return torch.cat([self.colour(torch.cat([h, view], -1)), self.density(h)], -1)


@network("SIREN", 2)
class Siren(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers, self.last = nn.ModuleList([nn.Linear(2, 64), nn.Linear(64, 64)]), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.sin(3.0 * layer(x))
        return self.last(x)


@network("N-BEATS: residual forecasts summed", 24)
class NBeats(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 32)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        forecast = torch.zeros(x.size(0), 8, device=x.device)
        for block in self.blocks:
            back, ahead = block(x).split([24, 8], dim=1)
            x, forecast = x - back, forecast + ahead
        return forecast


@network("actor and critic", 8)
class ActorCritic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.actor, self.critic = nn.Linear(64, 4), nn.Linear(64, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.shared(x)
        return F.softmax(self.actor(y), dim=-1), self.critic(y)


@network("wide and deep: columns of categories beside numbers", "kinds=4:int", "numbers=6")
class WideAndDeep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(n, 8) for n in (10, 12, 10, 11))
        self.norm = nn.BatchNorm1d(6)
        self.deep = nn.Sequential(nn.Linear(38, 64), nn.ReLU(), nn.BatchNorm1d(64), nn.Dropout(0.3), nn.Linear(64, 2))
        self.wide = nn.Linear(6, 2)

    def forward(self, kinds: Tensor, numbers: Tensor) -> Tensor:
        found = [table(kinds[:, n]) for n, table in enumerate(self.tables)]
        return self.deep(torch.cat([*found, self.norm(numbers)], 1)) + self.wide(numbers)


@network("matrix factorisation: a user and an item", "user=1:int", "item=1:int")
class Factors(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(20, 16), nn.Embedding(30, 16)
        self.head = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        u, i = self.users(user).squeeze(1), self.items(item).squeeze(1)
        return torch.sigmoid((u * i).sum(1) + self.head(torch.cat([u, i], dim=-1)).squeeze(-1))


@network("PointNet with a transform of its input", 3, 32)
class PointNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.transform = nn.Sequential(nn.Conv1d(3, 16, 1), nn.BatchNorm1d(16), nn.ReLU())
        self.matrix = nn.Linear(16, 9)
        self.body, self.head = nn.Sequential(nn.Conv1d(3, 32, 1), nn.BatchNorm1d(32), nn.ReLU()), nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        t = torch.max(self.transform(x), 2, keepdim=True)[0].view(-1, 16)
        identity = torch.eye(3).flatten().view(1, 9).repeat(x.size(0), 1)
        matrix = (self.matrix(t) + identity).view(-1, 3, 3)
        x = torch.bmm(x.transpose(2, 1), matrix).transpose(2, 1)
        return self.head(torch.max(self.body(x), 2)[0])


@network("distances of atoms: a SchNet-like filter", 6, 3)
class Distances(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(0, 4, 16))
        self.filter, self.head = nn.Sequential(nn.Linear(16, 32), nn.Softplus(), nn.Linear(32, 8)), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        apart = (x[:, :, None] - x[:, None]).pow(2).sum(-1).add(1e-6).sqrt()
        waves = torch.exp(-10 * (apart.unsqueeze(-1) - self.centres) ** 2)
        return self.head(self.filter(waves).sum(2)).sum(1)


@network("DCGAN: a generator from noise", 16)
class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.ConvTranspose2d(16, 32, 4, 1, 0, bias=False), nn.BatchNorm2d(32), nn.ReLU(True),
            nn.ConvTranspose2d(32, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(True),
            nn.ConvTranspose2d(16, 3, 4, 2, 1, bias=False), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z[:, :, None, None])


@network("mixture of experts, softly gated", 16)
class Experts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(16, 4)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8)) for _ in range(4))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        shares = F.softmax(self.gate(x), dim=-1)
        made = torch.stack([expert(x) for expert in self.experts], dim=1)
        return self.head(torch.einsum("be,bed->bd", shares, made))


@network("a language model with rotary positions and SwiGLU", 12)
class Rotary(nn.Module):
    """A block of LLaMA as tutorials write it, on words that come as floats."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.norm = nn.Embedding(40, 32), nn.RMSNorm(32)
        self.qkv, self.out = nn.Linear(32, 96, bias=False), nn.Linear(32, 32, bias=False)
        self.gate, self.up, self.down = nn.Linear(32, 64), nn.Linear(32, 64), nn.Linear(64, 32)

    def turned(self, x: Tensor) -> Tensor:
        angles = torch.outer(torch.arange(12), 1.0 / (10000 ** (torch.arange(0, 8, 2).float() / 8)))
        both = torch.cat([angles, angles], -1)
        half = torch.cat([-x[..., 4:], x[..., :4]], dim=-1)
        return x * both.cos() + half * both.sin()

    def forward(self, x: Tensor) -> Tensor:
        h = self.words(x.long())
        q, k, v = self.qkv(self.norm(h)).view(-1, 12, 3, 4, 8).permute(2, 0, 3, 1, 4)
        q, k = self.turned(q), self.turned(k)
        scores = q @ k.transpose(-2, -1) / math.sqrt(8)
        seen = torch.tril(torch.ones(12, 12)).view(1, 1, 12, 12)
        scores = scores.masked_fill(seen == 0, float("-inf"))
        h = h + self.out((F.softmax(scores, -1) @ v).transpose(1, 2).contiguous().view(-1, 12, 32))
        h = h + self.down(F.silu(self.gate(h)) * self.up(h))
        return self.norm(h) @ self.words.weight.t()


@network("a loop of convolutional LSTM cells", 5, 1, 12, 12)
class ConvLSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gates, self.head = nn.Conv2d(9, 32, 3, padding=1), nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(x.size(0), 8, 12, 12)
        c = torch.zeros_like(h)
        for step in range(x.size(1)):
            i, f, o, g = self.gates(torch.cat([x[:, step], h], dim=1)).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.head(h)


@network("a selective scan in a loop: Mamba, by hand", 8, 6)
class Scan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.mix, self.out = nn.Linear(6, 16), nn.Linear(16, 24), nn.Linear(16, 3)
        self.log_a = nn.Parameter(torch.log(torch.arange(1, 5).float()).repeat(16, 1))

    def forward(self, x: Tensor) -> Tensor:
        u = F.silu(self.inner(x))
        step, b, c = self.mix(u).split([16, 4, 4], dim=-1)
        step, a = F.softplus(step), -torch.exp(self.log_a)
        state, made = torch.zeros(x.size(0), 16, 4), []
        for t in range(x.size(1)):
            decay = torch.exp(step[:, t, :, None] * a)
            state = decay * state + step[:, t, :, None] * b[:, t, None] * u[:, t, :, None]
            made.append((state * c[:, t, None]).sum(-1))
        return self.out(torch.stack(made, dim=1)).mean(1)


@network("text and picture together, contrasted", "image=3,24,24", "ids=8:int", "attention_mask=8:int")
class Together(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(conv(3, 16), nn.MaxPool2d(2), conv(16, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.words, self.seen, self.read = nn.Embedding(40, 24), nn.Linear(32, 16), nn.Linear(24, 16)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, image: Tensor, ids: Tensor, attention_mask: Tensor) -> Tensor:
        counts = attention_mask.unsqueeze(-1).to(torch.float32)
        text = (self.words(ids) * counts).sum(1) / counts.sum(1).clamp(min=1e-9)
        a, b = F.normalize(self.seen(self.trunk(image)), dim=-1), F.normalize(self.read(text), dim=-1)
        return self.scale.exp() * (a * b).sum(-1, keepdim=True)
