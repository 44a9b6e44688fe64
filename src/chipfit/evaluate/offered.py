"""What may change of a network on a device, with no more widths than the tables of its costs have room for.

There are two rules for how many widths a group has. On a device whose hardware is fixed all tables together are bounded
(`space.coarse_widths`); where the hardware is a variable each width is timed on thousands of designs (`modelled`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chipfit.core.graph import Graph
from chipfit.device.accelerator.port import designing
from chipfit.evaluate.modelled import widths_on_designs
from chipfit.evaluate.timing import Latencies
from chipfit.space.coarse_widths import most_widths
from chipfit.space.knobs import Knobs
from chipfit.space.offer import Offer, offer


def offered(
    graph: Graph,
    timing: Latencies,
    *,
    bits: Sequence[int],
    keep: Sequence[str],
    knobs: Mapping[str, Knobs] = {},
    programs: Mapping[str, tuple[str, ...]] = {},
) -> Offer:
    """The menu of a graph, not priced.

    `bits` are what sites may be computed in; with `knobs` on layers they are those of each layer, and only the first
    of `bits` is that of a site. `keep` names layers to leave alone, `programs` what else may compute some.
    """
    block = timing.facts.channel_block
    varies = len(timing.each) == 1 and designing(timing.device) is not None
    widths = widths_on_designs(graph) if varies or knobs else most_widths(graph, block)
    bits, programs = (bits[:1], {}) if knobs else (bits, programs)
    return offer(graph, block, bits=bits, keep=keep, knobs=knobs, widths=widths, programs=programs)
