"""Computing a run of operators in other numbers; arrays and what they answer for stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chipfit.core.edits import Edit, Edited, Precision
from chipfit.core.graph import Graph
from chipfit.core.types import Plain
from chipfit.space.edits.kind import Kind, Structure
from chipfit.space.groups import QUANTISABLE


def computed_in(edits: Sequence[Edit]) -> int | None:
    """The bits that the edits of one option compute their site in; None where they change none."""
    return next((e.bits for e in edits if isinstance(e, Precision)), None)


def _rewrite(original: Structure, made: Edited, edits: Sequence[Precision]) -> Edited:
    sites, bits = original.sites, dict[str, int]()
    for e in edits:
        if e.site not in sites:
            raise KeyError(f"no precision site {e.site!r}; there are {', '.join(sites)}")
        bits |= dict.fromkeys(sites[e.site].ops, e.bits)
    ops = tuple(
        replace(o, bits=bits[o.name]) if o.name in bits and o.kind in QUANTISABLE else o for o in made.graph
    )  # fmt: skip
    return replace(made, graph=Graph(ops, made.graph.output))


def _from_plain(site: str, rest: Sequence[Plain]) -> Precision:
    (bits,) = rest
    return Precision(site, int(bits))  # type: ignore[arg-type]


PRECISION = Kind(
    "precision",
    Precision,
    _rewrite,
    to_plain=lambda e: [e.site, e.bits],
    from_plain=_from_plain,
    in_words=lambda e: f"{e.site!r} at {e.bits} bits",
    changed="sites in int8",
    caption="The number format that each site computes in.",
    numbers_only=True,
)
