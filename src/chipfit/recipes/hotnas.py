"""HotNAS on the flow of `fit`: from a zoo of trained networks, edits and the accelerator's design found together.

Source: HotNAS (Jiang et al., arXiv 2007.09087). Its stages are named as there:

    iSearch    every model on the design that suits it best; those near the limit go on
    iDetect    what holds each layer back on that design: arithmetic, weights, inputs or outputs; how far the next is
    iSpace     each of these opens a knob: arithmetic patterns and int8, weights fixed-point formats and int8; ports are
               the design's own; layers with arithmetic to spare may have larger kernels; widths and depth are open
    iDesign    edits and design in one exact search (`search.codesign`), in place of reinforcement learning
    iRefine    repair, fine-tune, files

On a device whose hardware is fixed the same flow runs without iDetect and with the knobs that such a device profits
from: widths, depth and int8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar, cast

from chipfit.compress.patterns import TOGETHER, pattern_sets, prunable
from chipfit.core.fixed_point import WIDEST
from chipfit.core.graph import LAYERS, Network, Op
from chipfit.core.kernel_patterns import Pattern
from chipfit.core.types import Plain
from chipfit.core.words import number_of
from chipfit.device.accelerator.breakdown import LayerTime, shares
from chipfit.device.accelerator.port import Designing
from chipfit.export.fixed import formats
from chipfit.recipes.settings import Progress
from chipfit.report.hardware import STAGES
from chipfit.space.edits.fixed import formats as fixed_formats
from chipfit.space.edits.pattern import ZEROS, candidates, drawn_by_hand
from chipfit.space.edits.precision import JOINS
from chipfit.space.knobs import Knobs
from chipfit.store.store import Store

T = TypeVar("T")

STEPS: Mapping[str, str] = {**STAGES, "detect": "iDetect", "menu": "iSpace"}
"""What `fit` says that it does to the published names of the stages: its phases, and two steps of one of them."""

PATTERN_SETS = 2
"""Of each kernel size: a light set of patterns and a heavy one."""
FORMATS = 2
"""Fixed-point formats that a layer is offered at most, of those that its bottleneck suggests, the least among them."""


def named(progress: Progress) -> Progress:
    """Progress whose phases have the published names of HotNAS's stages."""

    def tell(phase: str, detail: str) -> None:
        progress(STEPS.get(phase, phase), detail)

    return tell


def detect(store: Store, name: str, rows: Sequence[LayerTime]) -> str:
    """What iDetect found, in one line; by class and kernel, with milliseconds, it goes to the fact "bottlenecks"."""
    found = shares(rows)
    told = cast(dict[str, Plain], store.fact("bottlenecks") or {})
    told[name] = [[s.bottleneck, list(s.kernel), list(s.ops), s.ms] for s in found]
    store.set_fact("bottlenecks", told)
    by_class: dict[str, list[float]] = {}
    for row in rows:
        by_class.setdefault(row.bottleneck, []).append(row.ms)
    ordered = sorted(by_class.items(), key=lambda item: -sum(item[1]))
    words = [f"{what} {sum(ms):.4g} ms in {number_of(len(ms), 'operator')}" for what, ms in ordered]
    return f"{name}: {'; '.join(words)}"


def knobs(network: Network, device: Designing, bits: Sequence[int]) -> dict[str, Knobs]:
    """What iSpace opens: what may be done to each layer's weights, by what holds it back on its network's best design.

    Args:
        network: as it came, or without weights, of which costs alone can be told.
        device: the accelerator.
        bits: precisions that may be used; 8 opens int8.
    """
    rows = {row.op: row for row in device.chosen(network.graph).rows}
    sets = pattern_sets(network) if network.weights else some_patterns()
    sets = {size: thinned(of, PATTERN_SETS) for size, of in sets.items()}
    integer = {name: whole for name, (whole, _) in formats(network).items()} if network.weights else {}
    found: dict[str, Knobs] = {}
    for o in network.graph:
        if o.name not in rows or o.kind not in LAYERS | JOINS:
            continue
        row = rows[o.name]
        known = Knobs(sets.get(row.kernel[0], ()), True, _narrower(row, integer.get(o.name, 1)), 8 in bits)
        found[o.name] = _asked_for(o, network, row, known)
    return found


def _asked_for(o: Op, network: Network, row: LayerTime, known: Knobs) -> Knobs:
    """Of the knobs that there are for an operator those that what holds it back asks for."""
    computing, weights = (row.bottleneck == what for what in ("computing", "loading weights"))
    in_float = o.bits != 8
    grows = o.kind == "conv" and bool(network.weights) and _has_arithmetic_to_spare(row)
    return Knobs(
        patterns=known.patterns if computing and prunable(network.graph, o) else (),
        expand=known.expand and grows,
        formats=known.formats if weights and in_float else (),
        int8=known.int8 and in_float,
    )


def some_patterns() -> dict[int, tuple[tuple[Pattern, ...], ...]]:
    """Sets of patterns where no weights say which: they cost what any with as many places cost."""
    found: dict[int, tuple[tuple[Pattern, ...], ...]] = {7: (drawn_by_hand(),)}
    for size, zeros in ZEROS.items():
        found[size] = tuple(candidates(size, n)[:TOGETHER] for n in zeros)
    return found


def thinned(choices: Sequence[T], most: int) -> tuple[T, ...]:
    """At most so many of some choices, evenly spread, the last always among them.

    >>> thinned((1, 2, 3, 4), 2)
    (2, 4)
    """
    if len(choices) <= most:
        return tuple(choices)
    return tuple(choices[-(-len(choices) * (n + 1) // most) - 1] for n in range(most))


def _narrower(row: LayerTime, integer: int) -> tuple[tuple[int, int], ...]:
    """Formats of fewer than 16 bits that a layer is offered, the widest first."""
    fractions = [f for f in fixed_formats(integer, row.slack) if integer + f < WIDEST]
    return tuple((integer, f) for f in thinned(fractions[::-1], FORMATS))


def _has_arithmetic_to_spare(row: LayerTime) -> bool:
    """True where larger kernels (one place more all around) take no longer: the maps hold the layer back by far."""
    side = row.kernel[0]
    more = ((side + 2) / side) ** 2
    computing, weights, inputs, outputs = row.parts_ms
    return more * max(computing, weights) <= max(inputs, outputs)
