from __future__ import annotations

import numpy as np
import pytest

from chipfit.core.errors import BadInput
from chipfit.core.types import Candidate
from chipfit.space.choices import Choices
from chipfit.space.hardware import DEFAULTS, Designs, HardwareSpace, Mask, coarse, fine, ports

GENES = {"tm": (4, 8, 64), "tr": (7, 14), "tc": (7, 14), "tk": (3,), "ports": ports((2, 6), 12)}


def small(designs: Designs) -> Mask:
    return designs["tm"] * designs["tr"] * designs["tc"] <= 800


def test_a_design_is_a_number_for_each_parameter() -> None:
    given = {"tm": [8, 16], "tn": 4, "tr": 7, "tc": 7, "tk": 3, "weight_port": 2, "input_port": 2, "output_port": 2}
    designs = Designs.of(given)
    assert len(designs) == 2
    assert designs["tm"].tolist() == [8, 16]
    assert designs.plain(1) == {**DEFAULTS, **given, "tm": 16}
    assert len(designs.take(designs["tm"] > 8)) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tmm": 3}, "parameter 'tmm' of a design is unknown; did you mean 'tm'"),
        ({"tm": 3}, "'tn' of a design is 0; give 1 to 1000000"),
        ({"tm": [4, -1]}, "'tm' of a design is -1; give 1 to"),
        ({"tm": 2**40}, "'tm' of a design is 1099511627776; give 1 to"),
        ({"tm": 2.5}, "'tm' of a design is 2.5; give a whole number"),
        ({"tm": "many"}, "'tm' of a design is 'many'; give a whole number"),
        ({"tm": True}, "'tm' of a design is True; give a whole number"),
    ],
)
def test_parameters_that_cannot_be_are_named(given: dict[str, int], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Designs.of(given)


def test_ports_within_the_words_of_a_cycle() -> None:
    triples = ports((2, 6, 10, 14, 18), 32)
    assert len(triples) == 72
    assert max(sum(t) for t in triples) == 30
    assert triples[:2] == ((2, 2, 2), (2, 2, 6))


def test_the_published_grids() -> None:
    assert len(HardwareSpace(coarse(7), {16: 2520}).all()) == 5184
    assert len(HardwareSpace(fine(7), {16: 2520}).all()) == 1_242_864


def test_channels_in_are_what_multipliers_leave() -> None:
    genes = GENES | {"tm_dw": (0, 40), "mac_bits": (16, 8)}
    designs = HardwareSpace(genes, {16: 100, 8: 200}).all()
    macs = np.where(designs["mac_bits"] == 16, 100, 200)
    np.testing.assert_array_equal(designs["tn"], (macs - designs["tm_dw"]) // designs["tm"])
    assert designs["tn"].min() == 1  # 60 are too few for 64 channels out: such designs are not in the grid
    assert len(designs) == (12 - 1) * 2 * 2 * len(GENES["ports"])


def test_the_grid_is_in_the_order_of_its_genes() -> None:
    designs = HardwareSpace(GENES, {16: 2520}).all()
    np.testing.assert_array_equal(designs["tm"], np.repeat((4, 8, 64), len(designs) // 3))
    count = len(GENES["ports"])
    assert [tuple(row) for row in designs.columns[5:8, :count].T.tolist()] == list(GENES["ports"])


def test_what_does_not_fit_becomes_the_nearest_that_does() -> None:
    space = HardwareSpace(GENES, {16: 2520}, small)
    asked = Choices(GENES).encode(Candidate({"tm": 8, "tr": 14, "tc": 14, "tk": 3, "ports": (2, 2, 2)}))
    assert space.decode(asked).values == {"tm": 4, "tr": 14, "tc": 14, "tk": 3, "ports": (2, 2, 2)}
    rng = np.random.default_rng(0)
    drawn = [space.sample(rng) for _ in range(50)]
    assert small(space.designs(drawn)).all()
    assert small(space.designs([space.mutate(c, rng) for c in drawn])).all()
    assert space.designs(drawn[:1]).plain(0)["tn"] == 2520 // int(drawn[0].values["tm"])  # type: ignore[arg-type]


def test_a_space_joins_others() -> None:
    joined = HardwareSpace(GENES, {16: 2520}, small) + Choices({"depth": (2, 3)})
    candidate = joined.sample(np.random.default_rng(0))
    assert set(candidate.values) == {*GENES, "depth"}


def test_genes_that_cannot_be_are_named() -> None:
    with pytest.raises(BadInput, match="gene 'portss' of a design is unknown; did you mean 'ports'"):
        HardwareSpace(GENES | {"portss": (2,)}, {16: 100})
    with pytest.raises(BadInput, match="needs gene 'tk'"):
        HardwareSpace({n: v for n, v in GENES.items() if n != "tk"}, {16: 100})
    with pytest.raises(BadInput, match="'mac_bits' of a design is 12; give one of 16, 8, 4"):
        HardwareSpace(GENES | {"mac_bits": (16, 12)}, {16: 100})
    with pytest.raises(BadInput, match="'weight_port' of a design is 0; give 1 to"):
        HardwareSpace(GENES | {"ports": ((0, 2, 2),)}, {16: 100})
    with pytest.raises(BadInput, match="give at least one"):
        HardwareSpace(GENES | {"tr": ()}, {16: 100})
    with pytest.raises(BadInput, match="the space has 4,000,000,000 designs; give fewer values"):
        HardwareSpace(GENES | dict.fromkeys(("tm", "tr", "tc"), tuple(range(1, 1001))), {16: 100})
    nothing = HardwareSpace(GENES, {16: 2520}, lambda designs: designs["tm"] < 0)
    with pytest.raises(BadInput, match="no design of the space fits the part"):
        nothing.sample(np.random.default_rng(0))
