"""How an accelerator is named: `accel:PART[@CLOCK][/NAME=NUMBER...]`, such as `accel:zcu102@150/dsp=1200/tk=5`.

The clock is in MHz. A NAME is a resource, of which no more than NUMBER (or a share of the part's, "50%") may be used,
or a parameter of the design, which then is NUMBER.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.words import real, whole
from chipfit.device.accelerator.parts import LIMITS, Part, limited, part
from chipfit.space.hardware import DEFAULTS, Designs

PREFIX = "accel:"
RESOURCES = (*LIMITS, "ddr_gb_s")
"""What a limit on hardware may be set to."""
FASTEST_MHZ = 2000.0


@dataclass(frozen=True, slots=True)
class Target:
    """A part with limits in place and at its clock, and the parameters of its design that are given."""

    name: str
    part: Part
    pinned: Mapping[str, int] = field(default_factory=dict)


def target(name: str) -> Target:
    """The accelerator of a name with its prefix.

    >>> target("accel:zcu102@150/dsp=1200").part.dsp
    1200

    Raises:
        BadInput: an unknown part, resource or parameter (proposes the closest), or a number that cannot be used.
    """
    chip, *settings = name.removeprefix(PREFIX).split("/")
    model, at, clock = chip.partition("@")
    if not model.strip():
        raise BadInput(f"device {name!r} names no part; write {PREFIX}zcu102; see chipfit devices")
    found = part(model)
    if at:
        found = replace(found, clock_mhz=real("a clock in MHz", clock, 0.0, FASTEST_MHZ))
    limits: dict[str, str] = {}
    pinned: dict[str, int] = {}
    for setting in settings:
        what, _, number = (text.strip() for text in setting.partition("="))
        if what in RESOURCES:
            limits[what] = _amount(what, number, found)
        elif what in DEFAULTS:
            pinned[what] = whole(what, number, 0, 10**6)
        else:
            known = (*RESOURCES, *DEFAULTS)
            raise BadInput(
                f"{what!r} of device {name!r} is unknown{did_you_mean(what, known)}; known: {', '.join(known)}"
            )
    if pinned:
        _check(pinned)
    return Target(name, limited(found, limits), pinned)


def limited_name(name: str, limits: Sequence[str]) -> str:
    """The name of the same accelerator within further limits, each like "dsp=1200": a later one counts."""
    chip, *settings = name.split("/")
    given = {text.partition("=")[0].strip(): text.replace(" ", "") for text in (*settings, *limits)}
    return "/".join((chip, *given.values()))


def _amount(resource: str, number: str, of: Part) -> str:
    """The amount of a resource; a share becomes that share of the part's."""
    if not number.endswith("%"):
        return number
    share = real(f"{resource} in %", number.removesuffix("%"), 0.0, 100.0)
    amount = share / 100 * getattr(of, resource)
    return f"{amount:g}" if resource == "ddr_gb_s" else str(int(amount))


def _check(pinned: Mapping[str, int]) -> None:
    """Refuses a parameter that no design can have."""
    ones = {name: 1 for name in DEFAULTS if name not in ("mac_bits", "unroll", "space_to_depth")}
    Designs.of(ones | dict(pinned))
