"""Options that do what several others of their decision do: what each does to a layer's weights, together.

A layer's shapes of kernels times its kinds of numbers are some thirty options, of ten parts. Damages of the parts
nearly add up: [measured] on the layers of ResNet-8 (Fashion-MNIST) with 5 of 9 taps and 4 or 5 bits, their sum is .89
to 1.27 of what scoring both together gives. So the parts are scored, and their sum stands for what is made of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from chipfit.space.menu import Choice, Decision, Menu


def parts_of(decision: Decision) -> dict[int, tuple[int, ...]]:
    """Options with several edits, each of which is an option of its own, to these options."""
    alone = {option.edits[0]: o for o, option in enumerate(decision.options) if len(option.edits) == 1}
    found: dict[int, tuple[int, ...]] = {}
    for o, option in enumerate(decision.options):
        if len(option.edits) > 1 and all(e in alone for e in option.edits):
            found[o] = tuple(alone[e] for e in option.edits)
    return found


def summed(menu: Menu, found: Mapping[Choice, float]) -> dict[Choice, float]:
    """Damages of options that are made of others whose damages are known."""
    sums: dict[Choice, float] = {}
    for d, decision in enumerate(menu.decisions):
        for o, parts in parts_of(decision).items():
            if all((d, p) in found for p in parts):
                sums[d, o] = sum(found[d, p] for p in parts)
    return sums
