"""FPGA parts: what an accelerator may use of each. Figures are of the vendor's product tables and board manuals.

Clocks are ours, what such engines commonly close timing at; a part with another is `replace(part, clock_mhz=...)`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from chipfit.core.errors import BadInput, did_you_mean
from chipfit.core.words import real, whole

PACKING: Mapping[str, Mapping[int, int]] = {
    "DSP48E1": {16: 1, 8: 1, 4: 2},
    "DSP48E2": {16: 1, 8: 2, 4: 4},
}
"""Kind of multiplier -> bits of both factors -> products that one of them forms a cycle.

Two products of 8 bits that share a factor fit into 27 x 18 bits, not into the older one's 25 x 18.
"""

LIMITS = ("dsp", "bram18", "uram", "lutram", "port_bits")
"""Resources that a design uses and a limit may be set to."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part and the memory of its usual board.

    `dsp`: multipliers, of the kind `dsp_kind`. `bram18`, `uram`: memories of 18 and 288 Kbit. `lutram`: look-up tables
    that can be memories of 64 x 1 bit. `port_bits`: bits a cycle between the logic and the board's memory, which moves
    `ddr_gb_s` (10^9 bytes a second).
    """

    name: str
    chip: str
    dsp_kind: str
    dsp: int
    bram18: int
    uram: int
    lutram: int
    port_bits: int
    ddr_gb_s: float
    clock_mhz: float

    def macs(self, bits: int) -> int:
        """Products of this many bits a cycle, all multipliers busy.

        Raises:
            BadInput: multipliers of that width are not made.
        """
        packing = PACKING[self.dsp_kind]
        if bits not in packing:
            raise BadInput(f"multipliers of {bits} bits are not modelled; give one of {', '.join(map(str, packing))}")
        return self.dsp * packing[bits]


_MPSOC, _ALVEO = 512, 2048

PARTS: Mapping[str, Part] = {
    part.name: part
    for part in (
        Part("pynq-z2", "XC7Z020", "DSP48E1", 220, 280, 0, 17_400, 256, 2.1, 100.0),
        Part("zc706", "XC7Z045", "DSP48E1", 900, 1_090, 0, 70_400, 256, 12.8, 150.0),
        Part("zu3eg", "XCZU3EG", "DSP48E2", 360, 432, 0, 28_800, _MPSOC, 4.2, 200.0),
        Part("kv260", "XCK26", "DSP48E2", 1_248, 288, 64, 57_600, _MPSOC, 19.2, 200.0),
        Part("zcu104", "XCZU7EV", "DSP48E2", 1_728, 624, 96, 101_760, _MPSOC, 19.2, 200.0),
        Part("zcu102", "XCZU9EG", "DSP48E2", 2_520, 1_824, 0, 144_000, _MPSOC, 19.2, 200.0),
        Part("u50", "XCU50", "DSP48E2", 5_952, 2_688, 640, 402_720, _ALVEO, 316.0, 300.0),
        Part("u280", "XCU280", "DSP48E2", 9_024, 4_032, 960, 600_960, _ALVEO, 460.0, 300.0),
        Part("u250", "XCU250", "DSP48E2", 12_288, 5_376, 1_280, 791_040, _ALVEO, 77.0, 300.0),
    )
}
"""The parts that are known, smallest first."""


def part(name: str) -> Part:
    """The part of this name.

    >>> part("zcu102").dsp
    2520

    Raises:
        BadInput: an unknown part; proposes the closest.
    """
    found = PARTS.get(name.strip().lower())
    if found is None:
        raise BadInput(f"part {name!r} is unknown{did_you_mean(name, PARTS)}; known: {', '.join(PARTS)}")
    return found


def limited(part: Part, limits: Mapping[str, float | str]) -> Part:
    """The part with less of some resources; a limit above what it has leaves it as it is.

    Args:
        part: what is there.
        limits: resource (one of `LIMITS`, or `ddr_gb_s`) to the most that may be used of it.

    Raises:
        BadInput: no such resource, or a limit that is no number above zero.
    """
    given: dict[str, float] = {}
    for name, value in limits.items():
        if name in LIMITS:
            given[name] = min(whole(name, value, 0, 10**9), getattr(part, name))
        elif name == "ddr_gb_s":
            given[name] = min(real(name, value, 0.0, 1e6), part.ddr_gb_s)
        else:
            known = (*LIMITS, "ddr_gb_s")
            raise BadInput(f"resource {name!r} is unknown{did_you_mean(name, known)}; known: {', '.join(known)}")
    return replace(part, **given)  # type: ignore[arg-type]
