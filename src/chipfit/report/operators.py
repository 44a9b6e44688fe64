"""What was found of a network's operators: which are slowest on the device, and which programs may compute them.

The fact "operators" holds one for each model.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Operators:
    """What was found of one network.

    Attributes:
        slowest: (operator, kind, share of the time, ms or None), the slowest first.
        tried: programs that were looked at.
        programs: (text, layer in words, layers of that kind, time / the layer's, harm in nats, time of the network
            with it in all of them / without).
        why: nothing is offered, in words; empty where something is.
        short: what the time was too short for, in words; empty where it was not.
        error_tau: rank correlation, over these programs, of the error of the layer's answers with the harm.
        ms_tau: the same of their kernels' time with the time of the network; None where there are too few to tell.
    """

    slowest: tuple[tuple[str, str, float, float | None], ...] = ()
    tried: int = 0
    programs: tuple[tuple[str, str, int, float, float, float], ...] = ()
    why: str = ""
    error_tau: float | None = None
    ms_tau: float | None = None
    short: str = ""
