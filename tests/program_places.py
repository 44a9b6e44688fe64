"""Places that programs are tried at."""

from __future__ import annotations

from chipfit.space.program import Place


def conv(c: int, m: int, size: int = 9, **window: object) -> Place:
    """A 3x3 convolution of C to M channels that keeps the size of a map, unless said otherwise."""
    known = {"kernel": (3, 3), "stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), **window}
    after = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for k, s, p, d in zip(*(known[name] for name in ("kernel", "stride", "padding", "dilation")), strict=True)  # type: ignore[call-overload]
    ]
    return Place("layer", "conv", "before", "w", (c, size, size), (m, *after), True, **known)  # type: ignore[arg-type]


PLACES = {
    "as wide": conv(16, 16),
    "wider": conv(16, 32),
    "narrow": conv(6, 10),
    "strided": conv(16, 32, stride=(2, 2)),
    "strided, even": conv(16, 32, size=8, stride=(2, 2)),
    "patches": conv(16, 24, size=8, kernel=(2, 2), stride=(2, 2), padding=(0, 0)),
    "valid": conv(8, 16, padding=(0, 0)),
    "dilated": conv(16, 16, padding=(2, 2), dilation=(2, 2)),
    "5x5": conv(16, 16, kernel=(5, 5), padding=(2, 2)),
    "point": conv(16, 64, kernel=(1, 1), padding=(0, 0)),
    "tokens": Place("layer", "linear", "before", "w", (5, 16), (5, 32), True),
    "features": Place("layer", "linear", "before", "w", (32,), (16,), False),
}
