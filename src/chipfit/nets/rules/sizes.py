"""Rules of what gives maps another size, and of convolutions and pools over one or three axes.

One axis is written as two, the first of size 1: so it has the kernels, edits and formats of maps (`nets.maps` takes the
views between them away).
"""

from __future__ import annotations

from typing import Any

from chipfit.nets.rules.call import Call, part_name, shape_of
from chipfit.nets.rules.constants import Constant
from chipfit.nets.rules.tracer import Rule, Tracer


def as_map(t: Tracer, call: Call, x: str) -> str:
    """A value (C, L) as a map (C, 1, L)."""
    channels, length = t.shapes[x]
    shape = (channels, 1, length)
    return t.add(part_name(call, "map"), "reshape", (x,), shape, to=shape)


def as_row(t: Tracer, call: Call, x: str) -> str:
    """A map (C, 1, L) as a value (C, L)."""
    channels, _, length = t.shapes[x]
    return t.add(part_name(call, "row"), "reshape", (x,), (channels, length), to=(channels, length))


def _numbers(call: Call, name: str, axes: int, default: int) -> tuple[int, ...]:
    """An argument of one or `axes` whole numbers as so many."""
    value = call.take(name, default)
    values = [int(v) for v in value] if isinstance(value, list | tuple) else [int(value)]
    values = values or [default]
    return tuple(values * axes) if len(values) == 1 else tuple(values)


def _layer(t: Tracer, call: Call, kind: str, x: str, weight: Constant, shape: tuple[int, ...], **attrs: Any) -> str:
    bias = t.constant(call, "bias")
    arrays = {"weight": weight} if bias is None else {"weight": weight, "bias": bias}
    owner = t.owner(call, weight, "weight")
    return t.shared(call, kind, (x,), shape, arrays, owner, **attrs, bias=int(bias is not None))


def _weight(t: Tracer, call: Call) -> Constant:
    weight = t.constant(call, "weight")
    assert weight is not None
    return weight


def _as_map_weight(weight: Constant) -> Constant:
    """A kernel over one axis as one over two; the parameter is still its own."""
    return Constant(weight.value.unsqueeze(2), weight.name, weight.source, weight.roots)


def _padding(call: Call, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[int, ...]:
    given = call.values["padding"]
    if not isinstance(given, str):
        return _numbers(call, "padding", len(kernel), 0)
    call.take("padding")
    if given == "valid":
        return (0,) * len(kernel)
    spans = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    if any(span % 2 for span in spans):
        call.refuse("pads an even kernel to 'same', which is not symmetric and")
    return tuple(span // 2 for span in spans)


def _window(call: Call, kernel: tuple[int, ...]) -> dict[str, Any]:
    axes = len(kernel)
    dilation = _numbers(call, "dilation", axes, 1)
    return {
        "kernel": kernel,
        "stride": _numbers(call, "stride", axes, 1),
        "padding": _padding(call, kernel, dilation),
        "dilation": dilation,
        "groups": int(call.take("groups")),
    }


def _flat(window: dict[str, Any]) -> dict[str, Any]:
    """The window over one axis as one over two."""
    neutral = {"kernel": 1, "stride": 1, "padding": 0, "dilation": 1, "extra": 0}
    return {name: (neutral[name], *value) if name in neutral else value for name, value in window.items()}


def conv1d(t: Tracer, call: Call) -> None:
    """A convolution over one axis."""
    weight = _weight(t, call)
    window = _flat(_window(call, tuple(weight.value.shape[2:])))
    channels, length = t.sample_shape(call.node)
    x = as_map(t, call, t.value(call))
    made = _layer(t, call, "conv", x, _as_map_weight(weight), (channels, 1, length), **window)
    t.known[call.node.name] = as_row(t, call, made)


def conv3d(t: Tracer, call: Call) -> None:
    """A convolution over three axes."""
    weight, x = _weight(t, call), t.value(call)
    window = _window(call, tuple(weight.value.shape[2:]))
    t.known[call.node.name] = _layer(t, call, "conv3d", x, weight, t.sample_shape(call.node), **window)


def conv_transpose(t: Tracer, call: Call) -> None:
    """A transposed convolution over one axis or two."""
    weight, shape, x = _weight(t, call), t.sample_shape(call.node), t.value(call)
    axes = len(shape) - 1
    window = _window(call, tuple(weight.value.shape[2:]))
    window["extra"] = _numbers(call, "output_padding", axes, 0)
    if axes == 2:
        t.known[call.node.name] = _layer(t, call, "conv_transpose", x, weight, shape, **window)
        return
    channels, length = shape
    whole = (channels, 1, length)
    made = _layer(t, call, "conv_transpose", as_map(t, call, x), _as_map_weight(weight), whole, **_flat(window))
    t.known[call.node.name] = as_row(t, call, made)


def pool(kind: str, axes: int) -> Rule:
    """The rule of a pool over one axis (as a map) or three."""

    def rule(t: Tracer, call: Call) -> None:
        if len(shape_of(call.node_of("self"))) != axes + 2:
            call.refuse(f"on {shape_of(call.node_of('self'))[1:]}, which takes the batch axis for channels,")
        kernel = _numbers(call, "kernel_size", axes, 1)
        stride = _numbers(call, "stride", axes, 1) if call.values.get("stride") else kernel
        call.take("stride")
        window: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": _numbers(call, "padding", axes, 0)}
        if set(_numbers(call, "dilation", axes, 1)) != {1}:
            call.refuse(f"with dilation={call.values['dilation']}")
        more: dict[str, Any] = {"ceil": int(call.take("ceil_mode"))}
        if kind == "avg_pool":
            more["count_include_pad"] = int(call.take("count_include_pad"))
        t.known[call.node.name] = _pooled(t, call, kind, window, more)
        t.parts[call.node.name] = [t.known[call.node.name]]

    return rule


def _pooled(t: Tracer, call: Call, kind: str, window: dict[str, Any], more: dict[str, Any]) -> str:
    x, shape = t.value(call), t.sample_shape(call.node)
    if len(shape) == 4:
        return t.add(t.wish(call, f"{kind}3d"), f"{kind}3d", (x,), shape, **window, **more)
    channels, length = shape
    x = as_map(t, call, x)
    made = t.add(t.wish(call, kind), kind, (x,), (channels, 1, length), **_flat(window), **more)
    return as_row(t, call, made)


def adaptive(kind: str, whole: str) -> Rule:
    """The rule of a pool over one or three axes to size 1, or to a size that divides the one there is."""

    def rule(t: Tracer, call: Call) -> None:
        call.ignore("output_size")
        x, before, after = t.value(call), shape_of(call.node_of("self"))[2:], call.shape[2:]
        shape = t.sample_shape(call.node)
        if len(shape) != len(after) + 1 or any(n % m for n, m in zip(before, after, strict=True)):
            call.refuse(f"from {before} to {after}, which does not divide it,")
        step = tuple(n // m for n, m in zip(before, after, strict=True))
        if set(after) == {1}:
            axes = tuple(range(1, len(shape)))
            made = t.add(t.wish(call, whole), whole, (x,), shape, axes=axes, keep=1)
        else:
            window = {"kernel": step, "stride": step, "padding": (0,) * len(step)}
            more = {"ceil": 0} | ({"count_include_pad": 1} if kind == "avg_pool" else {})
            made = _pooled(t, call, kind, window, more)
        t.known[call.node.name] = made
        t.parts[call.node.name] = [made]

    return rule


def resize(mode: str, axes: int = 2) -> Rule:
    """The rule of an interpolation over one axis (as a map) or two."""

    def rule(t: Tracer, call: Call) -> None:
        call.ignore("output_size")
        x, shape, before = t.value(call), t.sample_shape(call.node), shape_of(call.node_of(_source(call)))[2:]
        align = int(bool(call.take("align_corners", False)))
        attrs: dict[str, Any] = {"mode": mode, "align": align}
        if scales := _scales(call, before, shape[1:]):
            attrs["scales"] = scales if axes == 2 else (1.0, *scales)
        if axes == 2:
            t.put(call, "resize", (x,), **attrs)
            return
        channels, length = shape
        wide = t.add(t.wish(call, "resize"), "resize", (as_map(t, call, x),), (channels, 1, length), **attrs)
        t.known[call.node.name] = as_row(t, call, wide)

    return rule


def _source(call: Call) -> str:
    return "input" if "input" in call.values else "self"


def _scales(call: Call, before: tuple[int, ...], after: tuple[int, ...]) -> tuple[float, ...]:
    """The factors that torch computes with, where they are given and are not those of the sizes."""
    factors = call.take("scale_factors")
    if factors is None:
        names = ("scales",) if len(before) == 1 else ("scales_h", "scales_w")
        found = [call.take(name) for name in names]
        factors = None if any(f is None for f in found) else found
    ratios = [m / n for n, m in zip(before, after, strict=True)]
    if factors is None or all(abs(f - r) < 1e-9 for f, r in zip(factors, ratios, strict=True)):
        return ()
    return tuple(float(f) for f in factors)


def shuffle(t: Tracer, call: Call) -> None:
    """Channels to places: (C r r, H, W) as (C, H r, W r)."""
    r, x = int(call.take("upscale_factor")), t.value(call)
    channels, height, width = t.shapes[x]
    c = channels // r**2
    _rearranged(t, call, x, (c, r, r, height, width), (0, 3, 1, 4, 2))


def unshuffle(t: Tracer, call: Call) -> None:
    """Places to channels: (C, H r, W r) as (C r r, H, W)."""
    r, x = int(call.take("downscale_factor")), t.value(call)
    channels, height, width = t.shapes[x]
    _rearranged(t, call, x, (channels, height // r, r, width // r, r), (0, 2, 4, 1, 3))


def channel_shuffle(t: Tracer, call: Call) -> None:
    """Channels of groups in turn: (g, C / g) as (C / g, g)."""
    groups, x = int(call.take("groups")), t.value(call)
    channels, *places = t.shapes[x]
    shape = (groups, channels // groups, *places)
    _rearranged(t, call, x, shape, (1, 0, *range(2, len(shape))))


def _rearranged(t: Tracer, call: Call, x: str, shape: tuple[int, ...], perm: tuple[int, ...]) -> None:
    apart = t.add(part_name(call, "apart"), "reshape", (x,), shape, to=shape)
    order = tuple(shape[p] for p in perm)
    turned = t.add(part_name(call, "turned"), "transpose", (apart,), order, perm=perm)
    t.put(call, "reshape", (turned,), to=t.sample_shape(call.node))


TABLE: dict[str, Rule] = {
    "conv1d": conv1d, "conv3d": conv3d, "conv_transpose1d": conv_transpose, "conv_transpose2d": conv_transpose,
    "max_pool1d": pool("max_pool", 1), "max_pool1d_with_indices": pool("max_pool", 1),
    "avg_pool1d": pool("avg_pool", 1), "max_pool3d": pool("max_pool", 3),
    "max_pool3d_with_indices": pool("max_pool", 3), "avg_pool3d": pool("avg_pool", 3),
    "adaptive_avg_pool1d": adaptive("avg_pool", "reduce_mean"),
    "adaptive_max_pool1d": adaptive("max_pool", "reduce_max"),
    "adaptive_avg_pool3d": adaptive("avg_pool", "reduce_mean"),
    "_adaptive_avg_pool3d": adaptive("avg_pool", "reduce_mean"),
    "adaptive_max_pool3d": adaptive("max_pool", "reduce_max"),
    "upsample_nearest1d": resize("nearest", 1), "upsample_linear1d": resize("linear", 1),
    "upsample_nearest2d": resize("nearest"), "upsample_bilinear2d": resize("linear"),
    "upsample_bicubic2d": resize("cubic"),
    "pixel_shuffle": shuffle, "pixel_unshuffle": unshuffle, "channel_shuffle": channel_shuffle,
}  # fmt: skip
