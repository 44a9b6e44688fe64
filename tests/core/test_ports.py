"""Several inputs side by side in a row, and apart again."""

from __future__ import annotations

import numpy as np
import pytest

from chipfit.core.graph import op
from chipfit.core.ports import Port, apart, packed, ports_of, spans, text_of, width

PORTS = (Port("image", (2, 3)), Port("ids", (4,), True), Port("age", ()))


def test_a_row_holds_all_inputs_in_order_and_gives_them_back() -> None:
    rng = np.random.default_rng(0)
    parts = {
        "image": rng.integers(0, 256, (5, 2, 3), np.uint8),
        "ids": rng.integers(0, 9, (5, 4)),
        "age": rng.random(5).astype(np.float32),
    }
    rows = packed(PORTS, parts)
    assert rows.shape == (5, width(PORTS)) == (5, 11)
    assert rows.dtype == np.float32
    assert spans(PORTS) == ((0, 6), (6, 10), (10, 11))
    back = apart(rows, {p.name: p.shape for p in PORTS})
    np.testing.assert_allclose(back["image"], parts["image"] / 255, rtol=1e-6)
    np.testing.assert_array_equal(back["ids"], parts["ids"])
    np.testing.assert_array_equal(back["age"], parts["age"])


def test_one_input_is_its_rows_whatever_their_shape() -> None:
    rows = np.zeros((3, 2, 2), np.float32)
    assert apart(rows, {"x": (2, 2)})["x"] is rows


def test_rows_of_another_width_are_refused_with_the_inputs() -> None:
    with pytest.raises(ValueError, match=r"has 2 inputs \(a \(2,\), b \(3,\)\), which rows of \(4,\) do not fit"):
        apart(np.zeros((1, 4)), {"a": (2,), "b": (3,)})


def test_an_operator_keeps_its_ports() -> None:
    o = op("input", "input", (), (11,), ports=text_of(PORTS))
    assert ports_of(o) == PORTS
    assert ports_of(op("input", "input", (), (11,))) == ()
    assert [p.told for p in PORTS] == ["image=2,3", "ids=4:int", "age="]
