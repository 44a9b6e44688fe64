"""The kinds of edits that ship obey the laws of edits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from chipfit.compress.edit import apply
from chipfit.core.edits import Edit
from chipfit.core.graph import Network
from chipfit.nets.build import build
from chipfit.nets.trace import trace
from chipfit.space.edits import Precision, Skip, Swap, Width, edited, from_plain, kind_of, to_plain
from chipfit.space.edits.expand import Expand
from chipfit.space.edits.fixed import Fixed
from chipfit.space.edits.pattern import Pattern, candidates
from chipfit.testing import EditLaws
from compress.networks import network_of


class TestEdits(EditLaws):
    """Of a residual network: each kind, on layers that others of them change or drop too."""

    def network(self) -> Network:
        return network_of("resnet8")

    def edits(self) -> Sequence[Edit]:
        return (
            Skip("5.add"),
            Width("4.body.3", (0, 3, 5, 6, 31)),
            Width("5.body.0", (1, 2)),
            Expand("5.shortcut.0"),
            Pattern("5.body.3", candidates(3, 4)[10:14]),
            Fixed("5.body.3", 1, 5),
            Precision("4.body.0", 8),
            Swap("5.body.0", "conv(x, Kx1, M/2); conv(_, 1xK, M)"),
        )

    def trace(self) -> Callable:
        return trace

    def build(self) -> Callable:
        return build

    def apply_network(self) -> Callable:
        return apply

    def edited(self) -> Callable:
        return edited

    def to_plain(self) -> Callable:
        return to_plain

    def from_plain(self) -> Callable:
        return from_plain

    def grows(self) -> Callable:
        return lambda edit: kind_of(edit).grows
