"""Mean and variance of each channel, and the batch norm that turns one pair into another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from chipfit.compress.forward import Tensors
from chipfit.core.channels import array_axis
from chipfit.core.graph import Op

LARGEST = 8.0
"""Limit of a change of scale: a channel that all but died must not come back as noise."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean and (biased) variance of each channel, (C,) float64."""

    mean: Tensor
    var: Tensor


def moments(y: Tensor, axis: int = 0) -> Moments:
    """Over all axes of (n, C, ...) but C, which is `axis` without the batch (`core.channels.array_axis`).

    Sums are shifted by a channel's approximate mean and taken input by input: the channels_last batch norm kernel adds
    up all pixels in single precision, which is wrong by whole standard deviations where the mean is large.
    """
    pixels = y.movedim(axis + 1, -1).reshape(len(y), -1, y.shape[axis + 1])  # (n, pixels, C)
    about = pixels[0].mean(0)
    rest = pixels - about
    mean = rest.mean(1).double().mean(0)
    var = rest.square_().mean(1).double().mean(0) - mean.square()
    return Moments(about + mean, var.clamp_min(0.0))


def affine(weights: Mapping[str, Tensor], o: Op) -> tuple[Tensor, Tensor]:
    """(C,) float64 factor f and offset c of a batch norm in evaluation, or of an affine: y = f x + c."""
    if o.kind == "affine":
        given = {role: weights[o.array(role)].double() for role in ("scale", "shift") if o[role]}
        ones = torch.ones(o.shape[array_axis(o)]).to(next(iter(given.values())))
        return ones * given.get("scale", 1.0), ones * given.get("shift", 0.0)
    gamma, beta, mean, var = (weights[o.array(n)].double() for n in ("weight", "bias", "running_mean", "running_var"))
    f = gamma / torch.sqrt(var + o["eps"])
    return f, beta - f * mean


def set_affine(weights: Tensors, o: Op, f: Tensor, c: Tensor, seen: Moments) -> None:
    """Makes the batch norm compute y = f x + c, with what it has seen as its running statistics."""
    for name, value in (
        ("weight", f * torch.sqrt(seen.var + o["eps"])),
        ("bias", c + f * seen.mean),
        ("running_mean", seen.mean),
        ("running_var", seen.var),
    ):
        weights[o.array(name)].copy_(value)


def matching(now: Moments, wanted: Moments) -> tuple[Tensor, Tensor]:
    """(C,) factor and offset that give a value with moments `now` the wanted ones."""
    r = torch.sqrt(wanted.var / now.var.clamp_min(1e-12)).clamp(1 / LARGEST, LARGEST)
    return r, wanted.mean - r * now.mean
