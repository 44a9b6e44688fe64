"""The rule of each operator that a functional program can hold, by its bare name."""

from __future__ import annotations

from chipfit.nets.rules import (
    arithmetic,
    attention,
    einsum,
    functions,
    layers,
    lookups,
    norms,
    pointwise,
    pools,
    reductions,
    sizes,
    sources,
    views,
)
from chipfit.nets.rules.tracer import Rule

RULES: dict[str, Rule] = {
    "conv2d": layers.conv, "linear": layers.linear, "prelu": layers.prelu,
    "_native_batch_norm_legit_no_training": layers.batch_norm, "batch_norm": layers.batch_norm,
    "_native_batch_norm_legit": layers.unkept, "_native_batch_norm_legit_functional": layers.unkept,
    "relu": pointwise.plain("relu"), "relu6": pointwise.plain("relu6"), "sigmoid": pointwise.plain("sigmoid"),
    "hardsigmoid": pointwise.plain("hard_sigmoid"), "silu": pointwise.plain("silu"),
    "hardswish": pointwise.plain("hard_swish"), "tanh": pointwise.plain("tanh"), "gelu": pointwise.gelu,
    "leaky_relu": pointwise.leaky_relu, "hardtanh": pointwise.clamp, "clamp": pointwise.clamp,
    "clamp_min": pointwise.clamp, "clamp_max": pointwise.clamp, "clip": pointwise.clamp,
    "softmax": pointwise.softmax("softmax"), "_softmax": pointwise.softmax("softmax"),
    "log_softmax": pointwise.softmax("log_softmax"), "_log_softmax": pointwise.softmax("log_softmax"),
    "dropout": pointwise.nothing, "feature_dropout": pointwise.nothing, "alpha_dropout": pointwise.nothing,
    "feature_alpha_dropout": pointwise.nothing, "contiguous": pointwise.nothing, "clone": pointwise.nothing,
    "detach": pointwise.nothing, "alias": pointwise.nothing, "lift_fresh_copy": pointwise.nothing,
    "copy": pointwise.copy,
    "to": pointwise.cast, "type_as": pointwise.cast,
    "_to_copy": pointwise.cast, "_assert_tensor_metadata": pointwise.check,
    **arithmetic.TABLE, **functions.TABLE, **norms.TABLE, **attention.TABLE, **reductions.TABLE, **sizes.TABLE,
    **einsum.TABLE, **lookups.TABLE, **sources.TABLE,
    "max_pool2d": pools.max_pool, "max_pool2d_with_indices": pools.max_pool, "avg_pool2d": pools.avg_pool,
    "adaptive_avg_pool2d": pools.adaptive("avg_pool"), "_adaptive_avg_pool2d": pools.adaptive("avg_pool"),
    "adaptive_max_pool2d": pools.adaptive("max_pool"), "mean": pools.mean, "amax": pools.maximum,
    "cat": views.concat, "concat": views.concat, "concatenate": views.concat, "unfold": views.unfold,
    "view": views.reshape, "_unsafe_view": views.reshape, "reshape": views.reshape, "flatten": views.reshape,
    "unflatten": views.reshape, "squeeze": views.reshape, "unsqueeze": views.reshape,
    "permute": views.transpose, "transpose": views.transpose, "slice": views.slice_, "select": views.select,
    "view_as": views.reshape, "reshape_as": views.reshape, "swapaxes": views.transpose, "swapdims": views.transpose,
    "stack": views.stack, "roll": views.roll,
    "unbind": views.unbind, "chunk": views.split, "split": views.split, "split_with_sizes": views.split,
    "slice_scatter": views.slice_scatter, "select_scatter": views.select_scatter, "pad": views.pad,
    "constant_pad_nd": views.pad,
}  # fmt: skip

ANYWHERE = frozenset({
    "linear", "batch_norm", "_native_batch_norm_legit_no_training", "relu", "relu6", "sigmoid", "hardsigmoid", "silu",
    "hardswish", "tanh", "gelu", "leaky_relu", "hardtanh", "clamp", "clamp_min", "clamp_max", "softmax", "_softmax",
    "log_softmax", "_log_softmax", "dropout", "feature_dropout", "contiguous", "clone", "detach", "alias",
    "lift_fresh_copy", "_to_copy", "to", "_assert_tensor_metadata", "add", "sub", "rsub", "mul", "div", "neg", "expand",
    "masked_fill", "where", "subtract", "multiply", "divide", "true_divide", "negative", "addmm", "mm", "unfold",
    "concatenate",
    "expand_as", "view", "_unsafe_view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as",
    "reshape_as", "permute", "transpose", "swapaxes", "swapdims", "slice", "select", "roll", "unbind", "chunk", "split",
    "split_with_sizes", "cat", "concat", "stack", "layer_norm", "native_layer_norm", "rms_norm", "matmul", "bmm",
    "scaled_dot_product_attention", "embedding", "mean", "addcmul", "amax",
    "einsum",
    *sources.TABLE, *functions.TABLE, *reductions.TABLE,
})  # fmt: skip
"""Operators whose rules name axes by `Call.axis` alone, so that the batch may be at any axis."""
