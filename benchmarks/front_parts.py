"""Parts of small networks as people write them, each of one structure that public code is full of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Rng = np.random.Generator
Function = Callable[[Tensor], Tensor]


def choose(rng: Rng, *of: Any) -> Any:
    """One of some values."""
    return of[int(rng.integers(len(of)))]


def activation(rng: Rng) -> nn.Module:
    """Any activation that ships with torch and that small networks use."""
    kinds: list[Callable[[], nn.Module]] = [
        nn.ReLU, lambda: nn.ReLU(inplace=True), nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid,
        nn.Tanh, lambda: nn.LeakyReLU(0.2), lambda: nn.Hardtanh(0.0, 6.0), lambda: nn.Hardtanh(-2.0, 2.0), nn.PReLU,
        lambda: nn.GELU(approximate="tanh"), nn.Identity, nn.ELU, nn.Mish, nn.Softplus,
    ]  # fmt: skip
    return choose(rng, *kinds)()


class Part(nn.Module):
    """A part that applies a function which may use its layers; it gives `channels` channels."""

    def __init__(self, channels: int, layers: dict[str, nn.Module], function: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.channels, self.function = channels, function
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def conv(rng: Rng, c: int) -> Part:
    """A convolution with any arguments, batch norm or none, and an activation."""
    out, kernel = choose(rng, 8, 16, 24), choose(rng, 1, 3, 5, (3, 1), (1, 5))
    groups = choose(rng, 1, 1, 1, 2, 4)
    padding = choose(rng, "same", 0, 1, "valid", 2)
    dilation = choose(rng, 1, 1, 2)
    stride = 1 if padding == "same" else choose(rng, 1, 1, 2)
    layer = nn.Conv2d(c, out, kernel, stride, padding, dilation, groups, bias=choose(rng, True, False))
    norm = choose(rng, nn.BatchNorm2d(out), nn.BatchNorm2d(out, affine=False), nn.Identity(), nn.BatchNorm2d(out, 1e-3))
    return Part(out, {"c": layer, "n": norm, "a": activation(rng)}, lambda s, x: s.a(s.n(s.c(x))))


def padded_conv(rng: Rng, c: int) -> Part:
    """Pads that are not zeros: a mode of the convolution."""
    layer = nn.Conv2d(c, 16, 3, padding=1, padding_mode=choose(rng, "zeros", "reflect", "replicate", "circular"))
    return Part(16, {"c": layer}, lambda s, x: s.c(x).relu())


def functional_conv(rng: Rng, c: int) -> Part:
    """A convolution called as a function, with weights that are parameters of the part."""
    part = Part(16, {}, lambda s, x: F.relu(F.conv2d(x, s.w, s.b, stride=1, padding=1)))
    part.w, part.b = nn.Parameter(torch.randn(16, c, 3, 3) * 0.1), nn.Parameter(torch.randn(16) * 0.1)
    return part


def scaled_weight(rng: Rng, c: int) -> Part:
    """Weights that are computed in forward: weight standardisation, or a multiplier."""
    plain = choose(rng, True, False)

    def forward(s: Any, x: Tensor) -> Tensor:
        w = (
            s.w * 0.5
            if plain
            else (s.w - s.w.mean((1, 2, 3), keepdim=True)) / (s.w.std((1, 2, 3), keepdim=True) + 1e-5)
        )
        return F.conv2d(x, w, padding=1)

    part = Part(16, {}, forward)
    part.w = nn.Parameter(torch.randn(16, c, 3, 3) * 0.2)
    return part


def in_place(rng: Rng, c: int) -> Part:
    """Operators that write to their input, which a shortcut may still read."""
    kind = choose(rng, "iadd", "relu_", "mul_", "add_", "shortcut", "clamp_", "sub_alpha", "isub")

    def forward(s: Any, x: Tensor) -> Tensor:
        y = s.c(x)
        if kind == "iadd":
            y += x
        elif kind == "relu_":
            return y.relu_() + y
        elif kind == "mul_":
            z = y
            z.mul_(2.0)
            return y + x
        elif kind == "add_":
            return y.add_(x, alpha=0.5)
        elif kind == "shortcut":
            kept = y
            y = F.relu(y, inplace=True)
            return kept + y
        elif kind == "clamp_":
            y.clamp_(-1.0, 1.5)
        elif kind == "sub_alpha":
            return torch.sub(y, x, alpha=2)
        else:
            y -= x
        return y

    return Part(c, {"c": nn.Conv2d(c, c, 3, padding=1)}, forward)


def on_views(rng: Rng, c: int) -> Part:
    """Slices and views that are written to: the whole changes."""
    kind = choose(rng, "half", "view", "rows", "assign", "narrow", "chunk", "zero")

    def forward(s: Any, x: Tensor) -> Tensor:
        y = s.c(x)
        if kind == "half":
            y[:, : c // 2].add_(1.0)
        elif kind == "view":
            y.view(y.size(0), -1).mul_(0.5)
        elif kind == "rows":
            y[:, :, 1::2].neg_()
        elif kind == "assign":
            y[:, : c // 2] = x[:, c // 2 :]
        elif kind == "narrow":
            y.narrow(1, 0, c // 2).relu_()
        elif kind == "chunk":
            a, b = y.chunk(2, 1)
            a += b
        else:
            y[:, :, 0] = 0.0
        return y

    return Part(c, {"c": nn.Conv2d(c, c, 3, padding=1)}, forward)


def tied(rng: Rng, c: int) -> Part:
    """One weight in two layers that differ in bias, stride, dilation or padding."""
    kind = choose(rng, "bias", "stride", "dilation", "nobias", "norm")
    a = nn.Conv2d(c, c, 3, padding=1)
    if kind == "stride":
        b, c2 = nn.Conv2d(c, c, 3, 2, 1), c
    elif kind == "dilation":
        b, c2 = nn.Conv2d(c, c, 3, 1, 2, 2), c
    else:
        b, c2 = nn.Conv2d(c, c, 3, padding=1, bias=kind != "nobias"), c
    b.weight = a.weight
    layers: dict[str, nn.Module] = {"a": a, "b": b}
    if kind == "norm":
        layers |= {"n": nn.BatchNorm2d(c), "m": nn.BatchNorm2d(c)}
        layers["m"].weight = layers["n"].weight  # type: ignore[assignment]
        return Part(c2, layers, lambda s, x: s.m(s.b(s.n(s.a(x)).relu())))
    return Part(c2, layers, lambda s, x: s.b(s.a(x).relu()))


def called_twice(rng: Rng, c: int) -> Part:
    """A module that is called more than once, with something else between."""
    kind = choose(rng, "conv", "norm", "block", "act")

    def forward(s: Any, x: Tensor) -> Tensor:
        if kind == "conv":
            return s.c(s.c(x).relu())
        if kind == "norm":
            return s.n(s.c(s.n(x)))
        if kind == "block":
            return s.b(s.b(x)) + x
        return s.a(s.c(s.a(x)))

    block = nn.Sequential(nn.Conv2d(c, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU())
    layers = {"c": nn.Conv2d(c, c, 3, padding=1), "n": nn.BatchNorm2d(c), "b": block, "a": activation(rng)}
    return Part(c, layers, forward)


def arithmetic(rng: Rng, c: int) -> Part:
    """Scalars, buffers, parameters and constants on either side of an operator."""
    kind = choose(
        rng, "mul", "rmul", "div", "rsub", "buffer", "gamma", "constant", "neg", "add", "square", "scalar", "vector"
    )

    def forward(s: Any, x: Tensor) -> Tensor:
        made: dict[str, Callable[[], Tensor]] = {
            "mul": lambda: s.c(x) * 0.5, "rmul": lambda: 2 * s.c(x) - 1, "div": lambda: s.c(x / 255) / 0.3,
            "rsub": lambda: 1 - s.c(x), "buffer": lambda: s.c((x - s.mean) / s.std), "gamma": lambda: x + s.g * s.c(x),
            "constant": lambda: s.c(x) * torch.tensor(0.25) + torch.ones(1), "neg": lambda: -s.c(x) + x,
            "add": lambda: s.c(x) + 3, "square": lambda: s.c(x) * s.c(x), "scalar": lambda: s.k * s.c(x),
            "vector": lambda: s.c(x) * s.g.flatten().view(1, -1, 1, 1),
        }  # fmt: skip
        return made[kind]()

    part = Part(c, {"c": nn.Conv2d(c, c, 3, padding=1)}, forward)
    part.register_buffer("mean", torch.rand(1, c, 1, 1))
    part.register_buffer("std", torch.rand(1, c, 1, 1) + 0.5)
    part.g, part.k = nn.Parameter(torch.rand(c, 1, 1)), nn.Parameter(torch.tensor(1.5))
    return part


def branches(rng: Rng, c: int) -> Part:
    """Two to four branches concatenated, some of them bare or used twice."""
    n = int(rng.integers(2, 5))
    widths = [choose(rng, 8, 16) for _ in range(n)]
    layers = {f"b{k}": nn.Conv2d(c, w, choose(rng, 1, 3), padding="same") for k, w in enumerate(widths)}
    raw, last = choose(rng, True, False), activation(rng)
    total = sum(widths) + (c if raw else 0)
    layers |= {"n": nn.BatchNorm2d(total), "a": last, "p": nn.Conv2d(total, 16, 1)}

    def forward(s: Any, x: Tensor) -> Tensor:
        parts = [getattr(s, f"b{k}")(x) for k in range(n)] + ([x] if raw else [])
        return s.p(s.a(s.n(torch.cat(parts, dim=choose(np.random.default_rng(n), 1, -3)))))

    return Part(16, layers, forward)


def pieces(rng: Rng, c: int) -> Part:
    """chunk, split, unbind, strided and bounded slices, put together again."""
    kind = choose(rng, "chunk", "split", "sizes", "slice", "stride", "channels", "shuffle", "unequal", "flip", "roll")

    def forward(s: Any, x: Tensor) -> Tensor:
        y = s.c(x)
        if kind == "chunk":
            a, b = y.chunk(2, dim=1)
            return torch.cat([b, a.relu()], 1)
        if kind == "split":
            return torch.cat([p * (k + 1) for k, p in enumerate(y.split(c // 4, 1))], 1)
        if kind == "sizes":
            a, b = torch.split(y, [c // 4, c - c // 4], dim=1)
            return torch.cat([s.a(b), a], 1)
        if kind == "slice":
            return y[:, :, 1:-1, 1:-1] + x[..., 1:-1, 1:-1]
        if kind == "stride":
            return y[:, :, ::2, ::2]
        if kind == "channels":
            return torch.cat([y[:, ::2], y[:, 1::2]], 1)
        if kind == "unequal":
            a, b, *_ = y.chunk(3, 1)
            return torch.cat([a, b, y[:, -(c - 2 * a.size(1)) :]], 1)
        if kind == "flip":
            return y.flip(3)
        if kind == "roll":
            return torch.roll(y, 1, 2)
        n, _, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, -1, h, w)

    return Part(c, {"c": nn.Conv2d(c, c, 3, padding=1), "a": nn.ReLU()}, forward)


def residual(rng: Rng, c: int) -> Part:
    """Shortcuts: pre-activation, raw, padded, strided, projected."""
    kind = choose(rng, "plain", "pre", "raw", "pad", "project", "option_a", "two")
    out, stride = (c + 8, 2) if kind in ("pad", "option_a", "project") else (c, 1)

    def forward(s: Any, x: Tensor) -> Tensor:
        if kind == "pre":
            y = s.n(x).relu()
            return s.d(s.m(s.c(y)).relu()) + x
        y = s.m(s.d(s.m(s.c(x)).relu() if kind != "raw" else s.c(x)))
        if kind == "pad":
            return y + F.pad(F.avg_pool2d(x, 2, ceil_mode=True), (0, 0, 0, 0, 0, out - c))
        if kind == "option_a":
            return F.relu(y + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, (out - c) // 2, (out - c) - (out - c) // 2)))
        if kind == "project":
            return (y + s.p(x)).relu()
        return y + x if kind != "two" else y + s.e(x) + x

    first = nn.Conv2d(c, out, 3, stride, 1, bias=False)
    layers = {
        "c": first, "d": nn.Conv2d(out, out, 3, padding=1), "n": nn.BatchNorm2d(c), "m": nn.BatchNorm2d(out),
        "p": nn.Conv2d(c, out, 1, stride), "e": nn.Conv2d(c, c, 1),
    }  # fmt: skip
    return Part(out, layers, forward)


def gate(rng: Rng, c: int) -> Part:
    """Squeeze and excitation, in the spellings that are about."""
    kind = choose(rng, "conv", "linear", "mean", "expand", "hard", "spatial")

    def forward(s: Any, x: Tensor) -> Tensor:
        n = x.size(0)
        if kind == "conv":
            return x * torch.sigmoid(s.u(s.d(F.adaptive_avg_pool2d(x, 1)).relu()))
        if kind == "linear":
            return x * s.w(s.v(F.adaptive_avg_pool2d(x, 1).view(n, c)).relu()).sigmoid().view(n, c, 1, 1)
        if kind == "mean":
            return x.mul(s.w(s.v(x.mean([2, 3])).relu()).sigmoid()[:, :, None, None])
        if kind == "expand":
            y = s.w(s.v(F.adaptive_avg_pool2d(x, 1).flatten(1)).relu()).sigmoid().reshape(n, c, 1, 1)
            return x * y.expand_as(x)
        if kind == "hard":
            return F.hardsigmoid(s.u(F.relu(s.d(x.mean((2, 3), keepdim=True))))) * x
        return x * torch.sigmoid(x.mean(1, keepdim=True))

    layers = {"d": nn.Conv2d(c, 4, 1), "u": nn.Conv2d(4, c, 1), "v": nn.Linear(c, 4), "w": nn.Linear(4, c)}
    return Part(c, layers, forward)


def depthwise(rng: Rng, c: int) -> Part:
    """Depth-wise and point-wise, grouped with a multiplier, dilated."""
    k, m = choose(rng, 3, 5), choose(rng, 1, 1, 2)
    layers = {
        "d": nn.Conv2d(c, c * m, k, choose(rng, 1, 2), k // 2, groups=c, bias=choose(rng, True, False)),
        "n": nn.BatchNorm2d(c * m), "a": activation(rng), "p": nn.Conv2d(c * m, 16, 1),
    }  # fmt: skip
    return Part(16, layers, lambda s, x: s.p(s.a(s.n(s.d(x)))))


def pool(rng: Rng, c: int) -> Part:
    """Pools with any arguments, as modules and functions."""
    kinds: list[Function] = [
        lambda x: F.max_pool2d(x, 2), lambda x: F.max_pool2d(x, 3, 2, 1),
        lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True),
        lambda x: F.max_pool2d(x, 2, 1, dilation=2), lambda x: F.avg_pool2d(x, 3, 1, 1),
        lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
        lambda x: F.avg_pool2d(x, 2, divisor_override=3), lambda x: F.avg_pool2d(x, (2, 1)),
        lambda x: F.avg_pool2d(x, 3, 2, 1, True, False), lambda x: F.adaptive_avg_pool2d(x, (4, 4)),
        lambda x: F.adaptive_avg_pool2d(x, x.shape[2:]), lambda x: F.adaptive_max_pool2d(x, 4),
        lambda x: F.adaptive_avg_pool2d(x, (None, 4)), lambda x: F.adaptive_avg_pool2d(x, 3),
        lambda x: F.interpolate(x, scale_factor=2.0), lambda x: F.pixel_unshuffle(x, 2)[:, : x.size(1)],
        lambda x: F.lp_pool2d(x, 2.0, 2), lambda x: F.max_pool2d(x, kernel_size=(3, 1), stride=(2, 1), padding=(1, 0)),
    ]  # fmt: skip
    picked = choose(rng, *kinds)
    return Part(c, {"c": nn.Conv2d(c, c, 1)}, lambda s, x: picked(s.c(x)))


def calls(rng: Rng, c: int) -> Part:
    """Activations called as functions and methods, with arguments."""
    kinds: list[Function] = [
        torch.relu, lambda x: x.relu(), F.relu6, lambda x: x.clamp(0, 6), lambda x: x.clamp(min=0),
        lambda x: x.clamp(max=1.0),
        lambda x: torch.clamp(x, -1, 1), lambda x: F.hardtanh(x, -0.5, 2.0), lambda x: F.leaky_relu(x, 0.3), F.gelu,
        lambda x: F.gelu(x, approximate="tanh"), F.hardswish, lambda x: x * F.hardsigmoid(x),
        lambda x: x * torch.sigmoid(x),
        lambda x: x * F.relu6(x + 3) / 6, torch.tanh, F.silu, F.softplus, F.elu, torch.abs, lambda x: x.pow(2),
        torch.exp,
        lambda x: torch.maximum(x, x * 0.1), lambda x: torch.where(x > 0, x, x * 0.2), lambda x: x.square().sqrt(),
        lambda x: F.dropout(x, 0.5, False), lambda x: F.softmax(x, 1), lambda x: F.log_softmax(x, 1),
        lambda x: x.detach(),
        lambda x: F.normalize(x, dim=1), lambda x: x.to(torch.float32), lambda x: x.half().float(), lambda x: x.clone(),
        lambda x: x.to(torch.int8).float(), lambda x: F.softmax(x, 0),
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: x - x.mean(0, keepdim=True), lambda x: F.dropout(x, 0.5), lambda x: x.round(),
        lambda x: x.permute(0, 1, 3, 2),
        lambda x: x.contiguous(memory_format=torch.channels_last), lambda x: x.sum((2, 3), keepdim=True) * x,
    ]  # fmt: skip
    picked = choose(rng, *kinds)
    return Part(c, {"c": nn.Conv2d(c, c, 3, padding=1)}, lambda s, x: picked(s.c(x)))


def other_norm(rng: Rng, c: int) -> Part:
    """Norms other than batch norm, and batch norm without running statistics."""
    norm = choose(
        rng, nn.GroupNorm(2, c), nn.InstanceNorm2d(c, affine=True), nn.BatchNorm2d(c, track_running_stats=False),
        nn.LocalResponseNorm(3), nn.BatchNorm2d(c, momentum=None),
    )  # fmt: skip
    return Part(c, {"c": nn.Conv2d(c, c, 3, padding=1), "n": norm}, lambda s, x: s.n(s.c(x)).relu())


def channels_last_linear(rng: Rng, c: int) -> Part:
    """A dense layer on the channels of a picture, which are moved to the end and back."""
    kind = choose(rng, "permute", "tokens", "norm")

    def forward(s: Any, x: Tensor) -> Tensor:
        if kind == "permute":
            return s.l(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        n, _, h, w = x.shape
        y = s.l(x.flatten(2).transpose(1, 2))
        y = y if kind == "tokens" else s.n(y)
        return y.transpose(1, 2).reshape(n, c, h, w)

    return Part(c, {"l": nn.Linear(c, c), "n": nn.LayerNorm(c)}, forward)


PARTS = (
    conv, conv, padded_conv, functional_conv, scaled_weight, in_place, on_views, tied, called_twice, arithmetic,
    branches,
    pieces, residual, residual, gate, depthwise, pool, calls, calls, other_norm, channels_last_linear,
)  # fmt: skip
"""Parts with the chance of each: what is common stands twice."""
