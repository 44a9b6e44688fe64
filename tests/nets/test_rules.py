"""Modules of the newer kinds: the graph computes what the module computes, and holds no operator taken as it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from chipfit.export.onnx import write
from chipfit.nets.build import build
from chipfit.nets.trace import trace

MAP, ROW, TOKENS, VOLUME = (4, 8, 8), (4, 16), (6, 8), (2, 4, 6, 6)


class Does(nn.Module):
    """A module that computes what a function of its parts and its input does."""

    def __init__(self, body: Callable[[nn.Module, Tensor], Tensor], **parts: object) -> None:
        super().__init__()
        self.body = body
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)


def functions(m: nn.Module, x: Tensor) -> Tensor:
    y = F.mish(x) + F.elu(x, 0.7) + F.celu(x, 0.8) + F.selu(x) + F.softplus(x, 2.0) + F.softsign(x)
    above = x.abs() + 0.5
    y = y + torch.log(above) + torch.sqrt(above) + torch.rsqrt(above) + above**1.3 + x**2 + torch.reciprocal(above)
    return y + torch.exp(-above) + torch.sin(x) + torch.cos(x) + torch.erf(x)


def joins(m: nn.Module, x: Tensor) -> Tensor:
    return torch.maximum(x, x.mean(1, keepdim=True)) + torch.minimum(x, x.amax(2, keepdim=True))


def reductions(m: nn.Module, x: Tensor) -> Tensor:
    parts = [x.mean(1), x.sum(3), x.amax(2), x.amin(3), x.max(1)[0], x.var(3), x.std(1, unbiased=False)]
    return torch.stack([p.flatten(1).sum(1, keepdim=True) for p in parts], 1)


def heads(m: nn.Module, x: Tensor) -> Tensor:
    """Attention as models write it out."""
    n, tokens, width = x.shape
    q, k, v = m.qkv(x).reshape(n, tokens, 3, 2, width // 2).permute(2, 0, 3, 1, 4).unbind(0)
    shares = ((q @ k.transpose(-2, -1)) * (width // 2) ** -0.5).softmax(-1)
    return m.out((shares @ v).transpose(1, 2).reshape(n, tokens, width))


def fused(m: nn.Module, x: Tensor) -> Tensor:
    q = x.unflatten(2, (2, 4)).transpose(1, 2)
    return F.scaled_dot_product_attention(q, q * 0.5, q, attn_mask=getattr(m, "mask", None))


def embedded(m: nn.Module, x: Tensor) -> Tensor:
    """Tokens with a token of the class before them, positions, and scales of the last axis."""
    y = torch.cat([m.token.expand(len(x), -1, -1), x], 1) + m.positions
    return (y + m.gamma * F.gelu(y)) / m.norm[:, None] + 1.0 / (1.0 + y.abs())


def einsums(m: nn.Module, x: Tensor) -> Tensor:
    """Sums of products in the ways of attention, and with matrices on either side."""
    scores = torch.einsum("bnd,bmd->bnm", x, x)
    mixed = torch.einsum("bnm,bmd->bnd", scores.softmax(-1), x)
    heads = torch.einsum("bnd,dhk->bhnk", mixed, m.w)
    return (
        torch.einsum("bhik,bjhk->bijh", heads, heads.transpose(1, 2))
        + torch.einsum("nm,bmd->bnd", m.v, x)[..., :1, None]
    )


def quotients(m: nn.Module, x: Tensor) -> Tensor:
    return x / (1.5 + x.abs().sum(1, keepdim=True)) + (x - m.mean) / m.std + F.normalize(x, dim=1)


def causal(m: nn.Module, x: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(x, x, x, is_causal=True, scale=0.3)


def masked(m: nn.Module, x: Tensor) -> Tensor:
    """Attention by hand, with numbers in the places that constant masks name."""
    scores = (x @ x.transpose(1, 2)).masked_fill(m.seen == 0, float("-inf")).softmax(-1)
    others = torch.where(m.seen > 0, x @ x.transpose(1, 2), torch.tensor(-1e9)).softmax(-1)
    return scores @ x + others @ x.masked_fill(m.gaps, 0.5) + torch.where(m.gaps, -0.25, x)


def cosines(m: nn.Module, x: Tensor) -> Tensor:
    parts = [F.cosine_similarity(x, x.tanh() + 1, dim=1), F.cosine_similarity(x, x * x, -1)]
    return torch.cat([part.flatten(1) for part in parts], 1)


def grouped(m: nn.Module, x: Tensor) -> Tensor:
    """Queries that share keys, whose copies are made by expansion, behind what holds no values yet."""
    keys = torch.cat([torch.tensor([]), x.unflatten(2, (2, 4)).transpose(1, 2)], dim=-2)
    copies = keys[:, :, None].expand(-1, 2, 3, -1, -1).reshape(-1, 6, 6, 4)
    return (m.query(x).unflatten(2, (6, 4)).transpose(1, 2) * copies).sum(1)


def merged(m: nn.Module, x: Tensor) -> Tensor:
    """Products and norms of rows that are merged with the batch, as GPT-2 and time series have them."""
    rows = torch.addmm(m.bias, x.view(-1, 8), m.weight).view(x.shape[0] * 3, 2, 5)
    return m.norm(rows).view(x.shape[0], 6, 5)


class Row(nn.Module):
    """A network over one axis, as for heart beats."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(4, 8, 5, padding=2), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(8, 8, 3, padding=2, dilation=2, groups=2), nn.BatchNorm1d(8), nn.GELU(), nn.AvgPool1d(2),
        )  # fmt: skip
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return self.head(F.adaptive_avg_pool1d(y + torch.sigmoid(y), 1).squeeze(2))


class Causal(nn.Module):
    """Convolutions that look back alone, in a residual block (Bai et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6)
        self.second, self.last = nn.Conv1d(6, 6, 3, padding=4, dilation=2), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm(self.first(F.pad(x, (2, 0)))))
        z = y + torch.tanh(self.second(y)[:, :, :-4])
        return self.last(torch.cat([z, y], 2).mean(2))


class Volume(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv3d(2, 4, 3, stride=(1, 2, 2), padding=1), nn.BatchNorm3d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.max_pool3d(F.relu(self.norm(self.conv(x))), (1, 2, 2), ceil_mode=True)
        return F.adaptive_avg_pool3d(y, 1).flatten(1)


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "functions": (lambda: Does(functions), MAP),
    "joins": (lambda: Does(joins), MAP),
    "reductions": (lambda: Does(reductions), MAP),
    "layer norm": (lambda: nn.Sequential(nn.LayerNorm(8), nn.LayerNorm((6, 8), bias=False)), TOKENS),
    "layer norm without weights": (lambda: nn.LayerNorm(8, elementwise_affine=False), TOKENS),
    "layer norm of channels": (
        lambda: Does(lambda m, x: m.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), norm=nn.LayerNorm(4)), MAP
    ),
    "rms norm": (lambda: nn.RMSNorm(8), TOKENS),
    "group norm": (lambda: nn.Sequential(nn.GroupNorm(2, 4), nn.GroupNorm(1, 4, affine=False)), MAP),
    "instance norm": (lambda: nn.Sequential(nn.InstanceNorm2d(4, affine=True), nn.InstanceNorm2d(4)), MAP),
    "instance norm of a row": (lambda: nn.InstanceNorm1d(4, affine=True), ROW),
    "attention by hand": (lambda: Does(heads, qkv=nn.Linear(8, 24), out=nn.Linear(8, 8)), TOKENS),
    "attention": (lambda: Does(fused), TOKENS),
    "attention with a mask": (lambda: Does(fused, mask=nn.Buffer(torch.randn(6, 6))), TOKENS),
    "attention with a mask of truths": (lambda: Does(fused, mask=nn.Buffer(torch.eye(6).bool())), TOKENS),
    "embedded": (
        lambda: Does(
            embedded, token=nn.Parameter(torch.randn(1, 1, 8)), positions=nn.Parameter(torch.randn(1, 7, 8)),
            gamma=nn.Parameter(torch.randn(8)), norm=nn.Buffer(torch.rand(7) + 1),
        ),
        TOKENS,
    ),
    "einsums": (
        lambda: Does(einsums, w=nn.Parameter(torch.randn(8, 2, 3) / 4), v=nn.Buffer(torch.randn(6, 6) / 4)), TOKENS
    ),
    "quotients": (
        lambda: Does(quotients, mean=nn.Buffer(torch.randn(4, 1, 8)), std=nn.Buffer(torch.rand(1, 8, 1) + 1)), MAP
    ),
    "causal attention": (lambda: Does(causal), TOKENS),
    "masked by hand": (
        lambda: Does(masked, seen=nn.Buffer(torch.ones(6, 6).tril()), gaps=nn.Buffer(torch.rand(6, 8) > 0.7)), TOKENS
    ),
    "copies": (lambda: Does(grouped, query=nn.Linear(8, 24)), TOKENS),
    "mirrored": (
        lambda: nn.Sequential(nn.ReflectionPad2d((1, 2, 3, 0)), nn.Conv2d(4, 6, 3), nn.ReplicationPad2d(2)), MAP
    ),
    "a mirrored row": (lambda: nn.Sequential(nn.ReflectionPad1d(3), nn.Conv1d(4, 6, 3), nn.ReplicationPad1d(1)), ROW),
    "windows": (lambda: Does(lambda m, x: x.unfold(2, 5, 5) * torch.full_like(x, 2.0)[:, :, :3, None]), ROW),
    "windows of an inner axis": (lambda: Does(lambda m, x: torch.multiply(x.unfold(1, 2, 2), 3.0)), MAP),
    "merged rows": (
        lambda: Does(
            merged, weight=nn.Parameter(torch.randn(8, 5)), bias=nn.Parameter(torch.randn(5)), norm=nn.BatchNorm1d(2)
        ),
        TOKENS,
    ),
    "a matrix": (lambda: Does(lambda m, x: x @ m.w, w=nn.Parameter(torch.randn(8, 5))), TOKENS),
    "a constant matrix": (lambda: Does(lambda m, x: m.w @ x, w=nn.Buffer(torch.randn(3, 6))), TOKENS),
    "a row": (Row, ROW),
    "a causal row": (Causal, ROW),
    "cosines": (lambda: Does(cosines), MAP),
    "a row made longer": (
        lambda: nn.Sequential(nn.ConvTranspose1d(4, 6, 4, 2, 1), nn.Upsample(scale_factor=2)), ROW
    ),
    "a volume": (Volume, VOLUME),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2), MAP),
    "shuffled": (
        lambda: nn.Sequential(nn.PixelShuffle(2), nn.Conv2d(1, 8, 3), nn.PixelUnshuffle(2), nn.ChannelShuffle(2)), MAP
    ),
    "sizes": (
        lambda: nn.Sequential(
            nn.Upsample(scale_factor=2), nn.Upsample(scale_factor=1.5, mode="bilinear"),
            nn.Upsample((11, 13), mode="bilinear", align_corners=True), nn.AdaptiveAvgPool2d((5, 7)),
        ),
        MAP,
    ),
}  # fmt: skip


def scrambled(module: nn.Module) -> nn.Module:
    """Norms with statistics and arrays that matter."""
    for m in module.modules():
        if isinstance(m, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(m.running_var, 0.5, 2.0)
            nn.init.normal_(m.running_mean)
        if "Norm" in type(m).__name__:
            for p in m.parameters(recurse=False):
                nn.init.uniform_(p, 0.5, 1.5)
    return module.eval()


@pytest.mark.parametrize("name", MODULES)
def test_the_graph_and_the_file_compute_the_module(name: str) -> None:
    torch.manual_seed(0)
    make, shape = MODULES[name]
    module = scrambled(make())
    network = trace(module, shape)
    assert not any(o.kind == "opaque" for o in network.graph)
    session = ort.InferenceSession(write(network, batch=None).data, providers=["CPUExecutionProvider"])
    for n in (1, 4):
        x = torch.randn(n, *shape)
        with torch.inference_mode():
            want, got = module(x), build(network)(x)
        torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-4)
        (filed,) = session.run(None, {"input": x.numpy()})
        np.testing.assert_allclose(filed, want.numpy(), rtol=1e-4, atol=1e-4 * float(want.abs().max()))


def test_a_network_over_one_axis_is_one_of_maps() -> None:
    graph = trace(scrambled(Row()), ROW).graph
    kinds = [o.kind for o in graph]
    assert kinds[:4] == ["input", "reshape", "conv", "batch_norm"]
    assert kinds.count("reshape") <= 2  # in, and out of the last pool
    assert [o.name for o in graph if o.kind in ("conv", "batch_norm")] == ["body.0", "body.1", "body.4", "body.5"]
    assert "body.0.weight" in trace(Row(), ROW).weights


def test_a_residual_block_over_one_axis_is_one_of_maps() -> None:
    graph = trace(scrambled(Causal()), ROW).graph
    assert [o.kind for o in graph] == [
        "input", "pad", "reshape", "conv", "batch_norm", "relu", "conv", "slice", "tanh", "add", "concat",
        "global_pool", "linear",
    ]  # fmt: skip


def test_floats_that_are_made_whole_are_looked_up() -> None:
    table = nn.Embedding(10, 6)
    module = Does(lambda m, x: m.table(x.long()).mean(1), table=table).eval()
    network = trace(module, (5,))
    assert [o.kind for o in network.graph] == ["input", "embedding", "reduce_mean"]
    x = torch.randint(0, 10, (4, 5)).float()
    session = ort.InferenceSession(write(network, batch=None).data, providers=["CPUExecutionProvider"])
    want = module(x).detach().numpy()
    np.testing.assert_allclose(session.run(None, {"input": x.numpy()})[0], want, rtol=1e-4, atol=1e-5)


def test_values_cut_off_are_not_taken_for_themselves() -> None:
    network = trace(Does(lambda m, x: x.long().float() * 0.5), (5,))
    x = torch.linspace(-3.0, 3.0, 5)[None]
    torch.testing.assert_close(build(network)(x), x.long().float() * 0.5)


def test_words_are_looked_up() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(10, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.table(x).mean(1))

    module = Words().eval()
    network = trace(module, (5,), True)
    x = torch.randint(0, 10, (4, 5))
    with torch.inference_mode():
        want = module(x)
        for given in (x, x.float()):  # whole numbers may come as floats that hold such
            torch.testing.assert_close(build(network)(given), want, atol=1e-5, rtol=1e-4)
    session = ort.InferenceSession(write(network, batch=None).data, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"input": x.numpy()})[0], want.numpy(), rtol=1e-4, atol=1e-5)
