from __future__ import annotations

import pytest

from chipfit.core.errors import BadInput
from chipfit.device.accelerator.parts import LIMITS, PARTS, limited, part


def test_recorded_parts() -> None:
    found = {name: (PARTS[name].dsp, PARTS[name].bram18) for name in ("zu3eg", "zcu102", "pynq-z2")}
    assert found == {"zu3eg": (360, 432), "zcu102": (2520, 1824), "pynq-z2": (220, 280)}


@pytest.mark.parametrize("name", PARTS)
def test_every_part_is_whole(name: str) -> None:
    p = part(name)
    assert p.name == name
    assert all(getattr(p, resource) >= 0 for resource in LIMITS)
    assert p.macs(16) == p.dsp
    assert p.macs(4) >= p.macs(8) >= p.macs(16)
    assert p.clock_mhz > 0
    assert p.ddr_gb_s > 0


def test_two_products_of_8_bits_fit_the_newer_multiplier_only() -> None:
    assert part("zcu102").macs(8) == 5040
    assert part("zcu102").macs(4) == 10_080
    assert part("pynq-z2").macs(8) == 220


def test_names_are_read_as_written_and_unknown_ones_in_one_line() -> None:
    assert part(" ZCU102 ") is PARTS["zcu102"]
    with pytest.raises(BadInput, match="part 'zcuu102' is unknown; did you mean 'zcu102'\\?; known: pynq-z2"):
        part("zcuu102")
    with pytest.raises(BadInput, match="multipliers of 12 bits are not modelled; give one of 16, 8, 4"):
        part("zcu102").macs(12)


def test_limits_take_away_and_never_add() -> None:
    p = limited(part("zcu102"), {"dsp": "1200", "bram18": 10**6, "uram": 0, "ddr_gb_s": 5})
    assert (p.dsp, p.bram18, p.uram, p.ddr_gb_s) == (1200, 1824, 0, 5.0)
    assert p.macs(8) == 2400


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"dps": 100}, "resource 'dps' is unknown; did you mean 'dsp'"),
        ({"dsp": "many"}, "dsp 'many' is not a whole number"),
        ({"dsp": -1}, "dsp -1 is too small"),
        ({"ddr_gb_s": 0}, "ddr_gb_s 0 is not above zero"),
    ],
)
def test_limits_that_cannot_be_are_named(limits: dict[str, float | str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        limited(part("zcu102"), limits)
