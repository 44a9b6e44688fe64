"""Kinds that scale and shift values: norms, and constants that do no more.

batch_norm  eps (float); a scale, shift, mean and variance for each channel
affine      scale, shift (0/1): which of the two there are in y = x · scale + shift; single (0/1): one value for all
            channels; learnt (0/1): trained and counted, else constants of the model; axis, of the channels, without the
            batch (the first where it is not said)
prelu       single (0/1): one slope for all channels
layer_norm  axes (int): so many of the last axes have mean 0 and variance 1 together; eps, weight, bias (0/1)
rms_norm    axes, eps, weight, bias (0): divided by the root of the mean square instead
group_norm  groups (int) of channels that are normalised together over all places; eps, weight, bias (0/1)
instance_norm  each channel by its own places: eps, weight, bias (0/1)

The mean and variance of the last four are those of each input, so that they compute alike in training.
"""

from __future__ import annotations

from chipfit.core.kinds.kind import Kind, Shape, Shapes, last, said, weight_and_bias
from chipfit.core.op import Op


def single(o: Op) -> bool:
    """True where an operator's arrays hold one value for all channels, so that narrowing leaves them as they are."""
    return o.kind in ("affine", "prelu") and bool(o["single"])


def _batch_norm(o: Op, shapes: Shapes) -> dict[str, Shape]:
    return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (o.shape[0],))


def _no_statistic(o: Op, role: str) -> bool:
    return not role.startswith("running")


def _affine(o: Op, shapes: Shapes) -> dict[str, Shape]:
    there = [role for role in ("scale", "shift") if o[role]]
    return dict.fromkeys(there, (1,) if single(o) else (o.shape[said(o)],))


def _prelu(o: Op, shapes: Shapes) -> dict[str, Shape]:
    return {"weight": (1,) if single(o) else (o.shape[0],)}


CHANNELWISE = (
    Kind(
        "batch_norm", "norm", "carries", ("eps",),
        arrays=_batch_norm, learns=_no_statistic, hosts=True, int8=True, cost="inside", in_place=True,
    ),
    Kind(
        "affine", "norm", "carries", ("scale", "shift", "single", "learnt"), ("axis",),
        axis=said, arrays=_affine, cost="inside", in_place=True,
    ),
    Kind("prelu", "norm", "carries", ("single",), arrays=_prelu, in_place=True),
)  # fmt: skip


def _trailing(o: Op, shapes: Shapes) -> dict[str, Shape]:
    shape = o.shape[-o["axes"] :]
    return weight_and_bias(o, shape, shape)


def _per_channel(o: Op, shapes: Shapes) -> dict[str, Shape]:
    return weight_and_bias(o, o.shape[:1], o.shape[:1])


NORMS = (
    Kind("layer_norm", "norm", "normalises", ("axes", "eps", "weight", "bias"), axis=last, arrays=_trailing),
    Kind("rms_norm", "norm", "normalises", ("axes", "eps", "weight", "bias"), axis=last, arrays=_trailing),
    Kind("group_norm", "norm", "normalises", ("groups", "eps", "weight", "bias"), arrays=_per_channel),
    Kind("instance_norm", "norm", "carries", ("eps", "weight", "bias"), arrays=_per_channel),
)
"""Norms by the statistics of each input."""
