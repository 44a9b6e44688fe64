"""A zoo for `coverage.py`: small networks for pictures as people write them, each with what it is known for.

python benchmarks/coverage.py --zoo benchmarks/coverage_pictures.py
"""

# ruff: noqa: D101  what a class is stands in the line above it

from __future__ import annotations

import torch
from coverage_zoo import Zoo, conv, into
from torch import Tensor, nn
from torch.nn import functional as F

Z: Zoo = {}
network = into(Z)


class Squeeze(nn.Module):
    """Squeeze and excitation as many write it, with a view and expand_as."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(nn.Linear(channels, channels // 4), nn.ReLU(), nn.Linear(channels // 4, channels))

    def forward(self, x: Tensor) -> Tensor:
        b, c, _, _ = x.size()
        y = torch.sigmoid(self.fc(self.pool(x).view(b, c))).view(b, c, 1, 1)
        return x * y.expand_as(x)


class ECA(nn.Module):
    """Attention over channels by a convolution along them (Wang et al. 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.adaptive_avg_pool2d(x, 1)
        y = self.conv(y.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return x * y.sigmoid()


class CBAM(nn.Module):
    """Attention over channels, then over places (Woo et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Conv2d(channels, 4, 1), nn.ReLU(), nn.Conv2d(4, channels, 1))
        self.place = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        x = x * torch.sigmoid(self.mlp(F.adaptive_avg_pool2d(x, 1)) + self.mlp(F.adaptive_max_pool2d(x, 1)))
        both = torch.cat([torch.max(x, 1)[0].unsqueeze(1), torch.mean(x, 1).unsqueeze(1)], dim=1)
        return x * torch.sigmoid(self.place(both))


class SimAM(nn.Module):
    """Attention without parameters (Yang et al. 2021)."""

    def forward(self, x: Tensor) -> Tensor:
        _, _, h, w = x.size()
        apart = (x - x.mean(dim=[2, 3], keepdim=True)).pow(2)
        y = apart / (4 * (apart.sum(dim=[2, 3], keepdim=True) / (h * w - 1) + 1e-4)) + 0.5
        return x * torch.sigmoid(y)


class Coordinate(nn.Module):
    """Attention by rows and by columns (Hou et al. 2021)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.rows, self.columns = conv(channels, 8, 1), nn.Conv2d(8, channels, 1), nn.Conv2d(8, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        _, _, h, w = x.shape
        rows, columns = x.mean(3, keepdim=True), x.mean(2, keepdim=True).permute(0, 1, 3, 2)
        y = self.first(torch.cat([rows, columns], dim=2))
        up, across = torch.split(y, [h, w], dim=2)
        return x * self.rows(up).sigmoid() * self.columns(across.permute(0, 1, 3, 2)).sigmoid()


@network("attentions of maps: SE, ECA, CBAM, SimAM, coordinates", 3, 24, 24)
class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(3, 16), Squeeze(16), conv(16, 16), ECA(), conv(16, 16), CBAM(16), conv(16, 16), SimAM(),
            conv(16, 16), Coordinate(16),
        )  # fmt: skip
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.flatten(F.adaptive_avg_pool2d(self.body(x), (1, 1)), 1))


@network("attention U-Net, sizes made equal by padding", 1, 36, 36)
class AttentionUNet(nn.Module):
    """Oktay et al. 2018, with the padding that GitHub's U-Nets have."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = conv(1, 16), conv(16, 32)
        self.up = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.gate_x, self.gate_g, self.gate = nn.Conv2d(16, 8, 1), nn.Conv2d(16, 8, 1), nn.Conv2d(8, 1, 1)
        self.join, self.out = conv(32, 16), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down(x)
        b = self.up(self.deep(F.max_pool2d(a, 2)))
        dy, dx = a.size()[2] - b.size()[2], a.size()[3] - b.size()[3]
        b = F.pad(b, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        seen = torch.sigmoid(self.gate(F.relu(self.gate_x(a) + self.gate_g(b))))
        return self.out(self.join(torch.cat([a * seen, b], dim=1)))


@network("U-Net++ with deep supervision", 1, 32, 32)
class NestedUNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a0, self.b0, self.c0 = conv(1, 8), conv(8, 16), conv(16, 32)
        self.a1, self.b1, self.a2 = conv(24, 8), conv(48, 16), conv(32, 8)
        self.out1, self.aux_out = nn.Conv2d(8, 2, 1), nn.Conv2d(8, 2, 1)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a0 = self.a0(x)
        b0 = self.b0(F.max_pool2d(a0, 2))
        c0 = self.c0(F.max_pool2d(b0, 2))
        a1 = self.a1(torch.cat([a0, self.up(b0)], 1))
        b1 = self.b1(torch.cat([b0, self.up(c0)], 1))
        a2 = self.a2(torch.cat([a0, a1, self.up(b1)], 1))
        return self.out1(a2), self.aux_out(a1)


@network("stacked hourglass: a list of maps", 3, 32, 32)
class Hourglass(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 16, stride=2)
        self.downs = nn.ModuleList(conv(16, 16) for _ in range(2))
        self.heads = nn.ModuleList(nn.Conv2d(16, 4, 1) for _ in range(2))
        self.back = nn.ModuleList(nn.Conv2d(4, 16, 1) for _ in range(2))

    def forward(self, x: Tensor) -> list[Tensor]:
        x, made = self.stem(x), []
        for down, head, back in zip(self.downs, self.heads, self.back, strict=True):
            low = down(F.avg_pool2d(x, 2))
            y = x + F.interpolate(low, scale_factor=2, mode="nearest")
            made.append(head(y))
            x = x + y + back(made[-1])
        return made


@network("variational autoencoder: picture, mean, variance", 1, 28, 28)
class VAE(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.mean, self.variance = nn.Linear(784, 64), nn.Linear(64, 8), nn.Linear(64, 8)
        self.fc3, self.fc4 = nn.Linear(8, 64), nn.Linear(64, 784)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = F.relu(self.fc1(x.view(-1, 784)))
        mean, variance = self.mean(h), self.variance(h)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * variance) if self.training else mean
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z)))), mean, variance


@network("keyword spotting: DS-CNN on spectra", 1, 49, 10)
class DSCNN(nn.Module):
    """Zhang et al. 2017."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 16, (10, 4), (2, 2), (5, 1)), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.Sequential(*(nn.Sequential(conv(16, 16, groups=16), conv(16, 16, 1)) for _ in range(3)))
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(16, 12)

    def forward(self, x: Tensor) -> Tensor:
        y = self.blocks(self.first(x))
        return self.head(self.drop(F.avg_pool2d(y, y.shape[2:]).view(y.size(0), -1)))


@network("CRNN: convolutions, then an LSTM over columns", 1, 32, 64)
class CRNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cnn = nn.Sequential(conv(1, 16), nn.MaxPool2d(2), conv(16, 32), nn.MaxPool2d((4, 2)))
        self.rnn, self.head = nn.LSTM(128, 16, bidirectional=True, batch_first=True), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.cnn(x).permute(0, 3, 1, 2).flatten(2)
        return self.head(self.rnn(y)[0])


@network("MLP-Mixer, by hand", 3, 32, 32)
class Mixer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 32, 8, 8)
        self.norm1, self.norm2 = nn.LayerNorm(32), nn.LayerNorm(32)
        self.tokens = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.channels = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 32))
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return self.head((x + self.channels(self.norm2(x))).mean(dim=1))


@network("capsules with routing by agreement", 1, 20, 20)
class Capsules(nn.Module):
    """Sabour et al. 2017, small: squashing, and three rounds of routing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.primary = nn.Conv2d(1, 16, 5), nn.Conv2d(16, 16, 5, 4)
        self.weight = nn.Parameter(torch.randn(1, 32, 5, 8, 8) * 0.1)

    @staticmethod
    def squash(x: Tensor) -> Tensor:
        length = x.pow(2).sum(-1, keepdim=True)
        return length / (1 + length) * x / torch.sqrt(length + 1e-8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.primary(F.relu(self.conv(x)))
        seen = self.squash(y.view(x.size(0), -1, 8))[:, :, None, :, None]
        votes = torch.matmul(self.weight[:, :18], seen).squeeze(-1)
        logits = torch.zeros(x.size(0), 18, 5, device=x.device)
        for _ in range(3):
            shares = F.softmax(logits, dim=2).unsqueeze(-1)
            out = self.squash((shares * votes).sum(dim=1, keepdim=True))
            logits = logits + (votes * out).sum(-1)
        return out.squeeze(1).norm(dim=-1)


@network("dueling DQN", 4, 42, 42)
class Dueling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(4, 16, 8, 4), nn.ReLU(), nn.Conv2d(16, 32, 4, 2), nn.ReLU(), nn.Flatten())
        self.value = nn.Sequential(nn.Linear(288, 64), nn.ReLU(), nn.Linear(64, 1))
        self.advantage = nn.Sequential(nn.Linear(288, 64), nn.ReLU(), nn.Linear(64, 6))

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x.float() / 256)
        value, advantage = self.value(y), self.advantage(y)
        return value + advantage - advantage.mean(1, keepdim=True)


@network("spatial transformer", 1, 28, 28)
class SpatialTransformer(nn.Module):
    """The tutorial's: affine_grid and grid_sample."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Sequential(nn.Conv2d(1, 8, 7), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(968, 6))
        self.body, self.head = conv(1, 16), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        theta = self.place(x).view(-1, 2, 3) * 0.1 + torch.eye(2, 3)
        x = F.grid_sample(x, F.affine_grid(theta, x.size(), align_corners=False), align_corners=False)
        return F.log_softmax(self.head(self.body(x).mean((2, 3))), dim=1)


@network("masked convolutions: PixelCNN", 1, 16, 16)
class PixelCNN(nn.Module):
    class Masked(nn.Conv2d):
        """A convolution that sees what is above and to the left."""

        def __init__(self, kind: str, inner: int, outer: int) -> None:
            super().__init__(inner, outer, 5, padding=2)
            mask = torch.ones_like(self.weight)
            mask[:, :, 2, 2 + (kind == "B") :] = 0
            mask[:, :, 3:] = 0
            self.register_buffer("mask", mask)

        def forward(self, x: Tensor) -> Tensor:
            self.weight.data *= self.mask
            return super().forward(x)

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.out = self.Masked("A", 1, 16), self.Masked("B", 16, 16), nn.Conv2d(16, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.relu(self.second(F.relu(self.first(x)))))


@network("EDSR: residual super-resolution", 3, 16, 16)
class EDSR(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(True), nn.Conv2d(16, 16, 3, padding=1))
            for _ in range(2)
        )
        self.up = nn.Sequential(nn.Conv2d(16, 64, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(16, 3, 3, padding=1))
        self.register_buffer("mean", torch.tensor([0.44, 0.43, 0.4]).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = y = self.first((x - self.mean) * 255.0)
        for block in self.blocks:
            y = y + block(y).mul(0.1)
        return self.up(x + y) / 255.0 + self.mean


@network("CenterNet: a dict of maps", 3, 32, 32)
class CenterNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, 16, stride=2), conv(16, 32))
        self.heads = nn.ModuleDict({k: nn.Conv2d(32, n, 1) for k, n in {"hm": 4, "wh": 2, "reg": 2}.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = self.body(x)
        return {k: torch.clamp(head(y).sigmoid(), 1e-4, 1 - 1e-4) for k, head in self.heads.items()}


@network("style transfer: reflection, instance norm, upsampling", 3, 32, 32)
class Style(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.ReflectionPad2d(4), nn.Conv2d(3, 16, 9), nn.InstanceNorm2d(16, affine=True), nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(16, 32, 3, 2), nn.InstanceNorm2d(32, affine=True), nn.ReLU(),
        )  # fmt: skip
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1), nn.Conv2d(32, 16, 3), nn.InstanceNorm2d(16), nn.ReLU(),
            nn.ReflectionPad2d(4), nn.Conv2d(16, 3, 9), nn.Tanh(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return (self.up(self.down(x)) + 1) * 127.5


@network("convolutions chosen by the input: CondConv", 3, 16, 16)
class CondConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.route, self.head = conv(3, 8), nn.Linear(8, 4), nn.Linear(8, 5)
        self.experts = nn.Parameter(torch.randn(4, 8, 8, 3, 3) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        n, c, h, w = x.shape
        shares = torch.sigmoid(self.route(x.mean((2, 3))))
        kernel = torch.einsum("be,eoihw->boihw", shares, self.experts).reshape(n * 8, c, 3, 3)
        y = F.conv2d(x.reshape(1, n * c, h, w), kernel, padding=1, groups=n).reshape(n, 8, h, w)
        return self.head(F.relu(y).mean((2, 3)))


@network("local response norms and overlapping pools: AlexNet's", 3, 64, 64)
class Responses(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 11, 4, 2), nn.Conv2d(16, 32, 5, padding=2, groups=2)
        self.norm, self.head = nn.LocalResponseNorm(5, 1e-4, 0.75, 2), nn.Linear(32 * 9, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.norm(F.relu(self.first(x))), 3, 2)
        return self.head(F.max_pool2d(self.norm(F.relu(self.second(x))), 3, 2).flatten(1))


@network("octave convolution: two resolutions in one", 3, 32, 32)
class Octave(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.high, self.low = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.hh, self.hl = nn.Conv2d(12, 12, 3, padding=1), nn.Conv2d(12, 4, 3, padding=1)
        self.lh, self.ll, self.head = nn.Conv2d(4, 12, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        high, low = F.relu(self.high(x)), F.relu(self.low(F.avg_pool2d(x, 2)))
        up = F.interpolate(self.lh(low), scale_factor=2.0, mode="nearest")
        high, low = self.hh(high) + up, self.ll(low) + self.hl(F.avg_pool2d(high, 2))
        return self.head(torch.cat([F.relu(high).mean((2, 3)), F.relu(low).mean((2, 3))], 1))


@network("involution: kernels made of the map", 8, 12, 12)
class Involution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.kernel, self.head = conv(8, 16), nn.Conv2d(16, 9 * 4, 1), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        b, c, h, w = x.shape
        kernel = self.kernel(x).view(b, 4, 9, h, w).unsqueeze(2)
        windows = F.unfold(x, 3, padding=1).view(b, 4, c // 4, 9, h, w)
        return self.head((kernel * windows).sum(3).view(b, c, h, w).mean((2, 3)))


@network("coordinates as channels: CoordConv", 3, 20, 20)
class CoordConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = conv(5, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        ys = torch.linspace(-1, 1, h).view(1, 1, h, 1).expand(b, 1, h, w)
        xs = torch.linspace(-1, 1, w).view(1, 1, 1, w).expand(b, 1, h, w)
        return self.head(self.conv(torch.cat([x, ys, xs], dim=1)).mean((2, 3)))


@network("pyramid pooling and ASPP", 3, 32, 32)
class Pyramid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 16, stride=2)
        self.pools = nn.ModuleList(nn.Sequential(nn.AdaptiveAvgPool2d(n), nn.Conv2d(16, 4, 1)) for n in (1, 2, 3))
        self.atrous = nn.ModuleList(nn.Conv2d(16, 8, 3, padding=d, dilation=d) for d in (1, 2, 4))
        self.out = nn.Conv2d(16 + 12 + 24, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        parts = [F.interpolate(p(y), size=y.shape[2:], mode="bilinear", align_corners=False) for p in self.pools]
        y = torch.cat([y, *parts, *(F.relu(a(y)) for a in self.atrous)], dim=1)
        return F.interpolate(self.out(y), size=x.shape[-2:], mode="bilinear", align_corners=True)


@network("weighted pyramid: BiFPN's fast fusion", 3, 32, 32)
class BiFPN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = conv(3, 16, stride=2), conv(16, 16, stride=2)
        self.weights, self.fuse, self.head = nn.Parameter(torch.ones(2)), conv(16, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        a = self.first(x)
        b = F.interpolate(self.second(a), scale_factor=2)
        w = F.relu(self.weights)
        w = w / (w.sum() + 1e-4)
        return self.head(self.fuse(w[0] * a + w[1] * b).mean((2, 3)))


@network("vectors from a code book: VQ-VAE", 1, 16, 16)
class VectorQuantised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode, self.decode = nn.Conv2d(1, 8, 4, 4), nn.ConvTranspose2d(8, 1, 4, 4)
        self.book = nn.Embedding(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        z = self.encode(x).permute(0, 2, 3, 1)
        rows = z.reshape(-1, 8)
        apart = rows.pow(2).sum(1, keepdim=True) - 2 * rows @ self.book.weight.t() + self.book.weight.pow(2).sum(1)
        chosen = self.book(apart.argmin(1)).view(z.shape)
        return self.decode((z + (chosen - z).detach()).permute(0, 3, 1, 2))
