"""Which programs are worth a place on the menu: those whose kernels take less than their layer's, at full width.

A layer counts at its better precision, and so does a program: where int8 makes a small convolution take as little as a
launch, there is nothing to win, whatever the program saves in float. What is left is a few programs a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from chipfit.core.deadline import Deadline
from chipfit.core.graph import Graph
from chipfit.core.kernel import Kernel, kernels
from chipfit.core.protocols import Foretelling
from chipfit.device.accelerator.port import designing
from chipfit.evaluate.counts import macs
from chipfit.evaluate.in_time import InTime, work
from chipfit.evaluate.kernel_ms import kernel_ms
from chipfit.evaluate.programs import in_place
from chipfit.evaluate.timing import Latencies, Timing
from chipfit.space.program.seeds import usual
from chipfit.space.programmed import replaceable

GAIN = 0.1
"""Share of a layer's time that a program has to save."""


def worthwhile(
    graph: Graph,
    timing: Latencies,
    bits: Collection[int],
    keep: Collection[str] = (),
    deadline: Deadline | None = None,
    programs: Sequence[str] | None = None,
) -> dict[str, tuple[str, ...]]:
    """The layers that programs are offered for on these devices, in the graph's order, with those programs.

    On an accelerator, whose hardware is a variable, none are; where latencies are foretold, multiply-accumulates tell.
    """
    if any(designing(one.device) is not None for one, _ in timing.each):
        return {}
    block = timing.facts.channel_block.get(32, 1)
    layers = _layers(graph, keep)
    instead = {name: _fitting(layer, programs, block) for name, layer in layers.items()}
    asked = list(layers.values())
    for inside in instead.values():
        for ks in inside.values():
            asked += ks
    prices = [_prices(one, asked, bits, deadline or Deadline.never()) for one, _ in timing.each]
    factors = [factor for _, factor in timing.each]

    def ms(ks: Sequence[Kernel]) -> float:
        """On all devices together, at the better precision of each."""
        total = 0.0
        for known, factor in zip(prices, factors, strict=True):
            each = [sum(known[replace(k, bits=b)] for k in ks) for b in bits]
            total += factor * min(each)
        return total

    return _cheaper(layers, instead, ms)


def _prices(timing: Timing, asked: Sequence[Kernel], bits: Collection[int], deadline: Deadline) -> dict[Kernel, float]:
    """Milliseconds of kernels in each of these precisions on one device; where they are foretold, their work."""
    wanted = {replace(k, bits=b) for k in asked for b in bits}
    if isinstance(timing.device, Foretelling):
        return {k: work(k) for k in wanted}
    return kernel_ms(wanted, timing, InTime(timing, deadline))


def cheaper_by_macs(
    graph: Graph, keep: Collection[str] = (), programs: Sequence[str] | None = None
) -> dict[str, tuple[str, ...]]:
    """The same where no device is asked: programs that save multiply-accumulates."""
    layers = _layers(graph, keep)
    instead = {name: _fitting(layer, programs, 1) for name, layer in layers.items()}
    return _cheaper(layers, instead, lambda ks: float(sum(map(macs, ks))))


def _layers(graph: Graph, keep: Collection[str]) -> dict[str, Kernel]:
    """The layers that programs may compute, as the kernels that they are."""
    free = set(replaceable(graph, keep))
    return {name: kernel for name, kernel in kernels(graph).items() if name in free}


def _cheaper(
    layers: Mapping[str, Kernel],
    instead: Mapping[str, Mapping[str, tuple[Kernel, ...]]],
    price: Callable[[Sequence[Kernel]], float],
) -> dict[str, tuple[str, ...]]:
    """For each layer the programs that save enough of its price."""
    found = {}
    for name, layer in layers.items():
        most = (1 - GAIN) * price((layer,))
        texts = tuple(text for text, inside in instead[name].items() if price(inside) < most)
        if texts:
            found[name] = texts
    return found


def _fitting(layer: Kernel, programs: Sequence[str] | None, block: int) -> dict[str, tuple[Kernel, ...]]:
    """The kernels of each program that fits a layer, the usual ones if none are given, and that can be timed alone."""
    found = {}
    known = [p.text for p in usual(layer.kind, layer.attr("kernel", (1, 1)))]
    for text in known if programs is None else programs:
        try:
            inside = in_place(layer, text, block)
        except ValueError:  # ill-typed there
            continue
        if not any(k.in_place for k in inside):
            found[text] = inside
    return found
